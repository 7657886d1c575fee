//! What all tools of an organization have in common: packages and variables.

use mnemic_core::{
    ids::{SandboxConfigId, SandboxVariableId},
    sandbox_configs::{Layer, LocalConfig, MAX_VARIABLES, SandboxConfig, SandboxVariable},
    scope::Scope,
    tools::requirements::Requirement,
    validation::Invalid,
};
use mnemic_store::{Tx, sandbox_configs};

use crate::{Engine, EngineError};

/// What is said about the sandbox of an organization's tools; `None` leaves it as it is.
#[derive(Debug, Clone, Default)]
pub struct LocalConfigPatch {
    /// Whether clients see a virtual environment.
    pub use_venv: Option<bool>,
    /// Its name.
    pub venv_name: Option<String>,
    /// Packages that all tools in Python need.
    pub pip_requirements: Option<Vec<Requirement>>,
}

impl LocalConfigPatch {
    fn over(self, config: LocalConfig) -> LocalConfig {
        LocalConfig {
            use_venv: self.use_venv.unwrap_or(config.use_venv),
            venv_name: self.venv_name.unwrap_or(config.venv_name),
            pip_requirements: self.pip_requirements.unwrap_or(config.pip_requirements),
        }
    }
}

/// A variable as its creator describes it.
#[derive(Debug, Clone)]
pub struct NewSandboxVariable {
    /// Its name.
    pub key: String,
    /// Its value.
    pub value: String,
    /// What it is for.
    pub description: Option<String>,
}

/// What is to change of a variable; `None` leaves it as it is.
#[derive(Debug, Clone, Default)]
pub struct SandboxVariablePatch {
    /// Its name.
    pub key: Option<String>,
    /// Its value.
    pub value: Option<String>,
    /// What it is for.
    pub description: Option<Option<String>>,
}

/// What a call of a tool gets of its organization.
#[derive(Debug, Clone, Default)]
pub(crate) struct Common {
    /// Its variables.
    pub variables: Layer,
    /// Packages of tools in Python.
    pub packages: Vec<Requirement>,
    /// The edition of sets of packages that is used.
    pub edition: Option<i64>,
}

fn invalid(error: Invalid) -> EngineError {
    EngineError::Invalid(error.to_string())
}

impl Engine {
    /// Makes the organization's config what is given, the rest as a new one has it. There is one of an organization: when
    /// it is there it is changed, and keeps its id and variables.
    ///
    /// # Errors
    /// It is not valid, or the database's.
    pub async fn put_sandbox_config(
        &self,
        scope: &Scope,
        given: LocalConfigPatch,
    ) -> Result<SandboxConfig, EngineError> {
        let config = given.over(LocalConfig::default());
        config.check().map_err(invalid)?;
        self.change_own(scope, move |own| own.config = config).await
    }

    /// The organization's config as it is; a new one where there is none.
    ///
    /// # Errors
    /// The database's.
    pub async fn default_sandbox_config(
        &self,
        scope: &Scope,
    ) -> Result<SandboxConfig, EngineError> {
        let (scope, new) = (scope.clone(), self.new_config(scope));
        let made = self.store().write(move |tx| {
            Box::pin(async move { Ok(sandbox_configs::insert_first(tx, &scope, &new).await?) })
        });
        made.await
    }

    /// Has the packages of the organization's tools installed anew when they are needed next.
    ///
    /// # Errors
    /// This server installs nothing, or the database's.
    pub async fn renew_packages(&self, scope: &Scope) -> Result<SandboxConfig, EngineError> {
        let sandbox = self.settings().tools.sandbox.as_ref();
        if sandbox.is_some_and(|sandbox| sandbox.offline) {
            let reason = "this server is set to install nothing (offline), so it can't install packages anew: its tools \
                          go on with those that are there";
            return Err(EngineError::Invalid(reason.to_owned()));
        }
        let now = self.now();
        self.change_own(scope, move |own| own.packages_since = Some(now))
            .await
    }

    fn new_config(&self, scope: &Scope) -> SandboxConfig {
        let now = self.now();
        SandboxConfig {
            id: SandboxConfigId::new(),
            config: LocalConfig::default(),
            packages_since: None,
            created_by: Some(scope.actor),
            updated_by: Some(scope.actor),
            created_at: now,
            updated_at: now,
        }
    }

    /// Changes the organization's config, which is made where there is none.
    async fn change_own(
        &self,
        scope: &Scope,
        change: impl FnOnce(&mut SandboxConfig) + Send + 'static,
    ) -> Result<SandboxConfig, EngineError> {
        let (scope, new, now) = (scope.clone(), self.new_config(scope), self.now());
        self.store()
            .write(move |tx| {
                Box::pin(async move {
                    let there = sandbox_configs::insert_first(tx, &scope, &new).await?;
                    let mut own = sandbox_configs::get_for_update(tx, &scope, there.id).await?;
                    change(&mut own);
                    (own.updated_by, own.updated_at) = (Some(scope.actor), now);
                    sandbox_configs::update(tx, &scope, &own).await?;
                    Ok(own)
                })
            })
            .await
    }

    /// Changes a config.
    ///
    /// # Errors
    /// There is no such config, it would not be valid, or the database's.
    pub async fn update_sandbox_config(
        &self,
        scope: &Scope,
        id: SandboxConfigId,
        patch: LocalConfigPatch,
    ) -> Result<SandboxConfig, EngineError> {
        let (scope, now) = (scope.clone(), self.now());
        self.store()
            .write(move |tx| {
                Box::pin(async move {
                    let mut own = sandbox_configs::get_for_update(tx, &scope, id).await?;
                    own.config = patch.over(own.config);
                    own.config.check().map_err(invalid)?;
                    (own.updated_by, own.updated_at) = (Some(scope.actor), now);
                    sandbox_configs::update(tx, &scope, &own).await?;
                    Ok(own)
                })
            })
            .await
    }

    /// Adds a variable to a config.
    ///
    /// # Errors
    /// There is no such config, it has a variable of that name or too many, the variable is not valid, or the database's.
    pub async fn add_sandbox_variable(
        &self,
        scope: &Scope,
        config_id: SandboxConfigId,
        new: NewSandboxVariable,
    ) -> Result<SandboxVariable, EngineError> {
        let now = self.now();
        let variable = SandboxVariable {
            id: SandboxVariableId::new(),
            config_id,
            key: new.key,
            value: new.value,
            description: new.description,
            created_by: Some(scope.actor),
            updated_by: Some(scope.actor),
            created_at: now,
            updated_at: now,
        };
        variable.check().map_err(invalid)?;
        let (scope, secrets) = (scope.clone(), self.store().secrets().clone());
        self.store()
            .write(move |tx| {
                Box::pin(async move {
                    sandbox_configs::get_for_update(tx, &scope, config_id).await?;
                    check_room(tx, config_id).await?;
                    sandbox_configs::insert_variable(tx, &scope, &secrets, &variable).await?;
                    Ok(variable)
                })
            })
            .await
    }

    /// Changes a variable.
    ///
    /// # Errors
    /// There is no such variable, another one has its new name, it would not be valid, or the database's.
    pub async fn update_sandbox_variable(
        &self,
        scope: &Scope,
        id: SandboxVariableId,
        patch: SandboxVariablePatch,
    ) -> Result<SandboxVariable, EngineError> {
        let (scope, now) = (scope.clone(), self.now());
        let secrets = self.store().secrets().clone();
        self.store()
            .write(move |tx| {
                Box::pin(async move {
                    let mut variable =
                        sandbox_configs::variable_for_update(tx, &scope, &secrets, id).await?;
                    variable.key = patch.key.unwrap_or(variable.key);
                    variable.value = patch.value.unwrap_or(variable.value);
                    variable.description = patch.description.unwrap_or(variable.description);
                    (variable.updated_by, variable.updated_at) = (Some(scope.actor), now);
                    variable.check().map_err(invalid)?;
                    sandbox_configs::update_variable(tx, &scope, &secrets, &variable).await?;
                    Ok(variable)
                })
            })
            .await
    }

    /// What a call of a tool gets of its organization, as it is just now.
    pub(crate) async fn common_of_tools(&self, scope: &Scope) -> Result<Common, EngineError> {
        let (scope, secrets) = (scope.clone(), self.store().secrets().clone());
        let found = self.store().read(move |tx| {
            Box::pin(async move {
                let found = sandbox_configs::for_call(tx, &scope, &secrets).await;
                found.map_err(EngineError::from)
            })
        });
        let (config, variables) = found.await?;
        Ok(config.map_or_else(Common::default, |own| Common {
            variables,
            packages: own.config.pip_requirements,
            edition: own.packages_since.map(|since| since.0),
        }))
    }
}

async fn check_room(tx: &mut Tx<'_>, config_id: SandboxConfigId) -> Result<(), EngineError> {
    let count = sandbox_configs::count_variables(tx, config_id).await?;
    if usize::try_from(count).is_ok_and(|count| count >= MAX_VARIABLES) {
        return Err(EngineError::Invalid(format!(
            "there are {count} variables already, and every call of a tool gets all of them: delete what is not needed"
        )));
    }
    Ok(())
}

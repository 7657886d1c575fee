//! What clients say about what their tools have in common.

use mnemic_core::tools::requirements::Registry;
use mnemic_engine::sandbox_configs::{LocalConfigPatch, NewSandboxVariable, SandboxVariablePatch};
use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::Value;
use utoipa::ToSchema;

use crate::{
    error::ApiError,
    patch::given,
    tools::{RequirementBody, requirements},
};

/// A new config.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SandboxConfigBody {
    /// What it says.
    pub config: LocalConfigBody,
}

/// What changes of a config.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateSandboxConfigBody {
    /// What it says; what is left out stays.
    pub config: Option<LocalConfigBody>,
}

/// What a config says.
#[derive(Debug, Deserialize, ToSchema)]
pub struct LocalConfigBody {
    /// Refused: each call has a scratch folder of its own, and folders are granted to single tools.
    sandbox_dir: Option<String>,
    /// Kept, without effect: packages are never mixed with those of the interpreter.
    use_venv: Option<bool>,
    /// Kept, without effect.
    #[schema(max_length = 255)]
    venv_name: Option<String>,
    /// Packages that all tools in Python get, with those that they ask for themselves.
    #[schema(value_type = Option<Vec<RequirementBody>>)]
    pip_requirements: Option<Packages>,
    #[schema(ignore)]
    template: Option<Value>,
    #[schema(ignore)]
    timeout: Option<Value>,
    #[schema(ignore)]
    language: Option<Value>,
    #[schema(ignore)]
    npm_requirements: Option<Value>,
}

/// Packages as each kind of sandbox writes them.
#[derive(Debug)]
enum Packages {
    Local(Vec<RequirementBody>),
    /// A list of texts, as E2B and Modal have it.
    Foreign,
}

impl<'de> Deserialize<'de> for Packages {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let list = Vec::<Value>::deserialize(deserializer)?;
        if list.first().is_some_and(Value::is_string) {
            return Ok(Self::Foreign);
        }
        let read: Result<_, _> = list.into_iter().map(serde_json::from_value).collect();
        read.map(Self::Local).map_err(D::Error::custom)
    }
}

/// The answer to whoever wants tools to run elsewhere.
fn elsewhere(name: &str) -> ApiError {
    ApiError::bad_request(format!(
        "this server runs all tools in its own sandbox, so a config for {name} would have no effect: use the local config \
         (POST /v1/sandbox-config/local/default), whose variables and pip_requirements ([{{\"name\", \"version\"}}]) reach \
         all tools"
    ))
}

/// The answer to whoever wants tools to run at E2B.
pub fn of_e2b() -> ApiError {
    elsewhere("E2B")
}

impl LocalConfigBody {
    /// What it says about the server's own sandbox.
    ///
    /// # Errors
    /// It is a config of another sandbox, wants a folder, or a package is not valid.
    pub fn local(self) -> Result<LocalConfigPatch, ApiError> {
        if self.language.is_some() || self.npm_requirements.is_some() {
            return Err(elsewhere("Modal"));
        }
        if self.template.is_some() || self.timeout.is_some() {
            return Err(of_e2b());
        }
        let packages = match self.pip_requirements {
            Some(Packages::Foreign) => return Err(elsewhere("E2B or Modal")),
            Some(Packages::Local(packages)) => Some(Some(packages)),
            None => None,
        };
        if let Some(folder) = self.sandbox_dir.filter(|folder| !folder.is_empty()) {
            let folder: String = folder.chars().take(200).collect();
            return Err(ApiError::bad_request(format!(
                "sandbox_dir: tools don't run in {folder}, each call has an empty scratch folder of its own. Leave it out, \
                 and grant the folder to the tools that need it (`grants`); packages go into pip_requirements"
            )));
        }
        Ok(LocalConfigPatch {
            use_venv: self.use_venv,
            venv_name: self.venv_name,
            pip_requirements: requirements(Registry::Pip, packages)?.flatten(),
        })
    }
}

/// A new variable.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SandboxVariableBody {
    /// Its name.
    #[schema(min_length = 1, max_length = 255)]
    key: String,
    /// Its value.
    value: String,
    /// What it is for.
    #[schema(max_length = 10_000)]
    description: Option<String>,
}

impl From<SandboxVariableBody> for NewSandboxVariable {
    fn from(body: SandboxVariableBody) -> Self {
        Self {
            key: body.key,
            value: body.value,
            description: body.description,
        }
    }
}

/// What changes of a variable: what is left out stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateSandboxVariableBody {
    /// Its name.
    #[schema(min_length = 1, max_length = 255)]
    key: Option<String>,
    /// Its value.
    value: Option<String>,
    /// What it is for.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, max_length = 10_000)]
    description: Option<Option<String>>,
}

impl From<UpdateSandboxVariableBody> for SandboxVariablePatch {
    fn from(body: UpdateSandboxVariableBody) -> Self {
        Self {
            key: body.key,
            value: body.value,
            description: body.description,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn configs_of_the_servers_own_sandbox_are_taken_and_those_of_others_refused() {
        let six = json!([{"name": "six", "version": "1.16.0"}]);
        let table = [
            (json!({}), None),
            (json!({"unknown": 1, "timeout": null}), None),
            (
                json!({"use_venv": true, "venv_name": "env", "sandbox_dir": null}),
                None,
            ),
            (json!({"pip_requirements": six, "sandbox_dir": ""}), None),
            (json!({"pip_requirements": []}), None),
            (json!({"pip_requirements": null}), None),
            (json!({"sandbox_dir": "/srv/tools"}), Some("/srv/tools")),
            (json!({"timeout": 300}), Some("E2B")),
            (
                json!({"template": "base", "pip_requirements": ["six"]}),
                Some("E2B"),
            ),
            (json!({"pip_requirements": ["six"]}), Some("E2B or Modal")),
            (json!({"language": "python", "timeout": 60}), Some("Modal")),
            (json!({"npm_requirements": ["zod"]}), Some("Modal")),
            (
                json!({"pip_requirements": [{"name": "./six"}]}),
                Some("./six"),
            ),
        ];
        for (body, refused) in table {
            let read: LocalConfigBody = serde_json::from_value(body.clone()).unwrap();
            match (read.local(), refused) {
                (Ok(_), None) => {}
                (Err(error), Some(told)) => {
                    let text = error.body().to_string();
                    assert!(text.contains(told), "{body}: {text}");
                }
                (found, _) => panic!("{body}: {found:?}"),
            }
        }
        for wrong in [
            json!({"pip_requirements": [{}]}),
            json!({"pip_requirements": [1]}),
        ] {
            assert!(serde_json::from_value::<LocalConfigBody>(wrong).is_err());
        }
    }

    #[test]
    fn what_is_left_out_of_a_config_changes_nothing() {
        let read: LocalConfigBody = serde_json::from_value(json!({"use_venv": true})).unwrap();
        let patch = read.local().unwrap();
        assert_eq!(patch.use_venv, Some(true));
        assert_eq!(patch.venv_name, None);
        assert!(patch.pip_requirements.is_none());
    }
}

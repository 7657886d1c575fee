//! How the API shows what an organization's tools have in common.

use mnemic_core::{
    ids::{OrganizationId, SandboxConfigId, SandboxVariableId, UserId},
    sandbox_configs::{SandboxConfig, SandboxVariable},
    time::Timestamp,
    tools::requirements::Requirement,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// Where tools run. Here all run in the server's own sandbox, which is `local`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum SandboxType {
    Local,
    E2b,
    Modal,
}

/// What all tools of an organization have in common.
#[derive(Debug, Serialize, ToSchema)]
#[allow(missing_docs)]
pub struct SandboxConfigView {
    #[schema(value_type = String)]
    id: SandboxConfigId,
    r#type: SandboxType,
    #[schema(value_type = String)]
    organization_id: OrganizationId,
    config: LocalConfigView,
    #[schema(value_type = Option<String>)]
    created_by_id: Option<UserId>,
    #[schema(value_type = Option<String>)]
    last_updated_by_id: Option<UserId>,
    #[schema(value_type = String)]
    created_at: Timestamp,
    #[schema(value_type = String)]
    updated_at: Timestamp,
}

/// What a config says.
#[derive(Debug, Serialize, ToSchema)]
struct LocalConfigView {
    /// Always null: each call has a scratch folder of its own.
    sandbox_dir: Option<String>,
    /// Without effect: packages are never mixed with those of the interpreter.
    use_venv: bool,
    /// Without effect.
    venv_name: String,
    /// Packages that all tools in Python get, with those that they ask for themselves.
    #[schema(value_type = Vec<Value>)]
    pip_requirements: Vec<Value>,
}

impl SandboxConfigView {
    /// A config as the API shows it.
    pub fn new(organization_id: OrganizationId, own: SandboxConfig) -> Self {
        let packages = own.config.pip_requirements.iter();
        Self {
            id: own.id,
            r#type: SandboxType::Local,
            organization_id,
            config: LocalConfigView {
                sandbox_dir: None,
                use_venv: own.config.use_venv,
                venv_name: own.config.venv_name,
                pip_requirements: packages.map(Requirement::to_json).collect(),
            },
            created_by_id: own.created_by,
            last_updated_by_id: own.updated_by,
            created_at: own.created_at,
            updated_at: own.updated_at,
        }
    }
}

/// A variable that all tools of an organization see.
#[derive(Debug, Serialize, ToSchema)]
#[allow(missing_docs)]
pub struct SandboxVariableView {
    #[schema(value_type = String)]
    id: SandboxVariableId,
    #[schema(value_type = String)]
    sandbox_config_id: SandboxConfigId,
    #[schema(value_type = String)]
    organization_id: OrganizationId,
    key: String,
    value: String,
    /// Always null: how a value is stored concerns nobody.
    value_enc: Option<String>,
    description: Option<String>,
    #[schema(value_type = Option<String>)]
    created_by_id: Option<UserId>,
    #[schema(value_type = Option<String>)]
    last_updated_by_id: Option<UserId>,
    #[schema(value_type = String)]
    created_at: Timestamp,
    #[schema(value_type = String)]
    updated_at: Timestamp,
}

impl SandboxVariableView {
    /// A variable as the API shows it.
    pub fn new(organization_id: OrganizationId, variable: SandboxVariable) -> Self {
        Self {
            id: variable.id,
            sandbox_config_id: variable.config_id,
            organization_id,
            key: variable.key,
            value: variable.value,
            value_enc: None,
            description: variable.description,
            created_by_id: variable.created_by,
            last_updated_by_id: variable.updated_by,
            created_at: variable.created_at,
            updated_at: variable.updated_at,
        }
    }
}

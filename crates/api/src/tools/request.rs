//! What clients say about tools that they write.

use mnemic_core::{
    tools::{
        Language,
        requirements::{MAX_REQUIREMENTS, Registry, Requirement},
    },
    validation,
};
use mnemic_engine::{custom::ToolGrants, tools::ToolDefinition};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use crate::{error::ApiError, patch::given, validation::Issue};

/// Characters of a return that models may see (V1 contract, section 5).
const MAX_RETURN_CHARS: i64 = 1_000_000;

/// A package that a tool needs.
#[derive(Debug, Clone, Deserialize, ToSchema)]
pub struct RequirementBody {
    /// Its name in the registry.
    #[schema(min_length = 1)]
    name: String,
    /// The version or range of versions; any when left out.
    version: Option<String>,
}

/// A tool as its author writes it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateToolBody {
    /// The source: the last top-level function of a Python source is the tool, the last exported one of a
    /// TypeScript source.
    source_code: String,
    /// `python` or `typescript`.
    #[schema(default = "python")]
    source_type: Option<String>,
    /// Name, description and parameters, in place of those that the source says.
    #[schema(value_type = Option<serde_json::Value>)]
    json_schema: Option<Map<String, Value>>,
    /// The JSON schema of the arguments, in place of type hints.
    #[schema(value_type = Option<serde_json::Value>)]
    args_json_schema: Option<Map<String, Value>>,
    /// What the tool does, in place of what the source says.
    description: Option<String>,
    /// Words to find it by.
    tags: Option<Vec<String>>,
    /// Characters of its return that models see.
    #[schema(minimum = 1, maximum = 1_000_000, default = 50_000)]
    return_char_limit: Option<i64>,
    /// Packages of Python that it needs.
    pip_requirements: Option<Vec<RequirementBody>>,
    /// Packages of JavaScript that it needs.
    npm_requirements: Option<Vec<RequirementBody>>,
    /// Whether agents get an approval rule for it when it is attached.
    default_requires_approval: Option<bool>,
    /// Whether several calls of one turn may run at once.
    #[schema(default = false)]
    enable_parallel_execution: Option<bool>,
    /// What is opened for it beside its scratch folder: folders and variables.
    #[schema(value_type = Option<serde_json::Value>)]
    grants: Option<ToolGrants>,
}

/// What changes of a tool: what is left out stays; null takes away requirements, `default_requires_approval` and
/// `args_json_schema`.
#[derive(Debug, Deserialize, ToSchema)]
pub struct UpdateToolBody {
    /// The source; a new one brings a new schema, unless one is given.
    source_code: Option<String>,
    /// `python` or `typescript`.
    source_type: Option<String>,
    /// Name, description and parameters, in place of those that the source says.
    #[schema(value_type = Option<serde_json::Value>)]
    json_schema: Option<Map<String, Value>>,
    /// The JSON schema of the arguments, in place of type hints.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<serde_json::Value>)]
    args_json_schema: Option<Option<Map<String, Value>>>,
    /// What the tool does, in place of what the source says.
    description: Option<String>,
    /// Words to find it by.
    tags: Option<Vec<String>>,
    /// Characters of its return that models see.
    #[schema(minimum = 1, maximum = 1_000_000)]
    return_char_limit: Option<i64>,
    /// Packages of Python that it needs.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<Vec<RequirementBody>>)]
    pip_requirements: Option<Option<Vec<RequirementBody>>>,
    /// Packages of JavaScript that it needs.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<Vec<RequirementBody>>)]
    npm_requirements: Option<Option<Vec<RequirementBody>>>,
    /// Whether agents get an approval rule for it when it is attached.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<bool>)]
    default_requires_approval: Option<Option<bool>>,
    /// Whether several calls of one turn may run at once.
    enable_parallel_execution: Option<bool>,
    /// What is opened for it beside its scratch folder: folders and variables.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<serde_json::Value>)]
    grants: Option<Option<ToolGrants>>,
    /// Free data.
    #[schema(value_type = Option<serde_json::Value>)]
    metadata_: Option<Map<String, Value>>,
}

/// A source whose schema is wanted.
#[derive(Debug, Deserialize, ToSchema)]
pub struct CodeBody {
    /// The source.
    pub code: String,
    /// `python` or `typescript`.
    #[schema(default = "python")]
    source_type: Option<String>,
}

impl CreateToolBody {
    /// The definition, checked.
    ///
    /// # Errors
    /// A field is not valid.
    pub fn definition(self, project_id: Option<String>) -> Result<ToolDefinition, ApiError> {
        Ok(ToolDefinition {
            source_code: Some(self.source_code),
            language: language(self.source_type.as_deref())?,
            json_schema: self.json_schema.map(Value::Object),
            args_json_schema: self
                .args_json_schema
                .map(|schema| Some(Value::Object(schema))),
            description: self.description.map(Some),
            tags: checked_tags(self.tags)?,
            return_char_limit: checked_limit(self.return_char_limit)?,
            pip_requirements: requirements(Registry::Pip, self.pip_requirements.map(Some))?,
            npm_requirements: requirements(Registry::Npm, self.npm_requirements.map(Some))?,
            default_requires_approval: self.default_requires_approval.map(Some),
            enable_parallel_execution: self.enable_parallel_execution,
            grants: self.grants.map(Some),
            metadata: None,
            project_id,
            is_from_tool: false,
        })
    }
}

impl UpdateToolBody {
    /// The changes, checked.
    ///
    /// # Errors
    /// A field is not valid.
    pub fn definition(self) -> Result<ToolDefinition, ApiError> {
        Ok(ToolDefinition {
            source_code: self.source_code,
            language: language(self.source_type.as_deref())?,
            json_schema: self.json_schema.map(Value::Object),
            args_json_schema: self
                .args_json_schema
                .map(|schema| schema.map(Value::Object)),
            description: self.description.map(Some),
            tags: checked_tags(self.tags)?,
            return_char_limit: checked_limit(self.return_char_limit)?,
            pip_requirements: requirements(Registry::Pip, self.pip_requirements)?,
            npm_requirements: requirements(Registry::Npm, self.npm_requirements)?,
            default_requires_approval: self.default_requires_approval,
            enable_parallel_execution: self.enable_parallel_execution,
            grants: self.grants,
            metadata: self.metadata_,
            project_id: None,
            is_from_tool: false,
        })
    }
}

impl CodeBody {
    /// The language of the source.
    ///
    /// # Errors
    /// There is no such language.
    pub fn language(&self) -> Result<Language, ApiError> {
        Ok(language(self.source_type.as_deref())?.unwrap_or_default())
    }
}

pub(super) fn language(name: Option<&str>) -> Result<Option<Language>, ApiError> {
    let Some(name) = name else {
        return Ok(None);
    };
    Language::parse(name).map(Some).ok_or_else(|| {
        let msg = "Input should be 'python' or 'typescript'";
        ApiError::invalid(&[Issue::body(&["source_type"], msg, json!(name))])
    })
}

fn checked_limit(limit: Option<i64>) -> Result<Option<i64>, ApiError> {
    match limit {
        Some(limit) if !(1..=MAX_RETURN_CHARS).contains(&limit) => {
            let msg = format!("Input should be between 1 and {MAX_RETURN_CHARS}");
            let issue = Issue::body(&["return_char_limit"], msg, json!(limit));
            Err(ApiError::invalid(&[issue]))
        }
        limit => Ok(limit),
    }
}

fn checked_tags(tags: Option<Vec<String>>) -> Result<Option<Vec<String>>, ApiError> {
    for tag in tags.iter().flatten() {
        validation::tag(tag).map_err(|error| ApiError::bad_request(error.to_string()))?;
    }
    Ok(tags)
}

/// Requirements, which are null, left out, or given.
pub(crate) type Requirements<T> = Option<Option<Vec<T>>>;

/// Checks requirements as a client gives them.
///
/// # Errors
/// There are too many, or one names no package of the registry.
pub(crate) fn requirements(
    registry: Registry,
    bodies: Requirements<RequirementBody>,
) -> Result<Requirements<Requirement>, ApiError> {
    let field = match registry {
        Registry::Pip => "pip_requirements",
        Registry::Npm => "npm_requirements",
    };
    let bodies = match bodies {
        None => return Ok(None),
        Some(None) => return Ok(Some(None)),
        Some(Some(bodies)) => bodies,
    };
    if bodies.len() > MAX_REQUIREMENTS {
        let msg = format!("List should have at most {MAX_REQUIREMENTS} items");
        let issue = Issue::body(&[field], msg, json!(bodies.len()));
        return Err(ApiError::invalid(&[issue]));
    }
    let mut checked = Vec::with_capacity(bodies.len());
    for body in bodies {
        let requirement = Requirement::new(registry, &body.name, body.version.as_deref());
        checked.push(requirement.map_err(|error| {
            let input = json!({"name": body.name, "version": body.version});
            ApiError::invalid(&[Issue::body(&[field], error.to_string(), input)])
        })?);
    }
    Ok(Some(Some(checked)))
}

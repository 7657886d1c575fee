//! Tools that clients write: made, changed, and their schemas read from their source.

use mnemic_core::{
    ids::ToolId,
    scope::Scope,
    time::Timestamp,
    tools::{Language, Tool, ToolType, requirements::Requirement},
};
use mnemic_store::{StoreError, Tx, tools};
use mnemic_tools::schema::{self, Derived, Given};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::{
    Engine, EngineError,
    custom::{ToolGrants, grants},
};

/// Characters of a return that models see (V1 contract, section 5).
const RETURN_CHAR_LIMIT: i64 = 50_000;

/// What a client says about a tool. What is left out stays as it is, or gets its default; `Some(None)` takes
/// something away.
#[derive(Debug, Clone, Default)]
pub struct ToolDefinition {
    /// Its source.
    pub source_code: Option<String>,
    /// The language of the source.
    pub language: Option<Language>,
    /// Name, description and parameters, in place of those that the source says.
    pub json_schema: Option<Value>,
    /// The schema of its arguments, in place of its type hints.
    pub args_json_schema: Option<Option<Value>>,
    /// What it does, in place of what the source says.
    pub description: Option<Option<String>>,
    /// Words to find it by.
    pub tags: Option<Vec<String>>,
    /// Characters of its return that models see.
    pub return_char_limit: Option<i64>,
    /// Packages of Python that it needs.
    pub pip_requirements: Option<Option<Vec<Requirement>>>,
    /// Packages of JavaScript that it needs.
    pub npm_requirements: Option<Option<Vec<Requirement>>>,
    /// Whether agents get an approval rule for it when it is attached.
    pub default_requires_approval: Option<Option<bool>>,
    /// Whether several calls of one turn may run at once.
    pub enable_parallel_execution: Option<bool>,
    /// What is opened for it beside its scratch folder.
    pub grants: Option<Option<ToolGrants>>,
    /// Free data.
    pub metadata: Option<Map<String, Value>>,
    /// The project of its client.
    pub project_id: Option<String>,
    /// Whether a running tool says it: then nothing may come of it that is granted more.
    pub is_from_tool: bool,
}

/// What models are told about a tool, and under which name.
#[derive(Debug, Clone)]
struct Shape {
    name: String,
    description: Option<String>,
    json_schema: Value,
}

/// What becomes of a tool that has the name already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Existing {
    /// It is changed.
    Change,
    /// It is changed, unless something was granted to it: that was meant for the source that it has.
    ChangeUngranted,
    /// It stays as it is.
    Keep,
}

/// A whole tool whose schema is known.
#[derive(Debug)]
pub(crate) struct ReadyTool {
    definition: ToolDefinition,
    language: Language,
    shape: Shape,
}

impl ReadyTool {
    /// Stores it. A tool that is the same already is not touched.
    pub(crate) async fn put(
        &self,
        tx: &mut Tx<'_>,
        scope: &Scope,
        existing: Existing,
        now: Timestamp,
    ) -> Result<Tool, StoreError> {
        let new = self.over(blank(self.language, now), now);
        if tools::insert(tx, scope, &new).await? {
            return tools::get(tx, scope, new.id).await;
        }
        let Some(before) = tools::by_name_for_update(tx, scope, &new.name).await? else {
            return Err(StoreError::Contended);
        };
        if before.tool_type != ToolType::Custom {
            return Err(StoreError::Conflict(format!(
                "'{}' is the name of a tool that is not yours to write: rename the function",
                before.name
            )));
        }
        let same = self.over(before.clone(), before.updated_at);
        if existing == Existing::Keep || same == before {
            return Ok(before);
        }
        if existing == Existing::ChangeUngranted && ToolGrants::has_some(&before) {
            return Err(StoreError::Conflict(format!(
                "the tool '{}' is here already, with another source, and something was granted to it, which was \
                 not meant for this source: rename one of the two, or keep the one that is here",
                before.name
            )));
        }
        self.definition.check_giver(Some(&before))?;
        let after = self.over(before, now);
        tools::update(tx, scope, &after).await?;
        tools::get(tx, scope, after.id).await
    }

    fn over(&self, tool: Tool, now: Timestamp) -> Tool {
        self.definition.over(tool, &self.shape, now)
    }
}

impl Engine {
    /// Makes a tool, or changes the one that has its name.
    ///
    /// # Errors
    /// Its schema cannot be read from its source, its name is that of a built-in tool, or the database's.
    pub async fn put_tool(
        &self,
        scope: &Scope,
        definition: ToolDefinition,
    ) -> Result<Tool, EngineError> {
        definition.check_giver(None)?;
        self.check_grants(&definition)?;
        let ready = definition.ready().await?;
        let (scope, now) = (scope.clone(), self.now());
        let put = self.store().write(move |tx| {
            Box::pin(async move { ready.put(tx, &scope, Existing::Change, now).await })
        });
        Ok(put.await?)
    }

    /// Changes a tool. A new source brings a new schema, unless one is given.
    ///
    /// # Errors
    /// There is no such tool, what changes is not valid for it, or the database's.
    pub async fn update_tool(
        &self,
        scope: &Scope,
        id: ToolId,
        definition: ToolDefinition,
    ) -> Result<Tool, EngineError> {
        self.check_grants(&definition)?;
        let for_job = scope.clone();
        let read = self
            .store()
            .read(move |tx| Box::pin(async move { tools::get(tx, &for_job, id).await }));
        let seen: Tool = read.await?;
        if seen.tool_type.is_builtin() && definition.rewrites() {
            return Err(EngineError::Invalid(format!(
                "'{}' comes with the server: only its tags, return_char_limit, default_requires_approval and \
                 metadata_ can be changed",
                seen.name
            )));
        }
        let shape = definition.reshaped(&seen).await?;
        let (scope, now) = (scope.clone(), self.now());
        let changed = self.store().write(move |tx| {
            Box::pin(async move {
                let before = tools::get_for_update(tx, &scope, id).await?;
                if shape.is_some() && source_of(&before) != source_of(&seen) {
                    return Err(StoreError::Conflict(
                        "the tool's source was changed at the same time; read it again".to_owned(),
                    ));
                }
                definition.check_giver(Some(&before))?;
                let shape = shape.unwrap_or_else(|| Shape::of(&before));
                let after = definition.over(before, &shape, now);
                tools::update(tx, &scope, &after).await?;
                tools::get(tx, &scope, id).await
            })
        });
        Ok(changed.await?)
    }

    /// Refuses grants that the administrator does not let tools have: better now than at the first call.
    pub(crate) fn check_grants(&self, definition: &ToolDefinition) -> Result<(), EngineError> {
        let ceiling = &self.settings().tools.ceiling;
        match &definition.grants {
            Some(Some(grants)) => grants.check(ceiling).map_err(EngineError::Invalid),
            _ => Ok(()),
        }
    }

    /// Removes a tool, also from the agents that have it.
    ///
    /// # Errors
    /// There is no such tool, it comes with the server, or the database's.
    pub async fn delete_tool(&self, scope: &Scope, id: ToolId) -> Result<(), EngineError> {
        let scope = scope.clone();
        let gone = self.store().write(move |tx| {
            Box::pin(async move {
                let tool = tools::get_for_update(tx, &scope, id).await?;
                if tool.tool_type.is_builtin() {
                    return Err(StoreError::Invalid(format!(
                        "'{}' comes with the server and would come back: detach it from the agents that \
                         should not have it",
                        tool.name
                    )));
                }
                tools::delete(tx, &scope, id).await
            })
        });
        Ok(gone.await?)
    }

    /// The schema that a source has, without storing anything.
    ///
    /// # Errors
    /// It cannot be read; the text says where and why.
    pub async fn tool_schema(
        &self,
        language: Language,
        source: String,
    ) -> Result<Value, EngineError> {
        let derived = derive(language, source, None, None).await?;
        Ok(derived.json_schema())
    }
}

impl Shape {
    /// The shape that a stored tool has.
    fn of(tool: &Tool) -> Self {
        Self {
            name: tool.name.clone(),
            description: tool.description.clone(),
            json_schema: tool.json_schema.clone(),
        }
    }

    /// The shape that a client gives.
    fn given(schema: Value) -> Result<Self, EngineError> {
        let field = |key: &str| schema.get(key).and_then(Value::as_str);
        let Some(name) = field("name") else {
            return Err(EngineError::Invalid(
                "json_schema has no \"name\": it is {\"name\", \"description\", \"parameters\"}"
                    .to_owned(),
            ));
        };
        schema::check_name(name).map_err(|error| EngineError::Invalid(error.to_string()))?;
        let parameters = schema.get("parameters");
        if parameters.is_some_and(|parameters| !parameters.is_object()) {
            return Err(EngineError::Invalid(
                "the \"parameters\" of json_schema must be the JSON schema of an object".to_owned(),
            ));
        }
        Ok(Self {
            name: name.to_owned(),
            description: field("description").map(str::to_owned),
            json_schema: schema,
        })
    }
}

impl ToolDefinition {
    /// Reads the schema of a whole tool.
    ///
    /// # Errors
    /// It has no source, its schema cannot be read, or it may not grant what it does.
    pub(crate) async fn ready(mut self) -> Result<ReadyTool, EngineError> {
        self.check_giver(None)?;
        let Some(source) = self.source_code.clone() else {
            return Err(EngineError::Invalid("a tool needs source_code".to_owned()));
        };
        // A source that comes whole brings its language and its arguments with it.
        let arguments = self.args_json_schema.get_or_insert(None).clone();
        let language = *self.language.get_or_insert_default();
        let shape = self.shape((language, source), arguments).await?;
        Ok(ReadyTool {
            definition: self,
            language,
            shape,
        })
    }

    /// Whether it changes what a built-in tool is.
    const fn rewrites(&self) -> bool {
        self.source_code.is_some()
            || self.language.is_some()
            || self.json_schema.is_some()
            || self.args_json_schema.is_some()
            || self.description.is_some()
            || self.enable_parallel_execution.is_some()
    }

    /// The shape of a stored tool with these changes, if they change it.
    async fn reshaped(&self, before: &Tool) -> Result<Option<Shape>, EngineError> {
        if let Some(schema) = &self.json_schema {
            return Shape::given(schema.clone()).map(Some);
        }
        let rewritten = self.source_code.is_some()
            || self.language.is_some()
            || self.args_json_schema.is_some();
        let source = self
            .source_code
            .clone()
            .or_else(|| before.source_code.clone());
        let (true, Some(source)) = (rewritten, source) else {
            return Ok(None);
        };
        let language = self
            .language
            .or_else(|| Language::parse(&before.source_type))
            .unwrap_or_default();
        let stored = before.extra.get("args_json_schema").cloned();
        let arguments = self.args_json_schema.clone().unwrap_or(stored);
        self.shape((language, source), arguments).await.map(Some)
    }

    /// The shape that a source has, or that is given.
    async fn shape(
        &self,
        (language, source): (Language, String),
        arguments: Option<Value>,
    ) -> Result<Shape, EngineError> {
        if let Some(schema) = &self.json_schema {
            return Shape::given(schema.clone());
        }
        let arguments =
            arguments.filter(|schema| schema.as_object().is_none_or(|own| !own.is_empty()));
        let description = self.description.clone().flatten();
        let derived = derive(language, source, description, arguments).await?;
        Ok(Shape {
            name: derived.name.clone(),
            description: Some(derived.description.clone()),
            json_schema: derived.json_schema(),
        })
    }

    /// Refuses what would let a running tool reach beyond its own grants: giving any, or rewriting a tool that has some.
    fn check_giver(&self, before: Option<&Tool>) -> Result<(), StoreError> {
        let has_some = before.is_some_and(ToolGrants::has_some);
        if !self.is_from_tool || (self.grants.is_none() && !has_some) {
            return Ok(());
        }
        Err(StoreError::Invalid(
            "a running tool can't grant anything, nor change a tool that something was granted to"
                .to_owned(),
        ))
    }

    /// The tool as it would be stored, of that name or the name of its function.
    pub(crate) fn unsaved(&self, name: Option<&str>, now: Timestamp) -> Tool {
        let language = self.language.unwrap_or_default();
        let source = self.source_code.as_deref().unwrap_or_default();
        let name = name.map(str::to_owned);
        let name = name.or_else(|| schema::function_name(language, source, "").ok());
        let shape = Shape {
            name: name.unwrap_or_else(|| "tool".to_owned()),
            description: None,
            json_schema: Value::Null,
        };
        self.over(blank(language, now), &shape, now)
    }

    /// A tool with these changes.
    fn over(&self, mut tool: Tool, shape: &Shape, now: Timestamp) -> Tool {
        tool.name.clone_from(&shape.name);
        tool.json_schema.clone_from(&shape.json_schema);
        tool.description = match &self.description {
            Some(Some(text)) => Some(text.clone()),
            _ => shape.description.clone(),
        };
        if let Some(language) = self.language {
            language.as_str().clone_into(&mut tool.source_type);
        }
        let mut extra = match std::mem::take(&mut tool.extra) {
            Value::Object(fields) => fields,
            _ => Map::new(),
        };
        if let Some(source) = &self.source_code {
            tool.source_code = Some(source.clone());
        }
        if let Some(schema) = &self.args_json_schema {
            let schema = schema.clone().unwrap_or_else(|| json!({}));
            extra.insert("args_json_schema".to_owned(), schema);
        }
        put_requirements(&mut extra, "pip_requirements", &self.pip_requirements);
        put_requirements(&mut extra, "npm_requirements", &self.npm_requirements);
        if let Some(grants) = &self.grants {
            extra.insert(grants::FIELD.to_owned(), json!(grants));
        }
        if let Some(metadata) = &self.metadata {
            extra.insert("metadata_".to_owned(), metadata.clone().into());
        }
        if let Some(source) = &self.source_code {
            self.describe_source(source, &mut extra);
        }
        if let Some(project) = &self.project_id {
            extra.insert("project_id".to_owned(), project.clone().into());
        }
        tool.extra = extra.into();
        if let Some(tags) = &self.tags {
            tool.tags.clone_from(tags);
        }
        tool.return_char_limit = self.return_char_limit.unwrap_or(tool.return_char_limit);
        tool.enable_parallel_execution = self
            .enable_parallel_execution
            .unwrap_or(tool.enable_parallel_execution);
        tool.default_requires_approval = self
            .default_requires_approval
            .unwrap_or(tool.default_requires_approval);
        tool.updated_at = now;
        tool
    }

    /// Keeps a short hash of the source, by which clients see whether it changed.
    fn describe_source(&self, source: &str, extra: &mut Map<String, Value>) {
        let hash = Sha256::digest(source.as_bytes());
        let short: String = hash
            .iter()
            .take(6)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let metadata = extra.entry("metadata_").or_insert_with(|| json!({}));
        if let Some(fields) = metadata.as_object_mut() {
            fields.insert("tool_hash".to_owned(), short.into());
        }
    }
}

fn put_requirements(
    extra: &mut Map<String, Value>,
    key: &str,
    wanted: &Option<Option<Vec<Requirement>>>,
) {
    if let Some(wanted) = wanted {
        let list = wanted
            .as_ref()
            .map(|list| list.iter().map(Requirement::to_json).collect());
        extra.insert(key.to_owned(), list.map_or(Value::Null, Value::Array));
    }
}

/// What a schema is read from.
fn source_of(tool: &Tool) -> (Option<&String>, &str, Option<&Value>) {
    (
        tool.source_code.as_ref(),
        &tool.source_type,
        tool.extra.get("args_json_schema"),
    )
}

/// A tool of which nothing is said yet.
fn blank(language: Language, now: Timestamp) -> Tool {
    Tool {
        id: ToolId::new(),
        name: String::new(),
        tool_type: ToolType::Custom,
        description: None,
        source_type: language.as_str().to_owned(),
        source_code: None,
        json_schema: Value::Null,
        tags: Vec::new(),
        return_char_limit: RETURN_CHAR_LIMIT,
        enable_parallel_execution: false,
        default_requires_approval: None,
        extra: json!({}),
        created_by: None,
        updated_by: None,
        created_at: now,
        updated_at: now,
    }
}

/// Reads a schema on a thread of its own: a long source takes a while.
async fn derive(
    language: Language,
    source: String,
    description: Option<String>,
    arguments: Option<Value>,
) -> Result<Derived, EngineError> {
    let read = tokio::task::spawn_blocking(move || {
        let given = Given {
            name: None,
            description: description.as_deref(),
            arguments: arguments.as_ref(),
        };
        match language {
            Language::Python => schema::python(&source, given),
            Language::TypeScript => schema::typescript(&source, given),
        }
    });
    let derived = read.await.map_err(|_| EngineError::ShuttingDown)?;
    derived.map_err(|error| {
        EngineError::Invalid(format!("the schema of the tool cannot be read: {error}"))
    })
}

//! One rule, as the V1 API writes it.

use serde_json::{Map, Value};

use super::Unmapped;

/// The names of all kinds of rules.
pub const KINDS: [&str; 9] = [
    "run_first",
    "exit_loop",
    "continue_loop",
    "constrain_child_tools",
    "parent_last_tool",
    "conditional",
    "max_count_per_step",
    "required_before_exit",
    "requires_approval",
];

/// Characters of a return that an error shows.
const MAX_SHOWN: usize = 200;

/// A rule on one tool.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub enum ToolRule {
    /// A turn begins with it.
    RunFirst {
        tool: String,
        args: Map<String, Value>,
    },
    /// The turn ends after it.
    ExitLoop { tool: String },
    /// The turn goes on after it.
    ContinueLoop { tool: String },
    /// Right after it comes one of its children.
    ConstrainChildTools { tool: String, children: Vec<Child> },
    /// Its children come right after it only.
    ParentLastTool { tool: String, children: Vec<String> },
    /// What it returns says which tool comes next.
    Conditional {
        tool: String,
        mapping: Vec<(String, String)>,
        default_child: Option<String>,
        requires_match: bool,
    },
    /// It runs at most so often in one turn.
    MaxCountPerStep { tool: String, limit: u64 },
    /// The turn can't end before it ran.
    RequiredBeforeExit { tool: String },
    /// A person has to approve each call.
    RequiresApproval { tool: String },
}

/// A tool that follows another, and arguments that are given to it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Child {
    /// The tool.
    pub name: String,
    /// Arguments in the place of the model's own.
    pub args: Map<String, Value>,
}

/// A rule that can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RuleError(String);

impl ToolRule {
    /// Reads a rule.
    ///
    /// # Errors
    /// Says which field is missing or wrong.
    pub fn read(rule: &Value) -> Result<Self, RuleError> {
        let fields = Fields(rule);
        let kind = fields.text("type").unwrap_or_default();
        let Some(tool) = fields.text("tool_name").filter(|_| KINDS.contains(&kind)) else {
            return Err(RuleError(format!(
                "a tool rule needs a tool_name and one of these types: {}; this one is {rule}",
                KINDS.join(", ")
            )));
        };
        let tool = tool.to_owned();
        Ok(match kind {
            "run_first" => Self::RunFirst {
                tool,
                args: fields.object("args")?,
            },
            "exit_loop" => Self::ExitLoop { tool },
            "continue_loop" => Self::ContinueLoop { tool },
            "constrain_child_tools" => Self::ConstrainChildTools {
                tool,
                children: fields.children_with_args()?,
            },
            "parent_last_tool" => Self::ParentLastTool {
                tool,
                children: fields.names("children")?,
            },
            "conditional" => fields.conditional(tool)?,
            "max_count_per_step" => Self::MaxCountPerStep {
                tool,
                limit: fields.limit()?,
            },
            "required_before_exit" => Self::RequiredBeforeExit { tool },
            _ => Self::RequiresApproval { tool },
        })
    }

    /// The tool that has to follow what a tool with a conditional rule returned; `None` where any may.
    pub(super) fn next_for(&self, returned: &str) -> Result<Option<&str>, Unmapped> {
        let Self::Conditional {
            tool,
            mapping,
            default_child,
            requires_match,
        } = self
        else {
            return Ok(None);
        };
        let mapped = mapping.iter().find(|(output, _)| is_same(output, returned));
        match (mapped, default_child) {
            (Some((_, next)), _) => Ok(Some(next)),
            (None, Some(next)) => Ok(Some(next)),
            (None, None) if *requires_match => Err(Unmapped {
                tool: tool.clone(),
                returned: returned.chars().take(MAX_SHOWN).collect(),
            }),
            (None, None) => Ok(None),
        }
    }
}

/// Whether a return is what a mapping names: the same truth value, number or text.
fn is_same(output: &str, returned: &str) -> bool {
    let (output, returned) = (bare(output), bare(returned));
    // "nan" is a number that equals none, and a word as others are.
    if let (Ok(left), Ok(right)) = (output.parse::<f64>(), returned.parse::<f64>())
        && left == right
    {
        return true;
    }
    let is_truth = |text: &str| ["true", "false"].contains(&text.to_ascii_lowercase().as_str());
    if is_truth(output) && is_truth(returned) {
        return output.eq_ignore_ascii_case(returned);
    }
    output == returned
}

/// A text without white space and quotes around it.
fn bare(text: &str) -> &str {
    let text = text.trim();
    let unquoted = |quote: char| text.strip_prefix(quote)?.strip_suffix(quote);
    unquoted('"').or_else(|| unquoted('\'')).unwrap_or(text)
}

struct Fields<'v>(&'v Value);

impl<'v> Fields<'v> {
    fn get(&self, name: &str) -> Option<&'v Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    fn text(&self, name: &str) -> Option<&'v str> {
        let text = self.get(name).and_then(Value::as_str);
        text.filter(|text| !text.is_empty())
    }

    fn wrong<T>(&self, name: &str, wanted: &str) -> Result<T, RuleError> {
        let rule = self.0;
        Err(RuleError(format!(
            "{name} of a tool rule must be {wanted}; this one is {rule}"
        )))
    }

    fn object(&self, name: &str) -> Result<Map<String, Value>, RuleError> {
        match self.get(name) {
            None => Ok(Map::new()),
            Some(Value::Object(object)) => Ok(object.clone()),
            Some(_) => self.wrong(name, "an object"),
        }
    }

    fn names(&self, name: &str) -> Result<Vec<String>, RuleError> {
        let named = self.get(name).and_then(Value::as_array);
        let names: Option<Vec<String>> = named.and_then(|names| {
            let names = names.iter().map(|name| name.as_str().map(str::to_owned));
            names.collect()
        });
        match names {
            Some(names) => Ok(names),
            None => self.wrong(name, "a list of names of tools"),
        }
    }

    /// `children`, and the arguments of those that `child_arg_nodes` names.
    fn children_with_args(&self) -> Result<Vec<Child>, RuleError> {
        let nodes = match self.get("child_arg_nodes") {
            None => &[],
            Some(Value::Array(nodes)) => nodes.as_slice(),
            Some(_) => return self.wrong("child_arg_nodes", "a list"),
        };
        let mut children: Vec<Child> = Vec::new();
        let has_names = self.get("children").is_some() || nodes.is_empty();
        for name in if has_names {
            self.names("children")?
        } else {
            Vec::new()
        } {
            children.push(Child {
                name,
                args: Map::new(),
            });
        }
        for node in nodes {
            let fields = Fields(node);
            let Some(name) = fields.text("name") else {
                return self.wrong("child_arg_nodes", "a list of objects with a name and args");
            };
            let args = fields.object("args")?;
            match children.iter_mut().find(|child| child.name == name) {
                Some(child) => child.args = args,
                None => children.push(Child {
                    name: name.to_owned(),
                    args,
                }),
            }
        }
        Ok(children)
    }

    fn conditional(&self, tool: String) -> Result<ToolRule, RuleError> {
        let mapping = self.object("child_output_mapping")?.into_iter();
        let mapping: Option<Vec<(String, String)>> = mapping
            .map(|(output, next)| next.as_str().map(|next| (output, next.to_owned())))
            .collect();
        let Some(mapping) = mapping else {
            return self.wrong("child_output_mapping", "an object of names of tools");
        };
        let requires = self.get("require_output_mapping");
        Ok(ToolRule::Conditional {
            tool,
            mapping,
            default_child: self.text("default_child").map(str::to_owned),
            requires_match: requires.and_then(Value::as_bool).unwrap_or(false),
        })
    }

    fn limit(&self) -> Result<u64, RuleError> {
        match self.get("max_count_limit").and_then(Value::as_u64) {
            Some(limit) => Ok(limit),
            None => self.wrong("max_count_limit", "a whole number, 0 or more"),
        }
    }
}

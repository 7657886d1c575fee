//! The rules on an agent's tools: which it may call next, with which arguments, and when its turn ends (V1 contract,
//! section 3.8). Pure.

mod rule;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

pub use rule::{Child, KINDS, RuleError, ToolRule};

/// The rules of an agent, in their order.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ToolRules {
    rules: Vec<ToolRule>,
}

/// What the tools of a run returned so far, as far as rules ask for it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct History {
    counts: BTreeMap<String, u64>,
    last: Option<(String, String)>,
}

impl History {
    /// Notes that a tool ran and what it returned.
    pub fn note(&mut self, tool: &str, returned: &str) {
        *self.counts.entry(tool.to_owned()).or_default() += 1;
        self.last = Some((tool.to_owned(), returned.to_owned()));
    }

    /// Whether no tool ran yet.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.last.is_none()
    }

    /// How often a tool ran.
    #[must_use]
    pub fn count(&self, tool: &str) -> u64 {
        self.counts.get(tool).copied().unwrap_or(0)
    }

    fn last_is(&self, tool: &str) -> bool {
        self.last.as_ref().is_some_and(|(last, _)| last == tool)
    }
}

/// Which tools the next step may call.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NextTools {
    /// Their names, in the order of the agent's tools; `None` is all of them.
    pub allowed: Option<Vec<String>>,
    /// Whether one of them has to be called.
    pub is_forced: bool,
    /// Arguments that stand in the place of the model's own, by the tool's name.
    pub prefilled: BTreeMap<String, Map<String, Value>>,
}

impl NextTools {
    /// Whether a tool may be called.
    #[must_use]
    pub fn allows(&self, tool: &str) -> bool {
        let allowed = self.allowed.as_ref();
        allowed.is_none_or(|allowed| allowed.iter().any(|name| name == tool))
    }
}

/// A tool returned something for which its rule names no next tool, and insists on one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the rule on '{tool}' names no tool for what it returned, {returned:?}: add that to its child_output_mapping, give it a \
     default_child, or set require_output_mapping to false"
)]
pub struct Unmapped {
    /// The tool with the rule.
    pub tool: String,
    /// What it returned, the first 200 characters of it.
    pub returned: String,
}

impl ToolRules {
    /// Reads rules as they are stored. Those that can't be read, which are refused when they are set, are left out.
    #[must_use]
    pub fn read(rules: &[Value]) -> Self {
        let rules = rules.iter().filter_map(|rule| ToolRule::read(rule).ok());
        Self {
            rules: rules.collect(),
        }
    }

    /// Whether a turn makes one call at a time: calls that are made together can't follow an order. Rules that ask a person
    /// have nothing to do with that.
    #[must_use]
    pub fn need_one_call_at_a_time(&self) -> bool {
        self.rules
            .iter()
            .any(|rule| !matches!(rule, ToolRule::RequiresApproval { .. }))
    }

    /// Whether the turn ends after a tool.
    #[must_use]
    pub fn end_after(&self, tool: &str) -> bool {
        self.rules
            .iter()
            .any(|rule| matches!(rule, ToolRule::ExitLoop { tool: named } if named == tool))
    }

    /// Whether a rule says that the turn goes on after a tool.
    #[must_use]
    pub fn go_on_after(&self, tool: &str) -> bool {
        self.rules.iter().any(|rule| {
            matches!(rule,
                ToolRule::ContinueLoop { tool: named }
                | ToolRule::ConstrainChildTools { tool: named, .. }
                | ToolRule::Conditional { tool: named, .. } if named == tool)
        })
    }

    /// The attached tools that have to be called before the turn may end and were not.
    #[must_use]
    pub fn missing_before_exit<'a>(&'a self, attached: &[&str], history: &History) -> Vec<&'a str> {
        let required = self.rules.iter().filter_map(|rule| match rule {
            ToolRule::RequiredBeforeExit { tool } => Some(tool.as_str()),
            _ => None,
        });
        let is_missing = |tool: &&str| attached.contains(tool) && history.count(tool) == 0;
        required.filter(is_missing).collect()
    }

    /// Which of the attached tools may be called next.
    ///
    /// # Errors
    /// A conditional rule insists on a next tool and has none for what was returned.
    pub fn next(&self, attached: &[&str], history: &History) -> Result<NextTools, Unmapped> {
        if self.rules.is_empty() {
            return Ok(NextTools::default());
        }
        let mut narrowed = self.first(attached, history);
        if narrowed.names.is_none() {
            narrowed = self.following(history)?;
        }
        Ok(self.limited(narrowed, attached, history))
    }

    /// Before any call: the tools with which a turn begins.
    fn first(&self, attached: &[&str], history: &History) -> Narrowed<'_> {
        let mut narrowed = Narrowed::default();
        for rule in self.rules.iter().filter(|_| history.is_empty()) {
            if let ToolRule::RunFirst { tool, args } = rule
                && attached.contains(&tool.as_str())
            {
                narrowed.names.get_or_insert_default().insert(tool);
                narrowed.is_forced = true;
                narrowed.prefill(tool, args);
            }
        }
        narrowed
    }

    /// After a call: what the rules on it say.
    fn following(&self, history: &History) -> Result<Narrowed<'_>, Unmapped> {
        let mut narrowed = Narrowed::default();
        for rule in &self.rules {
            match rule {
                ToolRule::ConstrainChildTools { tool, children } if history.last_is(tool) => {
                    let names = children.iter().map(|child| child.name.as_str());
                    narrowed.keep(names.collect());
                    for child in children {
                        narrowed.prefill(&child.name, &child.args);
                    }
                }
                ToolRule::Conditional { tool, .. } if history.last_is(tool) => {
                    let returned = history.last.as_ref().map_or("", |(_, text)| text);
                    if let Some(next) = rule.next_for(returned)? {
                        narrowed.keep([next].into());
                    }
                }
                _ => {}
            }
        }
        Ok(narrowed)
    }

    /// Tools that may only follow others which did not run just before.
    fn out_of_place(&self, history: &History) -> BTreeSet<&str> {
        let mut closed = BTreeSet::new();
        let mut open = BTreeSet::new();
        for rule in &self.rules {
            if let ToolRule::ParentLastTool { tool, children } = rule {
                let side = if history.last_is(tool) {
                    &mut open
                } else {
                    &mut closed
                };
                side.extend(children.iter().map(String::as_str));
            }
        }
        closed.difference(&open).copied().collect()
    }

    /// Tools that ran as often as they may.
    fn used_up(&self, history: &History) -> BTreeSet<&str> {
        let counted = self.rules.iter().filter_map(|rule| match rule {
            ToolRule::MaxCountPerStep { tool, limit } => Some((tool.as_str(), *limit)),
            _ => None,
        });
        let is_over = |(tool, limit): &(&str, u64)| history.count(tool) >= *limit;
        counted.filter(is_over).map(|(tool, _)| tool).collect()
    }

    /// What remains of the attached tools. An order that leaves none holds no longer; a limit does, so that there may be no
    /// tool left, and the model answers in words.
    fn limited(
        &self,
        mut narrowed: Narrowed<'_>,
        attached: &[&str],
        history: &History,
    ) -> NextTools {
        let (misplaced, used_up) = (self.out_of_place(history), self.used_up(history));
        let names = narrowed.names.take();
        let in_order = |tool: &&&str| {
            let is_named = names.as_ref().is_none_or(|names| names.contains(**tool));
            is_named && !misplaced.contains(**tool)
        };
        let mut allowed: Vec<&str> = attached.iter().filter(in_order).copied().collect();
        let mut is_forced = narrowed.is_forced;
        if allowed.is_empty() {
            allowed = attached.to_vec();
            is_forced = false;
            // Arguments belong to the order in which they were given.
            narrowed.prefilled.clear();
        }
        allowed.retain(|tool| !used_up.contains(tool));
        let is_forced = is_forced && !allowed.is_empty();
        let mut prefilled = narrowed.prefilled;
        prefilled.retain(|tool, _| allowed.contains(&tool.as_str()));
        let names = || allowed.iter().map(|name| (*name).to_owned()).collect();
        NextTools {
            allowed: (allowed.len() < attached.len()).then(names),
            is_forced,
            prefilled,
        }
    }
}

/// Tools as the rules on the last call narrow them.
#[derive(Default)]
struct Narrowed<'r> {
    names: Option<BTreeSet<&'r str>>,
    is_forced: bool,
    prefilled: BTreeMap<String, Map<String, Value>>,
}

impl<'r> Narrowed<'r> {
    fn keep(&mut self, names: BTreeSet<&'r str>) {
        self.is_forced = true;
        self.names = Some(match self.names.take() {
            Some(before) => before.intersection(&names).copied().collect(),
            None => names,
        });
    }

    fn prefill(&mut self, tool: &str, args: &Map<String, Value>) {
        if !args.is_empty() {
            let known = self.prefilled.entry(tool.to_owned()).or_default();
            known.extend(args.clone());
        }
    }
}

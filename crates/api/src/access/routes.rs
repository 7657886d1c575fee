//! Which credentials each route lets in. A route that is not named here is open to administrators alone, so that a new one stays
//! closed until somebody opens it.

use std::{collections::HashMap, sync::LazyLock};

use http::Method;
use mnemic_core::api_keys::KeyScope;

/// Whom a route lets in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// The least scope of keys.
    pub least: KeyScope,
    /// Whether an end user may come, for what is the person's own.
    pub own: bool,
}

const fn rule(least: KeyScope, own: bool) -> Rule {
    Rule { least, own }
}

const ADMIN: Rule = rule(KeyScope::Admin, false);
const AGENT: Rule = rule(KeyScope::Agent, false);
const AGENT_OWN: Rule = rule(KeyScope::Agent, true);
const READ: Rule = rule(KeyScope::Read, false);
const READ_OWN: Rule = rule(KeyScope::Read, true);

/// What blocks, archives, passages, threads and runs of tools are about says for itself whose it is, and is refused where it is
/// common, when a request comes out of one person's turn.
const SAY_WHOSE: &[&str] = &[
    "/v1/agents/{}/archival-memory",
    "/v1/agents/{}/archival-memory/{}",
    "/v1/agents/{}/core-memory/blocks/{}",
    "/v1/agents/{}/messages/capture",
    "/v1/agents/{}/tools/{}/run",
    "/v1/archives/{}",
    "/v1/archives/{}/passages",
    "/v1/archives/{}/passages/batch",
    "/v1/archives/{}/passages/{}",
    "/v1/blocks",
    "/v1/blocks/{}",
    "/v1/blocks/{}/restore",
    "/v1/conversations/{}/messages",
    "/v1/groups/{}/messages",
    "/v1/messages/batches",
    "/v1/tools/run",
];

/// The rules of a template's methods.
type Methods = &'static [(&'static str, Rule)];

/// All routes by their templates, in which a parameter is `{}`.
const ROUTES: &[(&str, Methods)] = &[
    ("/", &[("GET", READ)]),
    ("/docs", &[("GET", READ)]),
    ("/docs/", &[("GET", READ)]),
    ("/docs/{}", &[("GET", READ)]),
    ("/metrics", &[("GET", READ)]),
    ("/openapi.json", &[("GET", READ)]),
    (
        "/v1/admin/orgs",
        &[
            ("GET", ADMIN),
            ("POST", ADMIN),
            ("PATCH", ADMIN),
            ("DELETE", ADMIN),
        ],
    ),
    (
        "/v1/admin/users",
        &[
            ("GET", ADMIN),
            ("POST", ADMIN),
            ("PUT", ADMIN),
            ("DELETE", ADMIN),
        ],
    ),
    ("/v1/agents", &[("GET", READ), ("POST", AGENT)]),
    ("/v1/agents/count", &[("GET", READ)]),
    ("/v1/agents/import", &[("POST", AGENT)]),
    ("/v1/agents/messages/search", &[("POST", READ)]),
    (
        "/v1/agents/{}",
        &[("GET", READ), ("PATCH", AGENT), ("DELETE", AGENT)],
    ),
    (
        "/v1/agents/{}/archival-memory",
        &[("GET", READ_OWN), ("POST", AGENT_OWN)],
    ),
    ("/v1/agents/{}/archival-memory/search", &[("GET", READ_OWN)]),
    ("/v1/agents/{}/archival-memory/{}", &[("DELETE", AGENT)]),
    ("/v1/agents/{}/archives/attach/{}", &[("PATCH", AGENT)]),
    ("/v1/agents/{}/archives/detach/{}", &[("PATCH", AGENT)]),
    ("/v1/agents/{}/context", &[("GET", READ)]),
    ("/v1/agents/{}/core-memory", &[("GET", READ)]),
    ("/v1/agents/{}/core-memory/blocks", &[("GET", READ)]),
    (
        "/v1/agents/{}/core-memory/blocks/attach/{}",
        &[("PATCH", AGENT)],
    ),
    (
        "/v1/agents/{}/core-memory/blocks/detach/{}",
        &[("PATCH", AGENT)],
    ),
    (
        "/v1/agents/{}/core-memory/blocks/{}",
        &[("GET", READ), ("PATCH", AGENT)],
    ),
    ("/v1/agents/{}/export", &[("GET", READ), ("POST", AGENT)]),
    ("/v1/agents/{}/forget", &[("POST", AGENT)]),
    ("/v1/agents/{}/generate", &[("POST", AGENT)]),
    ("/v1/agents/{}/groups", &[("GET", READ)]),
    ("/v1/agents/{}/identities/attach/{}", &[("PATCH", AGENT)]),
    ("/v1/agents/{}/identities/detach/{}", &[("PATCH", AGENT)]),
    ("/v1/agents/{}/memory", &[("POST", AGENT_OWN)]),
    ("/v1/agents/{}/memory/search", &[("POST", READ_OWN)]),
    (
        "/v1/agents/{}/messages",
        &[("GET", READ_OWN), ("POST", AGENT_OWN)],
    ),
    ("/v1/agents/{}/messages/async", &[("POST", AGENT_OWN)]),
    ("/v1/agents/{}/messages/cancel", &[("POST", AGENT_OWN)]),
    ("/v1/agents/{}/messages/capture", &[("POST", AGENT)]),
    (
        "/v1/agents/{}/messages/preview-raw-payload",
        &[("POST", AGENT)],
    ),
    ("/v1/agents/{}/messages/stream", &[("POST", AGENT_OWN)]),
    ("/v1/agents/{}/messages/{}", &[("PATCH", AGENT)]),
    ("/v1/agents/{}/recompile", &[("POST", AGENT)]),
    ("/v1/agents/{}/reset-messages", &[("PATCH", AGENT)]),
    ("/v1/agents/{}/summarize", &[("POST", AGENT)]),
    ("/v1/agents/{}/system-prompt/recompile", &[("POST", AGENT)]),
    ("/v1/agents/{}/tools", &[("GET", READ)]),
    ("/v1/agents/{}/tools/approval/{}", &[("PATCH", AGENT)]),
    ("/v1/agents/{}/tools/attach/{}", &[("PATCH", AGENT)]),
    ("/v1/agents/{}/tools/detach/{}", &[("PATCH", AGENT)]),
    ("/v1/agents/{}/tools/{}/run", &[("POST", AGENT)]),
    ("/v1/agents/{}/users", &[("GET", READ)]),
    (
        "/v1/agents/{}/users/{}",
        &[("GET", READ_OWN), ("DELETE", AGENT)],
    ),
    ("/v1/agents/{}/users/{}/forget", &[("POST", AGENT)]),
    ("/v1/api-keys", &[("GET", ADMIN), ("POST", ADMIN)]),
    ("/v1/api-keys/{}", &[("DELETE", ADMIN)]),
    ("/v1/archives", &[("GET", READ), ("POST", AGENT)]),
    (
        "/v1/archives/{}",
        &[("GET", READ), ("PATCH", AGENT), ("DELETE", AGENT)],
    ),
    ("/v1/archives/{}/agents", &[("GET", READ)]),
    ("/v1/archives/{}/passages", &[("POST", AGENT)]),
    ("/v1/archives/{}/passages/batch", &[("POST", AGENT)]),
    ("/v1/archives/{}/passages/{}", &[("DELETE", AGENT)]),
    ("/v1/auth", &[("POST", READ)]),
    ("/v1/blocks", &[("GET", READ), ("POST", AGENT)]),
    ("/v1/blocks/count", &[("GET", READ)]),
    (
        "/v1/blocks/{}",
        &[("GET", READ), ("PATCH", AGENT), ("DELETE", AGENT)],
    ),
    ("/v1/blocks/{}/agents", &[("GET", READ)]),
    ("/v1/blocks/{}/history", &[("GET", READ)]),
    ("/v1/blocks/{}/identities/attach/{}", &[("PATCH", AGENT)]),
    ("/v1/blocks/{}/identities/detach/{}", &[("PATCH", AGENT)]),
    ("/v1/blocks/{}/restore", &[("POST", AGENT)]),
    ("/v1/chat/completions", &[("POST", AGENT_OWN)]),
    ("/v1/conversations", &[("GET", READ), ("POST", AGENT)]),
    (
        "/v1/conversations/{}",
        &[("GET", READ_OWN), ("PATCH", AGENT), ("DELETE", AGENT)],
    ),
    ("/v1/conversations/{}/cancel", &[("POST", AGENT_OWN)]),
    ("/v1/conversations/{}/compact", &[("POST", AGENT)]),
    ("/v1/conversations/{}/fork", &[("POST", AGENT)]),
    (
        "/v1/conversations/{}/messages",
        &[("GET", READ_OWN), ("POST", AGENT_OWN)],
    ),
    (
        "/v1/conversations/{}/messages/preview-raw-payload",
        &[("POST", AGENT)],
    ),
    ("/v1/conversations/{}/recompile", &[("POST", AGENT)]),
    ("/v1/conversations/{}/stream", &[("POST", AGENT_OWN)]),
    ("/v1/embeddings/total_storage_size", &[("GET", READ)]),
    ("/v1/end-users/{}", &[("DELETE", AGENT)]),
    ("/v1/groups", &[("GET", READ), ("POST", AGENT)]),
    ("/v1/groups/count", &[("GET", READ)]),
    (
        "/v1/groups/{}",
        &[("GET", READ), ("PATCH", AGENT), ("DELETE", AGENT)],
    ),
    ("/v1/groups/{}/blocks/attach/{}", &[("PATCH", AGENT)]),
    ("/v1/groups/{}/blocks/detach/{}", &[("PATCH", AGENT)]),
    ("/v1/groups/{}/messages", &[("GET", READ), ("POST", AGENT)]),
    ("/v1/groups/{}/messages/{}", &[("PATCH", AGENT)]),
    ("/v1/groups/{}/reset-messages", &[("PATCH", AGENT)]),
    ("/v1/health", &[("GET", READ)]),
    (
        "/v1/identities",
        &[("GET", READ), ("POST", AGENT), ("PUT", AGENT)],
    ),
    ("/v1/identities/count", &[("GET", READ)]),
    (
        "/v1/identities/{}",
        &[("GET", READ), ("PATCH", AGENT), ("DELETE", AGENT)],
    ),
    ("/v1/identities/{}/agents", &[("GET", READ)]),
    ("/v1/identities/{}/blocks", &[("GET", READ)]),
    ("/v1/identities/{}/properties", &[("PUT", AGENT)]),
    ("/v1/jobs", &[("GET", READ)]),
    ("/v1/jobs/active", &[("GET", READ)]),
    ("/v1/jobs/{}", &[("GET", READ), ("DELETE", AGENT)]),
    ("/v1/jobs/{}/cancel", &[("PATCH", AGENT)]),
    ("/v1/messages", &[("GET", READ)]),
    ("/v1/messages/batches", &[("GET", READ), ("POST", AGENT)]),
    ("/v1/messages/batches/{}", &[("GET", READ)]),
    ("/v1/messages/batches/{}/cancel", &[("PATCH", AGENT)]),
    ("/v1/messages/batches/{}/messages", &[("GET", READ)]),
    ("/v1/messages/search", &[("POST", READ)]),
    ("/v1/messages/{}", &[("GET", READ)]),
    ("/v1/models", &[("GET", READ)]),
    ("/v1/models/embedding", &[("GET", READ)]),
    ("/v1/models/unreachable", &[("GET", READ)]),
    ("/v1/models/{}", &[("GET", READ)]),
    ("/v1/openapi.json", &[("GET", READ)]),
    ("/v1/passages/search", &[("POST", READ)]),
    ("/v1/providers", &[("GET", ADMIN), ("POST", ADMIN)]),
    ("/v1/providers/check", &[("POST", ADMIN)]),
    (
        "/v1/providers/{}",
        &[("GET", ADMIN), ("PATCH", ADMIN), ("DELETE", ADMIN)],
    ),
    ("/v1/providers/{}/check", &[("POST", ADMIN)]),
    ("/v1/providers/{}/refresh", &[("PATCH", ADMIN)]),
    ("/v1/ready", &[("GET", READ)]),
    ("/v1/responses", &[("POST", AGENT_OWN)]),
    ("/v1/_internal_runs", &[("GET", READ)]),
    ("/v1/runs", &[("GET", READ)]),
    ("/v1/runs/active", &[("GET", READ)]),
    ("/v1/runs/{}", &[("GET", READ_OWN), ("DELETE", AGENT)]),
    ("/v1/runs/{}/memory", &[("GET", READ_OWN)]),
    ("/v1/runs/{}/messages", &[("GET", READ_OWN)]),
    ("/v1/runs/{}/metrics", &[("GET", READ_OWN)]),
    ("/v1/runs/{}/steps", &[("GET", READ_OWN)]),
    ("/v1/runs/{}/stream", &[("POST", READ_OWN)]),
    ("/v1/runs/{}/trace", &[("GET", READ)]),
    ("/v1/runs/{}/usage", &[("GET", READ_OWN)]),
    ("/v1/sandbox-config", &[("GET", ADMIN), ("POST", ADMIN)]),
    ("/v1/sandbox-config/e2b/default", &[("POST", ADMIN)]),
    (
        "/v1/sandbox-config/environment-variable/{}",
        &[("PATCH", ADMIN), ("DELETE", ADMIN)],
    ),
    ("/v1/sandbox-config/local", &[("POST", ADMIN)]),
    ("/v1/sandbox-config/local/default", &[("POST", ADMIN)]),
    ("/v1/sandbox-config/local/recreate-venv", &[("POST", ADMIN)]),
    (
        "/v1/sandbox-config/{}",
        &[("PATCH", ADMIN), ("DELETE", ADMIN)],
    ),
    (
        "/v1/sandbox-config/{}/environment-variable",
        &[("GET", ADMIN), ("POST", ADMIN)],
    ),
    ("/v1/steps", &[("GET", READ)]),
    ("/v1/steps/{}", &[("GET", READ_OWN)]),
    ("/v1/steps/{}/feedback", &[("PATCH", AGENT)]),
    ("/v1/steps/{}/messages", &[("GET", READ_OWN)]),
    ("/v1/steps/{}/metrics", &[("GET", READ_OWN)]),
    ("/v1/steps/{}/trace", &[("GET", READ)]),
    ("/v1/steps/{}/transaction/{}", &[("PATCH", AGENT)]),
    ("/v1/tags", &[("GET", READ)]),
    ("/v1/telemetry/{}", &[("GET", READ)]),
    (
        "/v1/tools",
        &[("GET", READ), ("POST", AGENT), ("PUT", AGENT)],
    ),
    ("/v1/tools/add-base-tools", &[("POST", AGENT)]),
    ("/v1/tools/count", &[("GET", READ)]),
    ("/v1/tools/generate-schema", &[("POST", AGENT)]),
    ("/v1/tools/run", &[("POST", AGENT)]),
    ("/v1/tools/search", &[("POST", READ)]),
    (
        "/v1/tools/{}",
        &[("GET", READ), ("PATCH", AGENT), ("DELETE", AGENT)],
    ),
    ("/v1/limits", &[("GET", READ_OWN), ("PUT", ADMIN)]),
    ("/v1/plans", &[("GET", READ)]),
    ("/v1/usage", &[("GET", READ)]),
    ("/v1/user-tokens", &[("POST", AGENT), ("DELETE", AGENT)]),
    ("/v1/voice-beta/{}/chat/completions", &[("POST", AGENT)]),
];

static RULES: LazyLock<HashMap<&str, Methods>> = LazyLock::new(|| ROUTES.iter().copied().collect());

/// The rule of a route, by the template under which the router knows it.
#[must_use]
pub fn rule_of(method: &Method, template: Option<&str>) -> Rule {
    named(method, template).unwrap_or(ADMIN)
}

/// Whether what a route is about says for itself whose it is.
#[must_use]
pub fn says_whose_it_is(template: &str) -> bool {
    SAY_WHOSE.contains(&nameless(template).as_str())
}

/// The rule of a route that the table names.
fn named(method: &Method, template: Option<&str>) -> Option<Rule> {
    // The router answers HEAD where it answers GET.
    let method = if method == Method::HEAD {
        &Method::GET
    } else {
        method
    };
    let methods = RULES.get(nameless(template?).as_str())?;
    let found = methods.iter().find(|(name, _)| method.as_str() == *name);
    found.map(|(_, rule)| *rule)
}

/// A template without the names of its parameters.
fn nameless(template: &str) -> String {
    let mut inside = false;
    let kept = template.chars().filter(|letter| {
        let shown = !inside || *letter == '}';
        inside = (inside || *letter == '{') && *letter != '}';
        shown
    });
    kept.collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_route_that_exists_is_named() {
        let (_, descriptions) = crate::openapi::routes().split();
        let document = crate::openapi::document(&descriptions);
        let mut unnamed = BTreeSet::new();
        for (path, item) in document.paths.paths {
            let operations = [
                (Method::GET, item.get.is_some()),
                (Method::POST, item.post.is_some()),
                (Method::PUT, item.put.is_some()),
                (Method::PATCH, item.patch.is_some()),
                (Method::DELETE, item.delete.is_some()),
            ];
            for (method, exists) in operations {
                if exists && named(&method, Some(&path)).is_none() {
                    unnamed.insert(format!("{method} {path}"));
                }
            }
        }
        assert!(
            unnamed.is_empty(),
            "say in this table who may come: {unnamed:?}"
        );
    }

    #[test]
    fn a_route_is_named_once() {
        assert_eq!(RULES.len(), ROUTES.len());
    }

    #[test]
    fn what_is_not_named_is_open_to_administrators_alone() {
        for template in [Some("/v1/new/{id}"), Some("/v1/agents/{}/new"), None] {
            assert_eq!(rule_of(&Method::GET, template), ADMIN, "{template:?}");
        }
        assert_eq!(rule_of(&Method::DELETE, Some("/v1/usage")), ADMIN);
        assert_eq!(rule_of(&Method::HEAD, Some("/v1/agents/{agent_id}")), READ);
    }

    #[test]
    fn a_template_is_known_under_any_names_of_its_parameters() {
        assert_eq!(nameless("/v1/a/{agent_id}/b/{*rest}"), "/v1/a/{}/b/{}");
        assert_eq!(nameless("/v1/a"), "/v1/a");
    }
}

//! Requests of running tools: they come over the call's own channel, not over the network, and see what the call's user
//! sees.

use std::{future::Future, pin::Pin, sync::Arc};

use axum::{Router, body::Body};
use http::{HeaderValue, Method, Request, header};
use mnemic_engine::custom::{Ask, Door, Doors, Reach, Reply, Visit};
use tokio::task::JoinSet;
use tower::ServiceExt as _;

/// Bytes of an answer at the most.
const MAX_ANSWER: usize = 16 << 20;

/// Opens doors to this API.
#[derive(Debug)]
pub struct ApiDoors {
    router: Router,
}

#[derive(Debug)]
struct ApiDoor {
    router: Router,
    visit: Visit,
}

impl ApiDoors {
    /// Doors to these routes.
    #[must_use]
    pub const fn new(router: Router) -> Self {
        Self { router }
    }
}

impl Doors for ApiDoors {
    fn open(&self, visit: Visit) -> Arc<dyn Door> {
        Arc::new(ApiDoor {
            router: self.router.clone(),
            visit,
        })
    }
}

impl Door for ApiDoor {
    fn answer(&self, ask: Ask) -> Pin<Box<dyn Future<Output = Reply> + Send + '_>> {
        Box::pin(async move {
            if let Some((status, reason)) = self.refusal(&ask) {
                return Reply::refused(status, reason);
            }
            match self.request(ask) {
                Ok(request) => self.ask(request).await,
                Err(error) => Reply::refused(400, &format!("this is no request: {error}")),
            }
        })
    }
}

impl ApiDoor {
    /// Why this visitor must not ask this.
    fn refusal(&self, ask: &Ask) -> Option<(u16, &'static str)> {
        let path = ask.path.split('?').next().unwrap_or_default();
        let path = path.trim_end_matches('/');
        let own = self.visit.agent_id.map(|id| format!("/v1/agents/{id}/"));
        let of_agent = own.and_then(|own| path.strip_prefix(own.as_str()));
        let is_post = ask.method == "POST";
        let runs_tool = of_agent.is_some_and(|rest| {
            let name = rest
                .strip_prefix("tools/")
                .and_then(|rest| rest.strip_suffix("/run"));
            is_post && name.is_some_and(|name| !name.contains('/'))
        });
        if self.visit.reach == Reach::Tools && !runs_tool {
            return Some((403, "this program may only call its agent's tools"));
        }
        None
    }

    fn request(&self, ask: Ask) -> Result<Request<Body>, http::Error> {
        let method = Method::from_bytes(ask.method.as_bytes())?;
        let mut request = Request::builder().method(method).uri(ask.path);
        if let Some(kind) = ask.content_type {
            request = request.header(header::CONTENT_TYPE, kind);
        }
        let mut request = request.body(Body::from(ask.body))?;
        request.extensions_mut().insert(self.visit.clone());
        Ok(request)
    }

    async fn ask(&self, request: Request<Body>) -> Reply {
        // On a task of its own, which ends with this one: tools in tools would else be polled one inside the other, on one
        // stack, which the deepest of them could overflow.
        let mut answering = JoinSet::new();
        answering.spawn(self.router.clone().oneshot(request));
        let response = match answering.join_next().await {
            Some(Ok(Ok(response))) => response,
            Some(Ok(Err(never))) => match never {},
            Some(Err(_)) | None => {
                return Reply::refused(500, "the server could not answer; its log says why");
            }
        };
        let (head, body) = response.into_parts();
        let kind = head
            .headers
            .get(header::CONTENT_TYPE)
            .map(HeaderValue::to_str);
        match axum::body::to_bytes(body, MAX_ANSWER).await {
            Ok(body) => Reply {
                status: head.status.as_u16(),
                content_type: kind.and_then(Result::ok).map(str::to_owned),
                body: body.to_vec(),
            },
            Err(_) => Reply::refused(502, "the answer is too long for a tool: ask for less of it"),
        }
    }
}

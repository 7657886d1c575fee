//! Routes that know how to describe themselves, but only do so when somebody reads the description.
//!
//! The description of all routes takes megabytes while it is put together, and most servers are never asked for
//! it: `utoipa_axum::OpenApiRouter` makes it at the start, so a router of our own keeps the two apart.

use axum::{
    Router,
    handler::Handler,
    routing::{MethodFilter, MethodRouter},
};
use utoipa::openapi::OpenApi;
use utoipa_axum::{
    PathItemExt as _,
    router::{OpenApiRouter, UtoipaMethodRouter},
};

use crate::AppState;

/// Describes handlers that are routed together.
pub type Describe = fn() -> UtoipaMethodRouter<AppState>;

/// Routes, and what describes them. Made by `routes!` and put together with [`Routes::merge`].
#[derive(Default)]
pub struct Routes {
    router: Router<AppState>,
    descriptions: Vec<Describe>,
}

impl Routes {
    /// No routes yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds all of `other`.
    #[must_use]
    pub fn merge(mut self, other: Self) -> Self {
        self.descriptions.extend(other.descriptions);
        Self {
            router: self.router.merge(other.router),
            descriptions: self.descriptions,
        }
    }

    /// Routes to `handler` what the description `P` says: its path and its methods, of which `#[utoipa::path]` always has one.
    #[must_use]
    pub fn on<P, H, T>(self, handler: H) -> Self
    where
        P: utoipa::Path,
        H: Handler<T, AppState>,
        T: 'static,
    {
        let filters = P::methods()
            .into_iter()
            .map(|method| method.to_method_filter());
        let Some(filter) = filters.reduce(MethodFilter::or) else {
            return self;
        };
        Self {
            router: self
                .router
                .route(&P::path(), MethodRouter::new().on(filter, handler)),
            ..self
        }
    }

    /// Adds a path that the description leaves out.
    #[must_use]
    pub fn route(self, path: &str, methods: MethodRouter<AppState>) -> Self {
        Self {
            router: self.router.route(path, methods),
            ..self
        }
    }

    /// Says how what was routed is described.
    #[must_use]
    pub fn described(mut self, describe: Describe) -> Self {
        self.descriptions.push(describe);
        self
    }

    /// The routes alone, and their descriptions.
    pub fn split(self) -> (Router<AppState>, Vec<Describe>) {
        (self.router, self.descriptions)
    }
}

/// Adds what `descriptions` say to a document.
pub fn describe(document: OpenApi, descriptions: &[Describe]) -> OpenApi {
    descriptions
        .iter()
        .fold(OpenApiRouter::with_openapi(document), |routes, describe| {
            routes.routes(describe())
        })
        .into_openapi()
}

/// [`Routes`] of handlers that `#[utoipa::path]` describes, in the module that calls it.
macro_rules! routes {
    ($($handler:ident),+ $(,)?) => {
        pastey::paste! {
            $crate::described::Routes::new()
                $(.on::<[<__path_ $handler>], _, _>($handler))+
                .described(|| utoipa_axum::routes!($($handler),+))
        }
    };
}
pub(crate) use routes;

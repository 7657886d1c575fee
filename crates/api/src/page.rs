//! The cursor parameters that all lists share (V1 contract, section 1.6).

use axum::extract::FromRequestParts;
use http::request::Parts;
use mnemic_store::page::{Order, Page};
use serde::Deserialize;
use serde_json::json;
use utoipa::IntoParams;

use crate::{AppState, error::ApiError, extract::parse_query, validation::Issue};

/// Rows that one page may hold.
const MAX_LIMIT: i64 = 10_000;

/// Which part of a list is wanted.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// The id of the item before which the page ends, in the order of the list.
    pub before: Option<String>,
    /// The id of the item after which the page begins, in the order of the list.
    pub after: Option<String>,
    /// How many items at the most.
    #[param(minimum = 0, maximum = 10_000)]
    pub limit: Option<i64>,
    /// The order of the list: `asc` or `desc`.
    #[param(inline)]
    pub order: Option<Direction>,
    /// The old name of `order=asc`.
    pub ascending: Option<bool>,
}

/// The order of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Oldest first.
    Asc,
    /// Newest first.
    Desc,
}

impl From<Direction> for Order {
    fn from(direction: Direction) -> Self {
        match direction {
            Direction::Asc => Self::Asc,
            Direction::Desc => Self::Desc,
        }
    }
}

impl PageQuery {
    /// The page, with a route's defaults for what was left out.
    ///
    /// # Errors
    /// The limit is out of its bounds.
    pub fn page(self, limit: i64, order: Order) -> Result<Page, ApiError> {
        let limit = self.limit.unwrap_or(limit);
        if !(0..=MAX_LIMIT).contains(&limit) {
            let msg = format!("Input should be between 0 and {MAX_LIMIT}");
            return Err(ApiError::invalid(&[Issue::query(
                "limit",
                msg,
                json!(limit),
            )]));
        }
        let old_name = self
            .ascending
            .filter(|ascending| *ascending)
            .map(|_| Order::Asc);
        Ok(Page {
            after: self.after,
            before: self.before,
            limit,
            order: self.order.map(Order::from).or(old_name).unwrap_or(order),
        })
    }
}

impl FromRequestParts<AppState> for PageQuery {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &AppState) -> Result<Self, ApiError> {
        parse_query(parts.uri.query().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(query: &str) -> Result<Page, ApiError> {
        parse_query::<PageQuery>(query)
            .unwrap()
            .page(50, Order::Desc)
    }

    #[test]
    fn what_is_left_out_is_the_routes_default() {
        assert_eq!(page("").unwrap(), Page::first(50, Order::Desc));
        assert_eq!(
            page("order=asc&limit=0").unwrap(),
            Page::first(0, Order::Asc)
        );
        assert_eq!(page("ascending=true").unwrap().order, Order::Asc);
        assert_eq!(page("ascending=false").unwrap().order, Order::Desc);
    }

    #[test]
    fn limits_have_bounds() {
        for limit in [-1, 10_001] {
            let error = page(&format!("limit={limit}")).unwrap_err();
            assert_eq!(error.status().as_u16(), 422, "{limit}");
        }
    }

    #[test]
    fn an_order_is_asc_or_desc() {
        assert!(parse_query::<PageQuery>("order=up").is_err());
    }
}

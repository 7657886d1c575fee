//! What is kept of embeddings.

use axum::extract::State;
use http::HeaderMap;
use mnemic_store::vectors;

use crate::{
    AppState,
    actor::Actor,
    described::{Routes, routes},
    error::ApiError,
    extract::Json,
};

/// The header that names the unit.
const UNIT_HEADER: &str = "storage-unit";

/// Units, each 1,024 of the one before.
const UNITS: [&str; 5] = ["B", "KB", "MB", "GB", "TB"];

/// The routes of this file.
pub fn routes() -> Routes {
    routes!(total_storage_size)
}

/// How much the vectors of all messages and passages take, in the unit that the header `storage-unit` names: `B`, `KB`,
/// `MB`, `GB` (of 1,024 MB each; unless another one is named) or `TB`.
#[utoipa::path(get, path = "/v1/embeddings/total_storage_size", tag = "embeddings",
    operation_id = "get_total_storage_size",
    params(("storage-unit" = Option<String>, Header)),
    responses((status = 200, body = f64, content_type = "application/json")))]
async fn total_storage_size(
    State(state): State<AppState>,
    Actor(scope): Actor,
    headers: HeaderMap,
) -> Result<Json<f64>, ApiError> {
    let unit = headers
        .get(UNIT_HEADER)
        .map_or("GB".as_bytes(), |unit| unit.as_bytes());
    let Some(bytes_per_unit) = bytes_of(unit) else {
        return Err(ApiError::bad_request(format!(
            "{UNIT_HEADER}: '{}' is no unit: name one of {}",
            String::from_utf8_lossy(unit)
                .chars()
                .take(100)
                .collect::<String>(),
            UNITS.join(", ")
        )));
    };
    let bytes = state.engine.store().read(move |tx| {
        Box::pin(async move {
            let bytes = vectors::stored_bytes(tx, &scope).await;
            bytes.map_err(ApiError::from)
        })
    });
    // Nobody has so many that a float would not tell them.
    #[allow(clippy::cast_precision_loss)]
    let bytes = bytes.await? as f64;
    Ok(Json(bytes / bytes_per_unit))
}

/// Bytes of a unit.
fn bytes_of(unit: &[u8]) -> Option<f64> {
    let place = |known: &&str| known.as_bytes().eq_ignore_ascii_case(unit);
    let place = UNITS.iter().position(place)?;
    i32::try_from(place).ok().map(|place| 1_024_f64.powi(place))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_known_in_any_case_and_others_are_not() {
        let table = [
            ("B", Some(1.0)),
            ("kb", Some(1_024.0)),
            ("MB", Some(1_048_576.0)),
            ("GB", Some(1_073_741_824.0)),
            ("", None),
            ("GiB", None),
        ];
        for (unit, wanted) in table {
            assert_eq!(bytes_of(unit.as_bytes()), wanted, "{unit}");
        }
    }
}

//! Fields of a PATCH: left out, null and given are three things.

use serde::{Deserialize, Deserializer};

/// Tells a field that is null, `Some(None)`, from one that is left out, `None`. To be used with
/// `#[serde(default, deserialize_with = "given")]`.
///
/// # Errors
/// The value is of another type.
pub fn given<'de, D, T>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::deserialize(deserializer).map(Some)
}

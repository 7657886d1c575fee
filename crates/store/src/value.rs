//! Values on their way into and out of the two databases.

use std::{borrow::Cow, str::FromStr};

use bytes::BytesMut;
use mnemic_core::time::Timestamp;
use serde::de::DeserializeOwned;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};

use crate::StoreError;

/// A bound parameter of a statement.
#[derive(Debug, Clone)]
pub enum Param<'a> {
    /// SQL's NULL, of any type.
    Null,
    /// BIGINT; booleans are 0 and 1.
    Int(i64),
    /// DOUBLE PRECISION.
    Real(f64),
    /// TEXT.
    Text(Cow<'a, str>),
    /// BLOB or BYTEA.
    Bytes(Cow<'a, [u8]>),
    /// A list of texts for [`crate::Tx::any_of`].
    List(Vec<String>),
}

impl Param<'_> {
    /// A list of whole numbers for [`crate::Tx::any_number`].
    #[must_use]
    pub fn numbers(numbers: &[i64]) -> Self {
        Self::List(numbers.iter().map(ToString::to_string).collect())
    }
}

impl From<i64> for Param<'_> {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<bool> for Param<'_> {
    fn from(value: bool) -> Self {
        Self::Int(i64::from(value))
    }
}

impl From<f64> for Param<'_> {
    fn from(value: f64) -> Self {
        Self::Real(value)
    }
}

impl From<Timestamp> for Param<'_> {
    fn from(value: Timestamp) -> Self {
        Self::Int(value.0)
    }
}

impl<'a> From<&'a str> for Param<'a> {
    fn from(value: &'a str) -> Self {
        Self::Text(escape_nul(Cow::Borrowed(value)))
    }
}

impl<'a> From<&'a String> for Param<'a> {
    fn from(value: &'a String) -> Self {
        Self::from(value.as_str())
    }
}

impl From<String> for Param<'_> {
    fn from(value: String) -> Self {
        Self::Text(escape_nul(Cow::Owned(value)))
    }
}

impl<'a> From<&'a [u8]> for Param<'a> {
    fn from(value: &'a [u8]) -> Self {
        Self::Bytes(Cow::Borrowed(value))
    }
}

impl From<Vec<String>> for Param<'_> {
    fn from(value: Vec<String>) -> Self {
        let escaped = value.into_iter();
        Self::List(
            escaped
                .map(|text| escape_nul(Cow::Owned(text)).into_owned())
                .collect(),
        )
    }
}

impl<'a> From<&'a serde_json::Value> for Param<'a> {
    fn from(value: &'a serde_json::Value) -> Self {
        Self::from(value.to_string())
    }
}

impl From<Value> for Param<'_> {
    fn from(value: Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Int(number) => Self::Int(number),
            Value::Real(number) => Self::Real(number),
            Value::Text(text) => Self::from(text),
            Value::Bytes(bytes) => Self::Bytes(Cow::Owned(bytes)),
        }
    }
}

impl<'a, T: Into<Param<'a>>> From<Option<T>> for Param<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

macro_rules! id_params {
    ($($id:ident),*) => {$(
        impl From<mnemic_core::ids::$id> for Param<'_> {
            fn from(id: mnemic_core::ids::$id) -> Self {
                Self::Text(Cow::Owned(id.to_string()))
            }
        }
        impl From<&mnemic_core::ids::$id> for Param<'_> {
            fn from(id: &mnemic_core::ids::$id) -> Self {
                Self::Text(Cow::Owned(id.to_string()))
            }
        }
    )*};
}

id_params!(
    AgentId,
    MessageId,
    RunId,
    StepId,
    JobId,
    BlockId,
    ToolId,
    FolderId,
    FileId,
    PassageId,
    ArchiveId,
    IdentityId,
    GroupId,
    ConversationId,
    ProviderId,
    McpServerId,
    UserId,
    OrganizationId,
    AgentSecretId,
    SandboxConfigId,
    SandboxVariableId,
    ApiKeyId
);

/// Builds a list of [`Param`]s from anything that converts into one.
#[macro_export]
macro_rules! params {
    ($($value:expr),* $(,)?) => { &[$($crate::Param::from($value)),*][..] };
}

/// Marks an escaped character. A private-use code point, so that ordinary text is never touched.
const ESCAPE: char = '\u{F8FE}';

/// Whether a text has a character that is stored in another way. Nearly none has, and all texts are asked.
fn is_escaped(text: &str) -> bool {
    let mut first = [0; 4];
    let escape = ESCAPE.encode_utf8(&mut first).as_bytes();
    let begins = escape.first().copied().unwrap_or_default();
    let bytes = text.as_bytes();
    memchr::memchr2_iter(0, begins, bytes).any(|at| {
        let rest = bytes.get(at..).unwrap_or_default();
        rest.starts_with(&[0]) || rest.starts_with(escape)
    })
}

/// Models emit U+0000, which PostgreSQL refuses in TEXT. It is kept, losslessly and the same way on
/// both engines, as an escape pair; the escape character itself is doubled.
fn escape_nul(text: Cow<'_, str>) -> Cow<'_, str> {
    if !is_escaped(&text) {
        return text;
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match character {
            '\0' => {
                escaped.push(ESCAPE);
                escaped.push('0');
            }
            ESCAPE => {
                escaped.push(ESCAPE);
                escaped.push(ESCAPE);
            }
            other => escaped.push(other),
        }
    }
    Cow::Owned(escaped)
}

/// The inverse of [`escape_nul`].
fn unescape_nul(text: String) -> String {
    if !text.contains(ESCAPE) {
        return text;
    }
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character != ESCAPE {
            plain.push(character);
            continue;
        }
        match characters.next() {
            Some('0') => plain.push('\0'),
            Some(other) => plain.push(other),
            None => plain.push(ESCAPE),
        }
    }
    plain
}

impl rusqlite::ToSql for Param<'_> {
    fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
        use rusqlite::types::{ToSqlOutput, Value as Owned, ValueRef};
        Ok(match self {
            Self::Null => ToSqlOutput::Owned(Owned::Null),
            Self::Int(value) => ToSqlOutput::Owned(Owned::Integer(*value)),
            Self::Real(value) => ToSqlOutput::Owned(Owned::Real(*value)),
            Self::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
            Self::Bytes(bytes) => ToSqlOutput::Borrowed(ValueRef::Blob(bytes)),
            Self::List(items) => ToSqlOutput::Owned(Owned::Text(
                serde_json::to_string(items)
                    .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?,
            )),
        })
    }
}

impl ToSql for Param<'_> {
    fn to_sql(
        &self,
        kind: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match (self, kind) {
            (Self::Null, _) => Ok(IsNull::Yes),
            (Self::Int(value), &Type::FLOAT8) => (*value as f64).to_sql(kind, out),
            (Self::Int(value), &Type::INT4) => i32::try_from(*value)?.to_sql(kind, out),
            (Self::Int(value), _) => value.to_sql(&Type::INT8, out),
            (Self::Real(value), _) => value.to_sql(&Type::FLOAT8, out),
            (Self::Text(text), _) => text.as_ref().to_sql(&Type::TEXT, out),
            (Self::Bytes(bytes), _) => bytes.as_ref().to_sql(&Type::BYTEA, out),
            (Self::List(items), _) => items.to_sql(&Type::TEXT_ARRAY, out),
        }
    }

    fn accepts(kind: &Type) -> bool {
        matches!(
            *kind,
            Type::INT8
                | Type::INT4
                | Type::FLOAT8
                | Type::TEXT
                | Type::VARCHAR
                | Type::BYTEA
                | Type::TEXT_ARRAY
                | Type::UNKNOWN
        )
    }

    to_sql_checked!();
}

/// A value of a result row.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// NULL.
    Null,
    /// BIGINT.
    Int(i64),
    /// DOUBLE PRECISION.
    Real(f64),
    /// TEXT.
    Text(String),
    /// BLOB or BYTEA.
    Bytes(Vec<u8>),
}

impl Value {
    pub(crate) fn from_sqlite(value: rusqlite::types::ValueRef<'_>) -> Result<Self, StoreError> {
        use rusqlite::types::ValueRef;
        Ok(match value {
            ValueRef::Null => Self::Null,
            ValueRef::Integer(value) => Self::Int(value),
            ValueRef::Real(value) => Self::Real(value),
            ValueRef::Text(bytes) => {
                let text = std::str::from_utf8(bytes)
                    .map_err(|error| StoreError::Corrupt(error.to_string()))?;
                Self::Text(unescape_nul(text.to_owned()))
            }
            ValueRef::Blob(bytes) => Self::Bytes(bytes.to_vec()),
        })
    }

    pub(crate) fn from_postgres(
        row: &tokio_postgres::Row,
        index: usize,
    ) -> Result<Self, StoreError> {
        let kind = row
            .columns()
            .get(index)
            .map_or(&Type::UNKNOWN, |column| column.type_());
        let null = Self::Null;
        Ok(match *kind {
            Type::INT8 => row
                .try_get::<_, Option<i64>>(index)?
                .map_or(null, Self::Int),
            Type::INT4 => row
                .try_get::<_, Option<i32>>(index)?
                .map_or(null, |value| Self::Int(i64::from(value))),
            Type::BOOL => row
                .try_get::<_, Option<bool>>(index)?
                .map_or(null, |value| Self::Int(i64::from(value))),
            Type::FLOAT8 => row
                .try_get::<_, Option<f64>>(index)?
                .map_or(null, Self::Real),
            Type::BYTEA => row
                .try_get::<_, Option<Vec<u8>>>(index)?
                .map_or(null, Self::Bytes),
            _ => row
                .try_get::<_, Option<String>>(index)?
                .map_or(null, |text| Self::Text(unescape_nul(text))),
        })
    }
}

/// A result row, read column by column in the order of its SELECT list.
#[derive(Debug)]
pub struct Row {
    values: std::vec::IntoIter<Value>,
    column: usize,
}

impl Row {
    pub(crate) fn new(values: Vec<Value>) -> Self {
        Self {
            values: values.into_iter(),
            column: 0,
        }
    }

    /// The next column's value.
    ///
    /// # Errors
    /// The row has no further column.
    pub fn value(&mut self) -> Result<Value, StoreError> {
        self.column += 1;
        self.values
            .next()
            .ok_or_else(|| StoreError::Corrupt(format!("row has no column {}", self.column)))
    }

    fn wrong(&self, wanted: &str, found: &Value) -> StoreError {
        StoreError::Corrupt(format!("column {} is no {wanted}: {found:?}", self.column))
    }

    /// The next column as an integer.
    ///
    /// # Errors
    /// It is something else.
    pub fn int(&mut self) -> Result<i64, StoreError> {
        match self.value()? {
            Value::Int(value) => Ok(value),
            other => Err(self.wrong("integer", &other)),
        }
    }

    /// The next column as an integer or NULL.
    ///
    /// # Errors
    /// It is something else.
    pub fn opt_int(&mut self) -> Result<Option<i64>, StoreError> {
        match self.value()? {
            Value::Null => Ok(None),
            Value::Int(value) => Ok(Some(value)),
            other => Err(self.wrong("integer", &other)),
        }
    }

    /// The next column as a boolean.
    ///
    /// # Errors
    /// It is no integer.
    pub fn bool(&mut self) -> Result<bool, StoreError> {
        Ok(self.int()? != 0)
    }

    /// The next column as a boolean or NULL.
    ///
    /// # Errors
    /// It is something else.
    pub fn opt_bool(&mut self) -> Result<Option<bool>, StoreError> {
        Ok(self.opt_int()?.map(|value| value != 0))
    }

    /// The next column as a number.
    ///
    /// # Errors
    /// It is no number.
    pub fn real(&mut self) -> Result<f64, StoreError> {
        match self.value()? {
            Value::Real(value) => Ok(value),
            Value::Int(value) => Ok(value as f64),
            other => Err(self.wrong("number", &other)),
        }
    }

    /// The next column as text.
    ///
    /// # Errors
    /// It is something else.
    pub fn text(&mut self) -> Result<String, StoreError> {
        match self.value()? {
            Value::Text(value) => Ok(value),
            other => Err(self.wrong("text", &other)),
        }
    }

    /// The next column as text or NULL.
    ///
    /// # Errors
    /// It is something else.
    pub fn opt_text(&mut self) -> Result<Option<String>, StoreError> {
        match self.value()? {
            Value::Null => Ok(None),
            Value::Text(value) => Ok(Some(value)),
            other => Err(self.wrong("text", &other)),
        }
    }

    /// The next column as bytes or NULL.
    ///
    /// # Errors
    /// It is something else.
    pub fn opt_bytes(&mut self) -> Result<Option<Vec<u8>>, StoreError> {
        match self.value()? {
            Value::Null => Ok(None),
            Value::Bytes(value) => Ok(Some(value)),
            other => Err(self.wrong("bytes", &other)),
        }
    }

    /// The next column as a time.
    ///
    /// # Errors
    /// It is no integer.
    pub fn time(&mut self) -> Result<Timestamp, StoreError> {
        self.int().map(Timestamp)
    }

    /// The next column as a time or NULL.
    ///
    /// # Errors
    /// It is something else.
    pub fn opt_time(&mut self) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.opt_int()?.map(Timestamp))
    }

    /// The next column parsed from its text, such as an id.
    ///
    /// # Errors
    /// It is no text, or does not parse.
    pub fn parse<T: FromStr<Err: std::fmt::Display>>(&mut self) -> Result<T, StoreError> {
        self.text()?
            .parse()
            .map_err(|error: T::Err| StoreError::Corrupt(error.to_string()))
    }

    /// The next column parsed from its text, or NULL.
    ///
    /// # Errors
    /// It is no text, or does not parse.
    pub fn opt_parse<T: FromStr<Err: std::fmt::Display>>(
        &mut self,
    ) -> Result<Option<T>, StoreError> {
        self.opt_text()?
            .map(|text| {
                text.parse()
                    .map_err(|error: T::Err| StoreError::Corrupt(error.to_string()))
            })
            .transpose()
    }

    /// The next column as one of a fixed set of names.
    ///
    /// # Errors
    /// It is no text, or not one of the names.
    pub fn named<T>(&mut self, parse: fn(&str) -> Option<T>) -> Result<T, StoreError> {
        let text = self.text()?;
        parse(&text).ok_or_else(|| self.wrong("known name", &Value::Text(text)))
    }

    /// The next column as JSON.
    ///
    /// # Errors
    /// It is no text, or no JSON of that shape.
    pub fn json<T: DeserializeOwned>(&mut self) -> Result<T, StoreError> {
        Ok(serde_json::from_str(&self.text()?)?)
    }

    /// The next column as JSON, or NULL.
    ///
    /// # Errors
    /// It is something else.
    pub fn opt_json<T: DeserializeOwned>(&mut self) -> Result<Option<T>, StoreError> {
        Ok(self
            .opt_text()?
            .map(|text| serde_json::from_str(&text))
            .transpose()?)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_text_survives_the_escape_of_nul(text in "[\\x00a\u{F8FE}0\u{10000}]{0,20}") {
            let escaped = escape_nul(Cow::Borrowed(&text)).into_owned();
            prop_assert!(!escaped.contains('\0'));
            prop_assert_eq!(unescape_nul(escaped), text);
        }
    }
}

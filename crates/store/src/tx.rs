//! A transaction on either engine: the one place through which every statement goes.

use parking_lot::Mutex;

use crate::{Param, Row, StoreError, Value};

/// Rows that one INSERT takes at the most; with more, little is won and prepared statements get large.
const MAX_ROWS_PER_INSERT: usize = 64;

/// An open transaction (or, for reads on PostgreSQL, a connection).
///
/// On SQLite the methods return without ever waiting: the code of a job runs from start to end on
/// the thread that owns the connection. Copies of one transaction may be used side by side, as in
/// `try_join!`, by statements that do not depend on each other: PostgreSQL then gets them all at once
/// and not one for each answer.
#[derive(Clone, Copy)]
pub struct Tx<'c> {
    backend: Backend<'c>,
}

#[derive(Clone, Copy)]
enum Backend<'c> {
    Sqlite(&'c Mutex<&'c mut rusqlite::Connection>),
    Postgres(&'c deadpool_postgres::Client),
}

/// Which SQL dialect a transaction speaks, for the few places where they differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// SQLite.
    Sqlite,
    /// PostgreSQL.
    Postgres,
}

impl<'c> Tx<'c> {
    pub(crate) fn sqlite(connection: &'c Mutex<&'c mut rusqlite::Connection>) -> Self {
        Self {
            backend: Backend::Sqlite(connection),
        }
    }

    pub(crate) fn postgres(client: &'c deadpool_postgres::Client) -> Self {
        Self {
            backend: Backend::Postgres(client),
        }
    }

    /// The dialect of this transaction's engine.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        match self.backend {
            Backend::Sqlite(_) => Dialect::Sqlite,
            Backend::Postgres(_) => Dialect::Postgres,
        }
    }

    /// A condition that holds where `column` is one of the texts of the list bound as `$n`.
    #[must_use]
    pub fn any_of(&self, column: &str, n: usize) -> String {
        match self.dialect() {
            Dialect::Sqlite => format!("{column} IN (SELECT value FROM json_each(${n}))"),
            Dialect::Postgres => format!("{column} = ANY(${n})"),
        }
    }

    /// A condition that holds where `column`, a whole number, is one of the numbers of the list bound
    /// as `$n` (see [`Param::numbers`]).
    #[must_use]
    pub fn any_number(&self, column: &str, n: usize) -> String {
        match self.dialect() {
            Dialect::Sqlite => {
                format!("{column} IN (SELECT CAST(value AS INTEGER) FROM json_each(${n}))")
            }
            Dialect::Postgres => format!("{column} = ANY(CAST(${n} AS TEXT[])::BIGINT[])"),
        }
    }

    /// A condition that holds where `column`, a JSON list of texts, has one of the texts of the list
    /// bound as `$n`.
    #[must_use]
    pub fn has_any(&self, column: &str, n: usize) -> String {
        let elements = match self.dialect() {
            Dialect::Sqlite => format!("json_each({column}) AS element"),
            Dialect::Postgres => {
                format!("json_array_elements_text(CAST({column} AS JSON)) AS element(value)")
            }
        };
        let is_one = self.any_of("element.value", n);
        format!("EXISTS (SELECT 1 FROM {elements} WHERE {is_one})")
    }

    /// A column in a condition or order for which no index is to be used: SQLite, which knows nothing
    /// of how values are spread, would take the index of an organization, which is all rows.
    #[must_use]
    pub fn unindexed(&self, column: &str) -> String {
        match self.dialect() {
            Dialect::Sqlite => format!("+{column}"),
            Dialect::Postgres => column.to_owned(),
        }
    }

    /// What stands behind a table of which SQLite is to use that index and no other: knowing nothing of how values are
    /// spread, it may take a long index for a short one. PostgreSQL has statistics.
    #[must_use]
    pub fn by_index(&self, index: &str) -> String {
        match self.dialect() {
            Dialect::Sqlite => format!(" INDEXED BY {index}"),
            Dialect::Postgres => String::new(),
        }
    }

    /// What a SELECT ends with to lock its rows until the commit; SQLite's single writer needs nothing.
    #[must_use]
    pub fn for_update(&self) -> &'static str {
        match self.dialect() {
            Dialect::Sqlite => "",
            Dialect::Postgres => " FOR UPDATE",
        }
    }

    /// A condition that holds where `column` contains the text bound as `$n`, in any case of ASCII
    /// letters. The text is taken literally.
    #[must_use]
    pub fn contains(&self, column: &str, n: usize) -> String {
        match self.dialect() {
            Dialect::Sqlite => format!("instr(lower({column}), lower(${n})) > 0"),
            Dialect::Postgres => format!("strpos(lower({column}), lower(${n} COLLATE \"C\")) > 0"),
        }
    }

    /// Runs a statement that returns rows.
    ///
    /// # Errors
    /// The engine refused the statement or cannot be reached.
    pub async fn query(&mut self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, StoreError> {
        match &mut self.backend {
            Backend::Sqlite(connection) => query_sqlite(&connection.lock(), sql, params),
            Backend::Postgres(client) => {
                let statement = client.prepare_cached(sql).await?;
                let bound: Vec<&(dyn tokio_postgres::types::ToSql + Sync)> =
                    params.iter().map(|param| param as _).collect();
                let rows = client.query(&statement, &bound).await?;
                rows.iter().map(read_postgres).collect()
            }
        }
    }

    /// Runs a statement of which at most one row is wanted.
    ///
    /// # Errors
    /// As for [`Tx::query`].
    pub async fn query_opt(
        &mut self,
        sql: &str,
        params: &[Param<'_>],
    ) -> Result<Option<Row>, StoreError> {
        Ok(self.query(sql, params).await?.into_iter().next())
    }

    /// Runs a statement that returns exactly one row, such as a count.
    ///
    /// # Errors
    /// As for [`Tx::query`]; besides, there was no row.
    pub async fn query_one(&mut self, sql: &str, params: &[Param<'_>]) -> Result<Row, StoreError> {
        self.query_opt(sql, params)
            .await?
            .ok_or_else(|| StoreError::Corrupt("a statement returned no row".to_owned()))
    }

    /// Runs a statement that changes rows; returns how many.
    ///
    /// # Errors
    /// As for [`Tx::query`].
    pub async fn execute(&mut self, sql: &str, params: &[Param<'_>]) -> Result<u64, StoreError> {
        match &mut self.backend {
            Backend::Sqlite(connection) => {
                Ok(prepare(&connection.lock(), sql, params)?.raw_execute()? as u64)
            }
            Backend::Postgres(client) => {
                let statement = client.prepare_cached(sql).await?;
                let bound: Vec<&(dyn tokio_postgres::types::ToSql + Sync)> =
                    params.iter().map(|param| param as _).collect();
                Ok(client.execute(&statement, &bound).await?)
            }
        }
    }

    /// Inserts several rows, many with one statement.
    ///
    /// # Errors
    /// As for [`Tx::query`].
    pub async fn insert_rows(
        &mut self,
        table: &str,
        columns: &[&str],
        rows: Vec<Vec<Param<'_>>>,
    ) -> Result<(), StoreError> {
        // Powers of two: the statements of few lengths stay prepared, whatever the number of rows.
        let mut rows = rows.into_iter();
        loop {
            let left = rows.len().min(MAX_ROWS_PER_INSERT);
            let Some(power) = left.checked_ilog2() else {
                return Ok(());
            };
            let count = 1 << power;
            let sql = insert_sql(table, columns, count);
            let bound: Vec<Param<'_>> = rows.by_ref().take(count).flatten().collect();
            self.execute(&sql, &bound).await?;
        }
    }
}

/// `INSERT INTO table (a, b) VALUES ($1, $2), ($3, $4)`.
fn insert_sql(table: &str, columns: &[&str], rows: usize) -> String {
    let names = columns.join(", ");
    let numbers = rows * columns.len();
    let mut sql = String::with_capacity(64 + table.len() + names.len() + 8 * numbers);
    for part in ["INSERT INTO ", table, " (", &names, ") VALUES "] {
        sql.push_str(part);
    }
    let (mut n, mut number) = (0, itoa::Buffer::new());
    for row in 0..rows {
        sql.push_str(if row == 0 { "(" } else { ", (" });
        for column in 0..columns.len() {
            n += 1;
            sql.push_str(if column == 0 { "$" } else { ", $" });
            sql.push_str(number.format(n));
        }
        sql.push(')');
    }
    sql
}

/// Whether the parameters first stand in the order of their numbers, so that SQLite's numbering is ours.
fn is_in_order(sql: &str) -> bool {
    let mut highest = 0;
    memchr::memchr_iter(b'$', sql.as_bytes()).all(|at| {
        let after = sql.as_bytes().get(at + 1..).unwrap_or_default();
        let digits = after.iter().take_while(|byte| byte.is_ascii_digit());
        let number = digits.fold(0_usize, |number, digit| {
            number.saturating_mul(10) + usize::from(digit - b'0')
        });
        let is_next = number <= highest + 1;
        highest = highest.max(number);
        is_next
    })
}

/// The statement in SQLite's numbering: to SQLite `$1` is a name, numbered by where it first stands
/// in the text, while `?1` is the first parameter wherever it stands.
fn numbered(sql: &str) -> String {
    let mut text = String::with_capacity(sql.len());
    let mut rest = sql;
    while let Some((before, after)) = rest.split_once('$') {
        text.push_str(before);
        let is_number = after.starts_with(|next: char| next.is_ascii_digit());
        text.push(if is_number { '?' } else { '$' });
        rest = after;
    }
    text.push_str(rest);
    text
}

fn prepare<'c>(
    connection: &'c rusqlite::Connection,
    sql: &str,
    params: &[Param<'_>],
) -> Result<rusqlite::CachedStatement<'c>, StoreError> {
    let mut statement = if is_in_order(sql) {
        connection.prepare_cached(sql)?
    } else {
        connection.prepare_cached(&numbered(sql))?
    };
    let wanted = statement.parameter_count();
    if wanted != params.len() {
        let given = params.len();
        return Err(StoreError::Database(format!(
            "a statement has {wanted} parameters and got {given}: {sql}"
        )));
    }
    for (index, param) in params.iter().enumerate() {
        statement.raw_bind_parameter(index + 1, param)?;
    }
    Ok(statement)
}

fn query_sqlite(
    connection: &rusqlite::Connection,
    sql: &str,
    params: &[Param<'_>],
) -> Result<Vec<Row>, StoreError> {
    let mut statement = prepare(connection, sql, params)?;
    let columns = statement.column_count();
    let mut found = statement.raw_query();
    let mut rows = Vec::new();
    while let Some(row) = found.next()? {
        let mut values = Vec::with_capacity(columns);
        for index in 0..columns {
            values.push(Value::from_sqlite(row.get_ref(index)?)?);
        }
        rows.push(Row::new(values));
    }
    Ok(rows)
}

fn read_postgres(row: &tokio_postgres::Row) -> Result<Row, StoreError> {
    let values: Result<Vec<Value>, StoreError> = (0..row.len())
        .map(|index| Value::from_postgres(row, index))
        .collect();
    values.map(Row::new)
}

#[cfg(test)]
mod tests {
    use super::{is_in_order, numbered};

    #[test]
    fn parameters_are_bound_by_their_numbers_wherever_they_stand() {
        let connection = rusqlite::Connection::open_in_memory().unwrap();
        let ask = |sql: &str, given: usize| {
            let text = if is_in_order(sql) {
                sql.to_owned()
            } else {
                numbered(sql)
            };
            let mut statement = connection.prepare(&text).unwrap();
            let numbers = rusqlite::params_from_iter(1..=given);
            let told = statement.query_row(numbers, |row| row.get::<_, String>(0));
            told.unwrap()
        };
        for (sql, given, told) in [
            ("SELECT $1 || $2 || $1 || $3", 3, "1213"),
            ("SELECT $2 || $1", 2, "21"),
            ("SELECT $1 || $3 || $2", 3, "132"),
            ("SELECT '$.a' || $1", 1, "$.a1"),
            ("SELECT $2 || '$.a' || $1", 2, "2$.a1"),
            (
                "SELECT $1||$2||$3||$4||$5||$6||$7||$8||$9||$10||$11",
                11,
                "1234567891011",
            ),
        ] {
            assert_eq!(ask(sql, given), told, "{sql}");
        }
        assert!(is_in_order("SELECT $1, $2, $1") && !is_in_order("SELECT $2, $1"));
    }
}

//! Pages of lists: cursors that are relative to the order in which a list is read.

use crate::{Param, StoreError, Tx};

/// The order of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// Oldest first.
    Asc,
    /// Newest first.
    #[default]
    Desc,
}

impl Order {
    /// SQL's word for it.
    #[must_use]
    pub const fn sql(self) -> &'static str {
        match self {
            Self::Asc => "ASC",
            Self::Desc => "DESC",
        }
    }

    /// The comparison that holds for rows further along in this order.
    #[must_use]
    pub const fn further(self) -> &'static str {
        match self {
            Self::Asc => ">",
            Self::Desc => "<",
        }
    }

    /// The other order.
    #[must_use]
    pub const fn reversed(self) -> Self {
        match self {
            Self::Asc => Self::Desc,
            Self::Desc => Self::Asc,
        }
    }
}

/// Which part of a list is wanted. `after` means further along in `order`, `before` the part that
/// leads up to the cursor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The id after which the page begins.
    pub after: Option<String>,
    /// The id before which the page ends.
    pub before: Option<String>,
    /// How many rows at the most.
    pub limit: i64,
    /// The order of the list and of the page.
    pub order: Order,
}

impl Page {
    /// The whole list, up to a number of rows.
    #[must_use]
    pub const fn first(limit: i64, order: Order) -> Self {
        Self {
            after: None,
            before: None,
            limit,
            order,
        }
    }
}

/// What to do about a cursor that names no row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownCursor {
    /// Read the list as if it had not been given.
    Ignore,
    /// Say that it was not found, as this noun.
    Refuse(&'static str),
}

/// A SELECT that grows condition by condition, with its parameters.
#[derive(Debug)]
pub struct Select<'a> {
    select: String,
    conditions: Vec<String>,
    params: Vec<Param<'a>>,
}

impl<'a> Select<'a> {
    /// Begins with `SELECT ... FROM ...`.
    pub fn new(select: impl Into<String>) -> Self {
        Self {
            select: select.into(),
            conditions: Vec::new(),
            params: Vec::new(),
        }
    }

    /// Binds a parameter; returns its number.
    pub fn bind(&mut self, param: impl Into<Param<'a>>) -> usize {
        self.params.push(param.into());
        self.params.len()
    }

    /// Adds a condition as it stands.
    pub fn and(&mut self, condition: impl Into<String>) -> &mut Self {
        self.conditions.push(condition.into());
        self
    }

    /// Adds `condition`, in which `{}` stands for the number of the bound parameter.
    pub fn and_bind(&mut self, condition: &str, param: impl Into<Param<'a>>) -> &mut Self {
        let n = self.bind(param);
        self.and(condition.replace("{}", &format!("${n}")))
    }

    /// The WHERE clause.
    fn wheres(&self) -> String {
        if self.conditions.is_empty() {
            String::new()
        } else {
            format!(" WHERE {}", self.conditions.join(" AND "))
        }
    }

    /// Runs it and returns all rows, with `tail` (ORDER BY, LIMIT) at its end.
    ///
    /// # Errors
    /// As for [`Tx::query`].
    pub async fn all(self, tx: &mut Tx<'_>, tail: &str) -> Result<Vec<crate::Row>, StoreError> {
        let sql = format!("{}{} {tail}", self.select, self.wheres());
        tx.query(&sql, &self.params).await
    }

    /// Runs it as a page over the pair of `key` (an expression) and `id`, which must be unique.
    /// `cursors` selects the two for a cursor's id bound as `$1`: `SELECT key, id FROM t WHERE id = $1`.
    ///
    /// # Errors
    /// As for [`Tx::query`]; besides, an unknown cursor where that is refused.
    pub async fn page(
        mut self,
        tx: &mut Tx<'_>,
        keys: Keys<'_>,
        page: &Page,
        unknown: UnknownCursor,
    ) -> Result<Vec<crate::Row>, StoreError> {
        let (key, id) = (keys.key, keys.id);
        // A page that only leads up to a cursor is read backwards from there and turned round.
        let backwards = page.before.is_some() && page.after.is_none();
        let edges = [
            (page.after.as_ref(), page.order),
            (page.before.as_ref(), page.order.reversed()),
        ];
        for (cursor, order) in edges {
            let Some(cursor) = cursor else { continue };
            let Some(mut row) = tx.query_opt(keys.cursor, &[Param::from(cursor)]).await? else {
                match unknown {
                    UnknownCursor::Ignore => continue,
                    UnknownCursor::Refuse(noun) => return Err(StoreError::not_found(noun, cursor)),
                }
            };
            let (at, at_id) = (row.int()?, row.value()?);
            let (a, b) = (self.bind(at), self.bind(at_id));
            let further = order.further();
            self.and(format!("({key}, {id}) {further} (${a}, ${b})"));
        }
        let order = if backwards {
            page.order.reversed()
        } else {
            page.order
        };
        let limit = self.bind(page.limit);
        let word = order.sql();
        let tail = format!("ORDER BY {key} {word}, {id} {word} LIMIT ${limit}");
        let mut rows = self.all(tx, &tail).await?;
        if backwards {
            rows.reverse();
        }
        Ok(rows)
    }
}

/// By what a list is sorted.
#[derive(Debug, Clone, Copy)]
pub struct Keys<'k> {
    /// The sort column: an integer, never NULL.
    pub key: &'k str,
    /// The id column, which decides between equal keys: a text or an integer.
    pub id: &'k str,
    /// Selects both for the cursor bound as `$1`.
    pub cursor: &'k str,
}

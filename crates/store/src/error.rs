//! What can go wrong in the store, in the domain's words.

/// An error of the store.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// A row that was named is not there, or belongs to another organization.
    #[error("{noun} with id '{id}' not found")]
    NotFound {
        /// What was looked for, such as `Agent`.
        noun: &'static str,
        /// The id that was asked for.
        id: String,
    },
    /// A unique name, label or link exists already, or a state forbids the change.
    #[error("{0}")]
    Conflict(String),
    /// The value cannot be stored; the text says why and what to do.
    #[error("{0}")]
    Invalid(String),
    /// The run that commits no longer holds its conversation: another took it over.
    #[error("this run no longer holds its conversation; another owner took it over")]
    LeaseLost,
    /// Two transactions got in each other's way; the same request may be sent again.
    #[error("the rows were being changed by another request; send this one again")]
    Contended,
    /// The database cannot be reached or written just now; nothing was changed.
    #[error("the database is not available: {0}")]
    Unavailable(String),
    /// The database answered with an error that is a defect of ours.
    #[error("database error: {0}")]
    Database(String),
    /// A stored value is not what this version expects.
    #[error("stored data cannot be read: {0}")]
    Corrupt(String),
}

impl StoreError {
    /// A [`StoreError::NotFound`].
    pub fn not_found(noun: &'static str, id: impl ToString) -> Self {
        Self::NotFound {
            noun,
            id: id.to_string(),
        }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode as Code;
        let text = error.to_string();
        match error.sqlite_error_code() {
            Some(Code::ConstraintViolation) if text.contains("UNIQUE") => {
                Self::Conflict(unique_message(&text))
            }
            Some(Code::ConstraintViolation) => Self::Conflict(format!(
                "a row that this one refers to does not exist, or is still referred to ({text})"
            )),
            Some(
                Code::DiskFull
                | Code::SystemIoFailure
                | Code::CannotOpen
                | Code::ReadOnly
                | Code::DatabaseBusy
                | Code::DatabaseLocked
                | Code::OutOfMemory,
            ) => Self::Unavailable(text),
            _ => Self::Database(text),
        }
    }
}

/// What a client reads when a unique constraint of SQLite or PostgreSQL refuses a row.
fn unique_message(constraint: &str) -> String {
    format!("a row with the same unique value exists already ({constraint})")
}

/// An error and what caused it: on the way there stands why, such as "Connection refused".
fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| {
        let cause = cause.to_string();
        if text.contains(&cause) {
            text
        } else {
            format!("{text}: {cause}")
        }
    })
}

impl From<tokio_postgres::Error> for StoreError {
    fn from(error: tokio_postgres::Error) -> Self {
        use tokio_postgres::error::SqlState as State;
        let Some(db) = error.as_db_error() else {
            return Self::Unavailable(with_causes(&error));
        };
        let text = db.message().to_owned();
        let code = db.code();
        if *code == State::UNIQUE_VIOLATION {
            Self::Conflict(unique_message(&text))
        } else if *code == State::FOREIGN_KEY_VIOLATION {
            Self::Conflict(format!(
                "a row that this one refers to does not exist, or is still referred to ({text})"
            ))
        } else if *code == State::T_R_DEADLOCK_DETECTED
            || *code == State::T_R_SERIALIZATION_FAILURE
            || *code == State::LOCK_NOT_AVAILABLE
        {
            Self::Contended
        } else if ["08", "53", "57", "58", "XX"]
            .iter()
            .any(|class| code.code().starts_with(class))
            || *code == State::READ_ONLY_SQL_TRANSACTION
        {
            // Classes of PostgreSQL's appendix A: connection, resources, operator intervention,
            // system and internal errors.
            Self::Unavailable(text)
        } else {
            Self::Database(format!("{} ({})", text, code.code()))
        }
    }
}

impl From<deadpool_postgres::PoolError> for StoreError {
    fn from(error: deadpool_postgres::PoolError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<serde_json::Error> for StoreError {
    fn from(error: serde_json::Error) -> Self {
        Self::Corrupt(error.to_string())
    }
}

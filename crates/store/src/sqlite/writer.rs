//! The single writer: whole jobs, each in a savepoint, committed together.
//!
//! A job is a closure that runs from start to end on the writer's thread. Jobs that wait while a
//! commit reaches the disk form the next group, so under load many share one fsync. A job that fails
//! is rolled back alone; a commit that fails fails its whole group, and nothing of it is answered as
//! done.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread,
};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::checkpoint;
use crate::{
    StoreError, commits,
    failpoints::{self, CommitFault},
};

/// Jobs of one commit; bounds how long the first waits for the last.
const MAX_GROUP: usize = 128;

/// Jobs that may wait for the writer; senders beyond that wait in turn.
const QUEUE: usize = 4096;

/// What becomes of a job once its group's commit is decided.
type Answer = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// A job: does its work (or learns that it cannot) and says whether to keep it, and whom to tell.
type Job = Box<dyn FnOnce(Result<&mut Connection, StoreError>) -> (bool, Answer) + Send>;

/// What the writer's thread is asked for.
pub(super) enum Work {
    Job(Job),
    /// To move the rest of the log into the database between two commits, so that the next one can
    /// begin the log anew.
    Checkpoint,
    /// To empty the log's file between two commits.
    EmptyLog(oneshot::Sender<Result<bool, StoreError>>),
}

/// A handle to the writer's thread.
#[derive(Clone)]
pub(crate) struct Writer {
    work: mpsc::Sender<Work>,
    /// Pages in the log after the last commit.
    pages_in_log: Arc<AtomicU32>,
}

impl Writer {
    /// Starts the thread.
    pub(crate) fn start(connection: Connection) -> Result<Self, StoreError> {
        let (work, queue) = mpsc::channel(QUEUE);
        let pages_in_log = Arc::new(AtomicU32::new(0));
        let pages = Arc::clone(&pages_in_log);
        checkpoint::watch(&connection);
        thread::Builder::new()
            .name("sqlite-writer".to_owned())
            .spawn(move || run(connection, queue, &pages))
            .map_err(|error| StoreError::Unavailable(error.to_string()))?;
        Ok(Self { work, pages_in_log })
    }

    /// How long the log is.
    pub(super) fn pages_in_log(&self) -> Arc<AtomicU32> {
        Arc::clone(&self.pages_in_log)
    }

    /// A way to the writer that does not keep it alive.
    pub(super) fn downgrade(&self) -> mpsc::WeakSender<Work> {
        self.work.downgrade()
    }

    /// Hands a job to the writer and waits until it is on the disk. Once handed over, it runs to its
    /// end even if the caller goes away.
    pub(crate) async fn submit<T, E, F>(&self, work: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: FnOnce(&mut Connection) -> Result<T, E> + Send + 'static,
    {
        let (sender, receiver) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            let result = connection.map_err(E::from).and_then(work);
            let keep = result.is_ok();
            let answer: Answer = Box::new(move |commit| {
                let answer = match (result, commit) {
                    (Ok(value), Ok(())) => Ok(value),
                    (Ok(_), Err(error)) => Err(E::from(error)),
                    (Err(error), _) => Err(error),
                };
                // A caller that went away does not want the answer.
                let _ = sender.send(answer);
            });
            (keep, answer)
        });
        self.hand_over(job, receiver).await
    }

    /// Empties the log's file, so that nothing that was written before is in it; says whether readers let it.
    pub(super) async fn empty_log(&self) -> Result<bool, StoreError> {
        let closed = || StoreError::Unavailable("the store is closed".to_owned());
        let (sender, receiver) = oneshot::channel();
        let sent = self.work.send(Work::EmptyLog(sender)).await;
        sent.map_err(|_| closed())?;
        receiver.await.map_err(|_| closed())?
    }

    async fn hand_over<T, E: From<StoreError>>(
        &self,
        job: Job,
        answer: oneshot::Receiver<Result<T, E>>,
    ) -> Result<T, E> {
        let closed = |_| E::from(StoreError::Unavailable("the store is closed".to_owned()));
        let sent = self.work.send(Work::Job(job)).await;
        sent.map_err(closed)?;
        // The writer answers every job that does not panic.
        let died = |_| E::from(StoreError::Database("a write job died".to_owned()));
        answer.await.map_err(died)?
    }

    /// Like [`Self::submit`], but returns what the job made as soon as it ran; whether that is kept
    /// shows on `decided`, when its group's commit is.
    pub(crate) async fn submit_ahead<T, E, F>(
        &self,
        decided: oneshot::Sender<Result<(), StoreError>>,
        work: F,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: FnOnce(&mut Connection) -> Result<T, E> + Send + 'static,
    {
        let (sender, receiver) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            let result = connection.map_err(E::from).and_then(work);
            let keep = result.is_ok();
            // A caller that went away wants neither of the two.
            let _ = sender.send(result);
            let answer: Answer = Box::new(move |commit| _ = decided.send(commit));
            (keep, answer)
        });
        self.hand_over(job, receiver).await
    }
}

fn run(mut connection: Connection, mut queue: mpsc::Receiver<Work>, pages: &AtomicU32) {
    let mut next = queue.blocking_recv();
    while let Some(work) = next {
        next = match work {
            Work::Job(first) => run_group(&mut connection, first, &mut queue),
            Work::Checkpoint => {
                checkpoint::pass(&connection);
                None
            }
            Work::EmptyLog(answer) => {
                // Who asked may have gone away.
                let _ = answer.send(checkpoint::empty(&connection));
                None
            }
        };
        pages.store(checkpoint::pages_in_log(), Ordering::Relaxed);
        if next.is_none() {
            next = queue.blocking_recv();
        }
    }
    if let Err(error) = connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)") {
        tracing::warn!(%error, "the last checkpoint failed; the next start makes up for it");
    }
}

/// Runs the jobs that wait, commits them together and answers them; returns what came between that
/// is no job.
fn run_group(
    connection: &mut Connection,
    first: Job,
    queue: &mut mpsc::Receiver<Work>,
) -> Option<Work> {
    if let Err(error) = execute_cached(connection, "BEGIN IMMEDIATE") {
        let (_, answer) = first(Err(error));
        answer(Ok(()));
        return None;
    }
    let Ok(second) = queue.try_recv() else {
        run_alone(connection, first);
        return None;
    };
    let mut answers = Vec::new();
    let mut waiting = Some(second);
    let mut next = Some(Work::Job(first));
    while let Some(Work::Job(job)) = next {
        answers.push(run_job(connection, job));
        if connection.is_autocommit() {
            let lost = rolled_back();
            answers
                .into_iter()
                .for_each(|answer| answer(Err(lost.clone())));
            return waiting;
        }
        next = match waiting.take() {
            Some(second) => Some(second),
            None if answers.len() < MAX_GROUP => queue.try_recv().ok(),
            None => None,
        };
    }
    let outcome = commit(connection);
    answers
        .into_iter()
        .for_each(|answer| answer(outcome.clone()));
    next
}

/// Runs the only job of a transaction, which needs no savepoint.
fn run_alone(connection: &mut Connection, job: Job) {
    let (keep, answer) = run_caught(job, connection);
    if connection.is_autocommit() {
        return answer(Err(rolled_back()));
    }
    if keep {
        return answer(commit(connection));
    }
    if let Err(error) = execute_cached(connection, "ROLLBACK") {
        tracing::error!(%error, "rolling back a failed job failed");
    }
    answer(Ok(()));
}

/// A full disk or an I/O error made SQLite roll back everything since BEGIN.
fn rolled_back() -> StoreError {
    StoreError::Unavailable("the transaction was rolled back".to_owned())
}

fn run_job(connection: &mut Connection, job: Job) -> Answer {
    if let Err(error) = execute_cached(connection, "SAVEPOINT job") {
        return job(Err(error)).1;
    }
    let (keep, answer) = run_caught(job, connection);
    let undone = if keep {
        Ok(())
    } else {
        execute_cached(connection, "ROLLBACK TO job")
    };
    let ended = undone.and_then(|()| execute_cached(connection, "RELEASE job"));
    match ended {
        Ok(()) => answer,
        Err(error) => Box::new(move |_| answer(Err(error))),
    }
}

/// Runs a job; a panic in it is a failure of that job, not the end of the writer.
fn run_caught(job: Job, connection: &mut Connection) -> (bool, Answer) {
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| job(Ok(connection))));
    caught.unwrap_or_else(|_| {
        tracing::error!("a write job panicked and was rolled back");
        // The caller's channel was dropped by the panic, and so it learns of it.
        (false, Box::new(|_| ()))
    })
}

fn execute_cached(connection: &Connection, sql: &str) -> Result<(), StoreError> {
    connection.prepare_cached(sql)?.execute([])?;
    Ok(())
}

fn commit(connection: &Connection) -> Result<(), StoreError> {
    failpoints::hit("commit.before");
    let committed = match failpoints::commit_fault() {
        Some(CommitFault::Failed(fault) | CommitFault::Unheard(fault)) => {
            Err(StoreError::Unavailable(fault))
        }
        None => execute_cached(connection, "COMMIT"),
    };
    failpoints::hit("commit.after");
    let Err(error) = committed else {
        commits::note();
        return Ok(());
    };
    if !connection.is_autocommit()
        && let Err(rollback) = connection.execute_batch("ROLLBACK")
    {
        tracing::error!(error = %rollback, "rolling back after a failed commit failed");
    }
    tracing::error!(%error, "a commit failed; nothing of it was kept");
    Err(StoreError::Unavailable(error.to_string()))
}

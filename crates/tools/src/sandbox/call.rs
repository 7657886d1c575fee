//! One call from its request to its outcome, as the server sees it: what the tool writes is read with bounds, what its
//! processes use is measured, and when it is over all of them are ended.

use std::{
    collections::BTreeMap,
    io,
    time::{Duration, Instant},
};

use serde::Deserialize;
use serde_json::{Value, value::RawValue};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
    time::timeout,
};

use super::{
    Door, Limits, Outcome, Raised, Reply, SandboxError, Status, Stop,
    door::{self, AskFrame},
    launch::{Process, Running},
};

/// How much more than is kept a tool may write before it is stopped.
const FLOOD: usize = 16;
/// How long the end of a process that was killed may take, and the rest of what it wrote.
const CLOSE: Duration = Duration::from_secs(5);
/// How long a process that answered may take to end by itself.
const GOODBYE: Duration = Duration::from_millis(200);

/// How a process ends that used too much of the processors: SIGXCPU, or SIGKILL when it ignored that.
const PROCESSOR_SIGNALS: [&str; 2] = ["signal 24", "signal 9"];

/// The first frame on the channel.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Answer<'a> {
    #[serde(borrow)]
    Value(&'a RawValue),
    #[serde(borrow)]
    Changed(Changed<'a>),
    Raised(Raised),
    Refused(String),
    Ask(AskFrame),
}

/// What a tool returned that changed its agent's memory.
#[derive(Deserialize)]
struct Changed<'a> {
    #[serde(borrow)]
    value: &'a RawValue,
    memory: BTreeMap<String, String>,
}

/// What became of a call.
struct Read {
    status: Status,
    value: Value,
    memory: BTreeMap<String, String>,
}

impl Read {
    fn without_value(status: Status) -> Self {
        Self {
            status,
            value: Value::Null,
            memory: BTreeMap::new(),
        }
    }

    fn stopped(stop: Stop) -> Self {
        Self::without_value(Status::Stopped(stop))
    }
}

enum End {
    Answered(Vec<u8>),
    Silent,
    Stopped(Stop),
}

/// Hands the request over and waits for the end.
pub(crate) async fn conduct(
    mut running: Running,
    conducted: Conducted<'_>,
    started: Instant,
) -> Result<Outcome, SandboxError> {
    let limits = conducted.limits;
    let mut stdout = Capture::new(limits.output);
    let mut stderr = Capture::new(limits.output);
    let end = {
        let exchange = exchange(&mut running.channel, &conducted);
        tokio::pin!(exchange);
        let watch = running.process.watch(limits, running.scratch.as_ref());
        tokio::pin!(watch);
        let late = tokio::time::sleep(limits.time);
        tokio::pin!(late);
        loop {
            tokio::select! {
                end = &mut exchange => break end,
                stop = &mut watch => break End::Stopped(stop),
                () = &mut late => break End::Stopped(Stop::Time(limits.time)),
                flood = stdout.read(&mut running.stdout) => if flood { break End::Stopped(Stop::Output(limits.output * FLOOD)) },
                flood = stderr.read(&mut running.stderr) => if flood { break End::Stopped(Stop::Output(limits.output * FLOOD)) },
            }
        }
    };
    let grace = match end {
        End::Answered(_) | End::Silent => GOODBYE,
        End::Stopped(_) => Duration::ZERO,
    };
    let died = running.close(grace, &mut stdout, &mut stderr).await;
    let read = match end {
        End::Answered(frame) => read_answer(&frame)?,
        // The kernel's own limit came first; the watch looks at a call only now and then.
        End::Silent
            if limits.processor <= started.elapsed()
                && PROCESSOR_SIGNALS.contains(&died.as_str()) =>
        {
            Read::stopped(Stop::Processor(limits.processor))
        }
        End::Silent => Read::stopped(Stop::Died(died)),
        End::Stopped(stop) => Read::stopped(stop),
    };
    Ok(Outcome {
        status: read.status,
        value: read.value,
        memory: read.memory,
        stdout: stdout.lines(),
        stderr: stderr.lines(),
        took: started.elapsed(),
    })
}

/// What a call is told, what it may use, and whom it may ask.
pub(crate) struct Conducted<'a> {
    pub request: &'a [u8],
    pub limits: &'a Limits,
    pub door: Option<&'a dyn Door>,
}

async fn exchange(channel: &mut UnixStream, conducted: &Conducted<'_>) -> End {
    let most = conducted.limits.result;
    // A tool can't read its request slower than it may run; an error here shows as silence.
    let _ = channel.write_all(conducted.request).await;
    for _ in 0..=door::MOST {
        let frame = match read_frame(channel, most).await {
            Ok(frame) => frame,
            Err(FrameError::TooLong) => return End::Stopped(Stop::Result(most)),
            Err(FrameError::Ended(_)) => return End::Silent,
        };
        let Some(reply) = reply(&frame, conducted.door).await else {
            return End::Answered(frame);
        };
        let _ = channel.write_all(&reply.frame()).await;
    }
    End::Stopped(Stop::Requests(door::MOST))
}

/// The reply to a frame that asks something; none for the frame that is the call's answer.
async fn reply(frame: &[u8], door: Option<&dyn Door>) -> Option<Reply> {
    let door = door?;
    let Ok(Answer::Ask(asked)) = serde_json::from_slice(frame) else {
        return None;
    };
    Some(match asked.ask() {
        Some(ask) => door.answer(ask).await,
        None => Reply::refused(400, "the request's body is no Base64"),
    })
}

/// Why no frame was read.
#[derive(Debug)]
pub(crate) enum FrameError {
    TooLong,
    #[expect(dead_code, reason = "shown by Debug")]
    Ended(io::Error),
}

/// A length and as many bytes, at most `most`. What follows is never read.
pub(crate) async fn read_frame(
    channel: &mut UnixStream,
    most: usize,
) -> Result<Vec<u8>, FrameError> {
    let length = channel.read_u32_le().await.map_err(FrameError::Ended)?;
    let length = usize::try_from(length).map_err(|_| FrameError::TooLong)?;
    if length > most {
        return Err(FrameError::TooLong);
    }
    // Room is made for what comes, not for what was promised.
    let mut frame = Vec::new();
    let limit = u64::try_from(length).unwrap_or(u64::MAX);
    let read = channel
        .take(limit)
        .read_to_end(&mut frame)
        .await
        .map_err(FrameError::Ended)?;
    if read < length {
        return Err(FrameError::Ended(io::ErrorKind::UnexpectedEof.into()));
    }
    Ok(frame)
}

/// The reason in a frame that says that nothing was started.
pub(crate) fn refused(frame: &[u8]) -> Option<String> {
    match serde_json::from_slice(frame) {
        Ok(Answer::Refused(reason)) => Some(reason),
        _ => None,
    }
}

fn read_answer(frame: &[u8]) -> Result<Read, SandboxError> {
    let unreadable =
        |error: serde_json::Error| Ok(Read::stopped(Stop::Unreadable(error.to_string())));
    let (text, memory) = match serde_json::from_slice(frame) {
        Ok(Answer::Value(text)) => (text, BTreeMap::new()),
        Ok(Answer::Changed(changed)) => (changed.value, changed.memory),
        Ok(Answer::Raised(raised)) => return Ok(Read::without_value(Status::Raised(raised))),
        Ok(Answer::Refused(reason)) => return Err(SandboxError::Start(reason)),
        Ok(Answer::Ask(_)) => {
            let reason = "it asks the server, which it may not".to_owned();
            return Ok(Read::stopped(Stop::Unreadable(reason)));
        }
        Err(error) => return unreadable(error),
    };
    match serde_json::from_str(text.get()) {
        Ok(value) => Ok(Read {
            status: Status::Returned,
            value,
            memory,
        }),
        Err(error) => unreadable(error),
    }
}

/// What a tool writes: the first part is kept, the rest only counted.
struct Capture {
    kept: Vec<u8>,
    most: usize,
    seen: usize,
    ended: bool,
    buffer: Box<[u8; 16 * 1024]>,
}

impl Capture {
    fn new(most: usize) -> Self {
        Self {
            kept: Vec::new(),
            most,
            seen: 0,
            ended: false,
            buffer: Box::new([0; 16 * 1024]),
        }
    }

    /// Reads once. True when it is too much. Never comes back after the end.
    async fn read(&mut self, from: &mut (impl AsyncRead + Unpin)) -> bool {
        if self.ended {
            return std::future::pending().await;
        }
        match from.read(self.buffer.as_mut_slice()).await {
            Ok(0) | Err(_) => self.ended = true,
            Ok(count) => {
                self.seen += count;
                let room = self.most.saturating_sub(self.kept.len()).min(count);
                self.kept.extend(self.buffer.iter().take(room));
            }
        }
        self.seen > self.most.saturating_mul(FLOOD)
    }

    fn lines(self) -> Vec<String> {
        let text = String::from_utf8_lossy(&self.kept);
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let left = self.seen - self.kept.len();
        if left > 0 {
            lines.push(format!("({left} more bytes were written and not kept)"));
        }
        lines
    }
}

impl Running {
    /// Ends everything, reads what was written until then, and says how the process ended.
    async fn close(
        mut self,
        grace: Duration,
        stdout: &mut Capture,
        stderr: &mut Capture,
    ) -> String {
        let process = &mut self.process;
        let ended = async {
            let own = timeout(grace, process.wait()).await;
            match own {
                Ok(status) => status,
                Err(_) => {
                    // The keeper ends the rest when the channel closes.
                    drop(self.channel);
                    process.kill();
                    process.wait().await
                }
            }
        };
        let rest = async {
            while !stdout.ended && !stdout.read(&mut self.stdout).await {}
            while !stderr.ended && !stderr.read(&mut self.stderr).await {}
        };
        let both = timeout(CLOSE, async { tokio::join!(ended, rest).0 }).await;
        both.unwrap_or_else(|_| "it could not be ended in time".to_owned())
    }
}

/// How often a call's processes are looked at.
const LOOK: Duration = Duration::from_millis(20);

impl Process {
    /// Comes back when the processes use more than they may.
    #[cfg(target_os = "linux")]
    async fn watch(&self, limits: &Limits, scratch: Option<&tempfile::TempDir>) -> Stop {
        let Some(root) = self.root() else {
            return std::future::pending().await;
        };
        let own = !matches!(self, Self::Kept(_));
        let folder = scratch.map(|folder| folder.path().to_owned());
        let limits = *limits;
        loop {
            tokio::time::sleep(LOOK).await;
            let folder = folder.clone();
            let look =
                tokio::task::spawn_blocking(move || look(root, own, &limits, folder.as_deref()));
            if let Ok(Some(stop)) = look.await {
                return stop;
            }
        }
    }

    #[cfg(not(target_os = "linux"))]
    async fn watch(&self, _limits: &Limits, _scratch: Option<&tempfile::TempDir>) -> Stop {
        std::future::pending().await
    }

    /// The process at the top of the call's tree.
    fn root(&self) -> Option<u32> {
        match self {
            Self::Kept(child) => child.id(),
            #[cfg(target_os = "linux")]
            Self::Forked(fork) => fork.process(),
        }
    }

    /// Whether it is still there.
    pub(crate) fn lives(&mut self) -> bool {
        match self {
            Self::Kept(child) => matches!(child.try_wait(), Ok(None)),
            #[cfg(target_os = "linux")]
            Self::Forked(_) => true,
        }
    }

    fn kill(&mut self) {
        match self {
            // It ends by itself, after everything below it.
            Self::Kept(_) => {}
            #[cfg(target_os = "linux")]
            Self::Forked(fork) => fork.kill(),
        }
    }

    async fn wait(&mut self) -> String {
        match self {
            Self::Kept(child) => match child.wait().await {
                Ok(status) => match status.code() {
                    Some(code) if code > 128 => format!("signal {}", code - 128),
                    Some(code) => format!("exit code {code}"),
                    None => status.to_string(),
                },
                Err(error) => error.to_string(),
            },
            #[cfg(target_os = "linux")]
            Self::Forked(fork) => fork.wait().await,
        }
    }
}

#[cfg(target_os = "linux")]
fn look(root: u32, own: bool, limits: &Limits, folder: Option<&std::path::Path>) -> Option<Stop> {
    use super::tree;
    let mut processes = tree::below(root);
    if own {
        processes.push(root);
    }
    let used = tree::measure(&processes);
    if used.processor > limits.processor {
        return Some(Stop::Processor(limits.processor));
    }
    if used.memory > limits.memory && tree::exact_memory(&processes) > limits.memory {
        return Some(Stop::Memory(limits.memory));
    }
    if u64::try_from(used.processes).is_ok_and(|count| count > limits.processes + 1) {
        return Some(Stop::Processes(limits.processes));
    }
    let files = folder.map_or(0, |folder| {
        tree::bytes_below(folder, limits.scratch) + tree::bytes_unnamed(&processes)
    });
    (files > limits.scratch).then_some(Stop::Files(limits.scratch))
}

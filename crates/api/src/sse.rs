//! A run's events as a stream of server-sent events (V1 contract, section 3.4).
//!
//! The body owns its subscription and nothing else: no task, no buffer besides the frame that is being
//! written. When the client leaves, the body is dropped, and the run goes on.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _};
use http::{HeaderValue, header};
use mnemic_core::{
    ids::RunId,
    runs::{RunError, StopReason},
    time::Timestamp,
};
use mnemic_engine::{Event, RunHandle};
use serde::Serialize;
use tokio::time::{Instant, Sleep, sleep};

use crate::letta_messages::{
    ErrorView, MessageType, Ping, Shown, StopReasonView, UsageView, letta_message,
};

/// How long nothing is sent before a ping shows that the stream lives.
const SILENCE: Duration = Duration::from_secs(20);

/// Pings in a row after which the stream is cut: 30 minutes of silence.
const MAX_SILENT_PINGS: u32 = 90;

/// Bytes of ready frames that are written together.
const CHUNK: usize = 16 * 1024;

/// The last frame of a stream.
const LAST: &[u8] = b"data: [DONE]\n\n";

/// What a client wants of a stream.
#[derive(Debug, Clone, Default)]
pub struct StreamOptions {
    /// Whether it wants pings.
    pub include_pings: bool,
    /// The kinds of messages it wants; `None` is all.
    pub wanted: Option<Vec<MessageType>>,
}

/// Turns the events of a run into the frames of one kind of stream.
pub trait Renderer: Send + Unpin + 'static {
    /// Where the frames are written to.
    fn out(&mut self) -> &mut BytesMut;

    /// Writes what shows that the stream lives.
    fn ping(&mut self);

    /// Writes the frames of an event; some have none.
    fn event(&mut self, seq: u64, event: &Event);

    /// Writes the end of a stream whose run has not ended.
    fn incomplete(&mut self, message: &str);

    /// Writes a frame.
    fn frame(&mut self, value: &impl Serialize)
    where
        Self: Sized,
    {
        write_frame(self.out(), value);
    }
}

/// The answer that streams a run's events.
#[must_use]
pub fn response(run: RunHandle, options: StreamOptions) -> Response {
    let frames = frames(run, options, true);
    with_headers(Body::from_stream(frames))
}

/// The same, and then what `more` comes to, before the last frame.
#[must_use]
pub fn response_with<T: Serialize>(
    run: RunHandle,
    options: StreamOptions,
    more: impl Future<Output = Option<T>> + Send + 'static,
) -> Response {
    let end = async move {
        let mut out = BytesMut::new();
        if let Some(value) = more.await {
            write_frame(&mut out, &value);
        }
        out.extend_from_slice(LAST);
        Ok::<_, Infallible>(out.freeze())
    };
    let whole = frames(run, options, false).chain(futures_util::stream::once(end));
    with_headers(Body::from_stream(whole))
}

fn frames(run: RunHandle, options: StreamOptions, closes: bool) -> Frames<Writer> {
    let mut writer = Writer {
        run_id: run.run_id,
        numbered: run.background,
        closes,
        options,
        out: BytesMut::new(),
    };
    writer.ping();
    Frames::new(run, writer)
}

/// The answer that streams a run's events as `renderer` writes them.
pub fn rendered(run: RunHandle, renderer: impl Renderer) -> Response {
    with_headers(Body::from_stream(Frames::new(run, renderer)))
}

fn with_headers(body: Body) -> Response {
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/event-stream; charset=utf-8"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

/// A subscription on its way to its next event, and the event when it is there.
type Step = (RunHandle, Option<(u64, Arc<Event>)>);

/// The frames of a stream.
struct Frames<R> {
    /// `None` once the last frame was written.
    next: Option<Pin<Box<dyn Future<Output = Step> + Send>>>,
    silence: Pin<Box<Sleep>>,
    silent_pings: u32,
    writer: R,
}

/// Writes the frames of the V1 API.
struct Writer {
    run_id: RunId,
    /// Whether frames carry the numbers of their events.
    numbered: bool,
    /// Whether the last frame is written; without, somebody else goes on.
    closes: bool,
    options: StreamOptions,
    out: BytesMut,
}

impl<R: Renderer> Frames<R> {
    fn new(run: RunHandle, writer: R) -> Self {
        Self {
            next: Some(Box::pin(step(run))),
            silence: Box::pin(sleep(SILENCE)),
            silent_pings: 0,
            writer,
        }
    }

    /// Writes a ping after a silence; cuts the stream when that lasts too long.
    fn keep_alive(&mut self) {
        self.silent_pings += 1;
        if self.silent_pings > MAX_SILENT_PINGS {
            self.writer
                .incomplete("nothing happened for 30 minutes; the run itself goes on");
            self.next = None;
        } else {
            self.writer.ping();
        }
        self.silence.as_mut().reset(Instant::now() + SILENCE);
    }
}

async fn step(mut run: RunHandle) -> Step {
    let event = run.next().await;
    (run, event)
}

impl<R: Renderer> Stream for Frames<R> {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        while let Some(next) = &mut this.next {
            match next.as_mut().poll(context) {
                Poll::Ready((run, Some((seq, event)))) => {
                    this.next = match *event {
                        Event::Done => None,
                        _ => Some(Box::pin(step(run))),
                    };
                    this.writer.event(seq, &event);
                    this.silent_pings = 0;
                    this.silence.as_mut().reset(Instant::now() + SILENCE);
                }
                Poll::Ready((_, None)) => {
                    this.next = None;
                    this.writer.incomplete(
                        "the server is stopping; the run goes on when it is back, and its messages \
                         can then be read",
                    );
                }
                Poll::Pending if !this.writer.out().is_empty() => break,
                Poll::Pending => {
                    if this.silence.as_mut().poll(context).is_pending() {
                        return Poll::Pending;
                    }
                    this.keep_alive();
                }
            }
            if this.writer.out().len() >= CHUNK {
                break;
            }
        }
        // Only the end of the stream leaves nothing to write here.
        let chunk = this.writer.out().split().freeze();
        Poll::Ready((!chunk.is_empty()).then_some(Ok(chunk)))
    }
}

impl Renderer for Writer {
    fn out(&mut self) -> &mut BytesMut {
        &mut self.out
    }

    fn event(&mut self, seq: u64, event: &Event) {
        let seq_id = self.numbered.then_some(seq);
        let (part, shown) = match event {
            Event::Message(part) => (part, Shown::Whole),
            Event::Delta(part) => (part, Shown::Fragment),
            Event::Stopped { reason } => return self.frame(&StopReasonView::from(*reason)),
            Event::Usage {
                usage,
                step_count,
                context_tokens,
                run_ids,
            } => {
                let usage = UsageView::of(usage, *step_count, Some(*context_tokens));
                return self.frame(&usage.with_runs(run_ids));
            }
            Event::Failed { error } => return self.error(error),
            Event::Done => return self.close(),
        };
        if MessageType::wants(self.options.wanted.as_deref(), &part.part) {
            self.frame(&letta_message(part, shown, seq_id));
        }
    }

    fn ping(&mut self) {
        if self.options.include_pings {
            self.frame(&Ping::of(self.run_id, Timestamp::now()));
        }
    }

    fn incomplete(&mut self, message: &str) {
        self.frame(&StopReasonView::from(StopReason::Error));
        self.error(&RunError {
            error_type: "stream_incomplete".to_owned(),
            message: message.to_owned(),
            detail: None,
        });
        self.close();
    }
}

impl Writer {
    fn close(&mut self) {
        if self.closes {
            self.out.extend_from_slice(LAST);
        }
    }

    /// The SDKs raise on this event name.
    fn error(&mut self, error: &RunError) {
        self.out.extend_from_slice(b"event: error\n");
        self.frame(&ErrorView::of(self.run_id, error));
    }
}

/// Writes a frame without an event name: the V1 SDKs drop those that have one.
pub fn write_frame(out: &mut BytesMut, value: &impl Serialize) {
    let before = out.len();
    out.extend_from_slice(b"data: ");
    if let Err(error) = serde_json::to_writer(Appender(out), value) {
        tracing::error!(%error, "a frame could not be written");
        out.truncate(before);
        return;
    }
    out.extend_from_slice(b"\n\n");
}

/// Lets serde_json write into bytes that are sent without a copy.
struct Appender<'b>(&'b mut BytesMut);

impl std::io::Write for Appender<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use mnemic_core::{
        ids::MessageId,
        parts::{MessagePart, Part},
        runs::Usage,
    };

    use super::*;

    fn writer(numbered: bool, wanted: Option<Vec<MessageType>>) -> Writer {
        Writer {
            closes: true,
            run_id: RunId::new(),
            numbered,
            options: StreamOptions {
                include_pings: true,
                wanted,
            },
            out: BytesMut::new(),
        }
    }

    fn text(part: Part) -> Box<MessagePart> {
        Box::new(MessagePart {
            message_id: MessageId::new(),
            index: 0,
            otid: None,
            date: Timestamp::default(),
            name: None,
            sender_id: None,
            step_id: None,
            run_id: None,
            part,
        })
    }

    fn written(writer: &Writer) -> String {
        String::from_utf8(writer.out.to_vec()).unwrap()
    }

    #[test]
    fn a_turn_is_framed_as_the_sdks_read_it() {
        let mut writer = writer(true, None);
        let said = Part::Assistant {
            text: "Hello\nthere".to_owned(),
        };
        writer.event(1, &Event::Delta(text(said)));
        writer.event(
            2,
            &Event::Stopped {
                reason: StopReason::EndTurn,
            },
        );
        let usage = Usage::default();
        writer.event(
            3,
            &Event::Usage {
                usage,
                step_count: 1,
                context_tokens: 7,
                run_ids: Vec::new(),
            },
        );
        writer.event(4, &Event::Done);
        let text = written(&writer);
        let frames: Vec<&str> = text.split_terminator("\n\n").collect();
        assert_eq!(frames.len(), 4);
        assert!(
            frames
                .iter()
                .all(|frame| frame.starts_with("data: ") && !frame.contains('\n'))
        );
        let json = |frame: &str| -> serde_json::Value {
            serde_json::from_str(frame.strip_prefix("data: ").unwrap()).unwrap()
        };
        assert_eq!(json(frames[0])["content"], "Hello\nthere");
        assert_eq!(json(frames[0])["seq_id"], 1);
        assert_eq!(json(frames[1])["stop_reason"], "end_turn");
        assert_eq!(json(frames[2])["context_tokens"], 7);
        assert_eq!(frames[3], "data: [DONE]");
    }

    #[test]
    fn foreground_frames_have_no_numbers() {
        let mut writer = writer(false, None);
        writer.event(
            9,
            &Event::Message(text(Part::Assistant {
                text: "a".to_owned(),
            })),
        );
        assert!(written(&writer).contains("\"seq_id\":null"));
    }

    #[test]
    fn unwanted_kinds_are_left_out_and_the_end_is_not() {
        let mut writer = writer(false, Some(vec![MessageType::ToolCallMessage]));
        writer.event(
            1,
            &Event::Message(text(Part::Assistant {
                text: "a".to_owned(),
            })),
        );
        assert!(writer.out.is_empty());
        writer.event(
            2,
            &Event::Stopped {
                reason: StopReason::MaxSteps,
            },
        );
        assert!(written(&writer).contains("max_steps"));
    }

    #[test]
    fn an_error_is_a_named_event() {
        let mut writer = writer(false, None);
        let error = RunError {
            error_type: "llm_timeout".to_owned(),
            message: "too slow".to_owned(),
            detail: None,
        };
        writer.event(1, &Event::Failed { error });
        let text = written(&writer);
        assert!(
            text.starts_with("event: error\ndata: {\"message_type\":\"error_message\""),
            "{text}"
        );
        assert!(text.ends_with("\"seq_id\":null}\n\n"), "{text}");
    }
}

//! A model's own form of conversations: a Jinja template in its file.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::{RecvTimeoutError, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use minijinja::{Environment, Error, ErrorKind, Value, context, syntax::SyntaxConfig};

use super::{bpe::Tokenizer, cancel::Cancel, gguf::GgufError, list_sums, model::AnswerError};

/// Steps that a template may take, and bytes that it may write; long conversations need a small part of it.
const FUEL: u64 = 5_000_000;
/// How long it may take, which is usually a few milliseconds: not all that takes time takes steps.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it is asked whether anybody waits for it.
const LOOK: Duration = Duration::from_millis(50);
/// Threads of templates that may be there at the same time, those included that were left alone.
const MAX_THREADS: usize = 3;
/// Of models that have none: the form that most were trained with.
const CHATML: &str = "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}<|im_start|>assistant\n";

fn unusable(error: Error) -> GgufError {
    GgufError::Unsupported(format!("its chat template ({error})"))
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// `system`, `user` or `assistant`.
    pub role: String,
    /// Its text.
    pub content: String,
}

/// A thread of a template, while it is there.
struct Running;

static RUNNING: AtomicUsize = AtomicUsize::new(0);

impl Running {
    fn one_more() -> Option<Self> {
        let more = |running| (running < MAX_THREADS).then_some(running + 1);
        let counted = RUNNING.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        counted.ok().map(|_| Self)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        RUNNING.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A template.
#[derive(Debug)]
pub(super) struct Template {
    environment: Arc<Environment<'static>>,
    /// Whether it went on past all patience.
    is_endless: bool,
    patience: Duration,
}

impl Template {
    /// Reads a template.
    pub fn new(source: Option<&str>) -> Result<Self, GgufError> {
        if source.is_some_and(list_sums::may_be_in) {
            let what = "its chat template, which may add lists without end,";
            return Err(GgufError::Unsupported(what.into()));
        }
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .build();
        environment.set_syntax(syntax.map_err(unusable)?);
        environment.set_fuel(Some(FUEL));
        environment
            .set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", |text: String| -> Result<Value, Error> {
            Err(Error::new(ErrorKind::InvalidOperation, text))
        });
        environment
            .add_template_owned("chat", source.unwrap_or(CHATML).to_owned())
            .map_err(unusable)?;
        Ok(Self {
            environment: Arc::new(environment),
            is_endless: false,
            patience: PATIENCE,
        })
    }

    /// The text of a conversation, up to where the model answers. It is made on a thread of its own, which
    /// is left alone if it does not end: nothing could end it, so it is not tried a second time.
    pub fn render(
        &mut self,
        messages: &[Message],
        tokenizer: &Tokenizer,
        cancel: &Cancel,
    ) -> Result<String, AnswerError> {
        let conversation = conversation(messages, tokenizer);
        let environment = Arc::clone(&self.environment);
        self.on_a_thread(cancel, move || {
            environment.get_template("chat")?.render(conversation)
        })
    }

    fn on_a_thread(
        &mut self,
        cancel: &Cancel,
        render: impl FnOnce() -> Result<String, Error> + Send + 'static,
    ) -> Result<String, AnswerError> {
        let failed = |error: &str| AnswerError::Failed(format!("its chat template: {error}"));
        if self.is_endless {
            return Err(endless());
        }
        let running = Running::one_more()
            .ok_or_else(|| failed("those of other models go on without end; restart the server"))?;
        let (sender, receiver) = sync_channel(1);
        let work = move || {
            let _running = running;
            // Nobody may wait for it any more.
            sender.send(render()).ok();
        };
        thread::Builder::new()
            .name("local-llm-chat".into())
            .spawn(work)
            .map_err(|error| failed(&error.to_string()))?;
        let begun = Instant::now();
        loop {
            match receiver.recv_timeout(LOOK) {
                Ok(text) => return text.map_err(|error| refused(&error)),
                Err(RecvTimeoutError::Disconnected) => return Err(failed("it broke off")),
                Err(RecvTimeoutError::Timeout) => cancel.check()?,
            }
            if begun.elapsed() > self.patience {
                self.is_endless = true;
                return Err(endless());
            }
        }
    }
}

fn refused(error: &Error) -> AnswerError {
    AnswerError::Refused(format!(
        "the model's chat template does not take this: {error}"
    ))
}

fn endless() -> AnswerError {
    AnswerError::Failed(format!(
        "the model's chat template had no end within {} seconds; take another model",
        PATIENCE.as_secs()
    ))
}

/// What a template is told.
fn conversation(messages: &[Message], tokenizer: &Tokenizer) -> Value {
    let guarded: Vec<Value> = messages
        .iter()
        .map(|message| {
            context! {
                role => message.role.as_str(),
                content => tokenizer.guarded(&message.content),
            }
        })
        .collect();
    context! {
        messages => guarded,
        add_generation_prompt => true,
        // Thoughts would take minutes on a processor, and an answer in a form has none.
        enable_thinking => false,
        bos_token => tokenizer.name(tokenizer.begin()),
        eos_token => tokenizer.name(Some(tokenizer.end())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stands for a template that goes on without end.
    fn waiting(
        template: &mut Template,
        render: impl FnOnce() + Send + 'static,
    ) -> Result<String, AnswerError> {
        let never = Cancel::when(|| false);
        template.on_a_thread(&never, move || {
            render();
            Ok("text".to_owned())
        })
    }

    #[test]
    fn a_template_without_end_is_given_up_and_not_begun_again() {
        let mut template = Template::new(None).unwrap();
        template.patience = Duration::from_millis(100);
        assert_eq!(waiting(&mut template, || ()), Ok("text".to_owned()));
        let (end, ended) = sync_channel::<()>(0);
        let endless = waiting(&mut template, move || _ = ended.recv());
        assert!(matches!(&endless, Err(AnswerError::Failed(text)) if text.contains("had no end")));
        let begun = waiting(&mut template, || unreachable!("it is not begun again"));
        assert_eq!(begun, endless);
        drop(end);
    }

    #[test]
    fn a_template_that_nobody_waits_for_is_left_at_once_and_one_that_breaks_off_is_told() {
        let mut template = Template::new(None).unwrap();
        let (end, ended) = sync_channel::<()>(0);
        let over = Cancel::when(|| true);
        let begun = Instant::now();
        let left = template.on_a_thread(&over, move || {
            ended.recv().ok();
            Ok(String::new())
        });
        assert_eq!(left, Err(AnswerError::Cancelled));
        assert!(begun.elapsed() < PATIENCE / 10);
        drop(end);
        let broken = waiting(&mut template, || panic!("it breaks off"));
        assert!(matches!(broken, Err(AnswerError::Failed(_))), "{broken:?}");
    }
}

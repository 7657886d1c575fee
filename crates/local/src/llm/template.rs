//! A model's own form of conversations: a Jinja template in its file.

use minijinja::{Environment, Error, ErrorKind, Value, context, syntax::SyntaxConfig};

use super::{bpe::Tokenizer, gguf::GgufError};

/// Steps that a template may take; those of long conversations need a small part of it.
const FUEL: u64 = 5_000_000;
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

/// A template.
#[derive(Debug)]
pub(super) struct Template {
    environment: Environment<'static>,
}

impl Template {
    /// Reads a template.
    pub fn new(source: Option<&str>) -> Result<Self, GgufError> {
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
        Ok(Self { environment })
    }

    /// The text of a conversation, up to where the model answers.
    pub fn render(&self, messages: &[Message], tokenizer: &Tokenizer) -> Result<String, String> {
        let guarded: Vec<Value> = messages
            .iter()
            .map(|message| {
                context! {
                    role => message.role.as_str(),
                    content => tokenizer.guarded(&message.content),
                }
            })
            .collect();
        let render = || {
            self.environment.get_template("chat")?.render(context! {
                messages => guarded,
                add_generation_prompt => true,
                // Thoughts would take minutes on a processor, and an answer in a form has none.
                enable_thinking => false,
                bos_token => tokenizer.name(tokenizer.begin()),
                eos_token => tokenizer.name(Some(tokenizer.end())),
            })
        };
        render().map_err(|error: Error| error.to_string())
    }
}

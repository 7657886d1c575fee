//! The OpenAI chat-completions protocol, as OpenAI and the many servers that imitate it speak it.

pub(crate) mod decoder;
pub(crate) mod render;
pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod wire;

#[cfg(test)]
mod tests;

#[cfg(test)]
mod render_tests;

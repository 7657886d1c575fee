//! OpenAI's responses protocol, spoken without its server-side state: every request carries the whole
//! history, with the model's own reasoning sealed by the provider.

pub(crate) mod decoder;
pub(crate) mod render;
pub(crate) mod request;

#[cfg(test)]
mod tests;

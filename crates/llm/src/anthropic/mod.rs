//! Anthropic's messages protocol.

pub(crate) mod decoder;
pub(crate) mod render;
pub(crate) mod request;

#[cfg(test)]
mod tests;

#[cfg(test)]
mod render_tests;

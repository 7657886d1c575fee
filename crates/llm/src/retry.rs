//! How long to wait for a provider, and when to ask it again.

use std::time::Duration;

use rand::Rng;
use reqwest::header::HeaderMap;

use crate::errors::LlmError;

/// Limits on waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Until the connection stands.
    pub connect: Duration,
    /// From a streaming request to the first byte of its answer.
    pub first_byte: Duration,
    /// Between two pieces of a stream.
    pub idle: Duration,
    /// Until usage and the end mark, when the answer itself has ended.
    pub grace: Duration,
    /// For the whole answer; the only limit on calls that do not stream, whose first byte comes
    /// when the model has finished.
    pub answer: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            first_byte: Duration::from_secs(60),
            idle: Duration::from_secs(60),
            grace: Duration::from_secs(5),
            answer: Duration::from_secs(600),
        }
    }
}

/// When to ask again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// How often a call is tried altogether.
    pub tries: u32,
    /// The wait before the second try; it doubles with each further one.
    pub base: Duration,
    /// The longest wait, also when a provider asks for more: such a call fails at once instead.
    pub cap: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            tries: 3,
            base: Duration::from_millis(500),
            cap: Duration::from_secs(20),
        }
    }
}

impl RetryPolicy {
    /// How long to wait after try number `tried` failed with an error; `None`: give up.
    pub(crate) fn wait(&self, tried: u32, error: &LlmError) -> Option<Duration> {
        if tried >= self.tries || !error.is_retryable() {
            return None;
        }
        if let Some(asked) = error.retry_after() {
            return (asked <= self.cap).then_some(asked);
        }
        // A broken connection is most often an idle one that the server closed at that moment.
        let base = match error {
            LlmError::Connection { .. } => self.base / 10,
            _ => self.base,
        };
        let full = base.saturating_mul(1 << (tried - 1).min(16)).min(self.cap);
        Some(full.mul_f64(rand::rng().random_range(0.5..=1.0)))
    }
}

/// The wait that an answer asks for: `retry-after-ms`, or `Retry-After` in seconds or as a date.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .map(str::trim)
    };
    let seconds = |text: &str, unit: f64| {
        let number = text.parse::<f64>().ok()? * unit;
        Duration::try_from_secs_f64(number).ok()
    };
    if let Some(wait) = text("retry-after-ms").and_then(|text| seconds(text, 0.001)) {
        return Some(wait);
    }
    let text = text("retry-after")?;
    seconds(text, 1.0).or_else(|| {
        let at = jiff::fmt::rfc2822::DateTimeParser::new()
            .parse_timestamp(text)
            .ok()?;
        Some(Duration::try_from(at.duration_since(jiff::Timestamp::now())).unwrap_or_default())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(
            reqwest::header::HeaderName::from_static(name),
            reqwest::header::HeaderValue::from_str(value).unwrap(),
        )])
    }

    fn server_error() -> LlmError {
        LlmError::Server {
            provider: "p".into(),
            status: 500,
            message: String::new(),
            retry_after: None,
        }
    }

    #[test]
    fn the_wait_that_an_answer_asks_for_is_read_in_all_its_forms() {
        assert_eq!(
            retry_after(&headers("retry-after", "2")),
            Some(Duration::from_secs(2))
        );
        assert_eq!(
            retry_after(&headers("retry-after", "0.5")),
            Some(Duration::from_millis(500))
        );
        assert_eq!(
            retry_after(&headers("retry-after-ms", "250")),
            Some(Duration::from_millis(250))
        );
        assert_eq!(retry_after(&headers("retry-after", "soon")), None);
        assert_eq!(retry_after(&headers("retry-after", "-5")), None);
        assert_eq!(retry_after(&headers("retry-after", "inf")), None);
        let past = retry_after(&headers("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT"));
        assert_eq!(past, Some(Duration::ZERO));
        let future = retry_after(&headers("retry-after", "Fri, 01 Jan 2100 00:00:00 GMT"));
        assert!(future.unwrap() > Duration::from_secs(3600));
    }

    #[test]
    fn waits_double_with_jitter_up_to_the_cap_and_end_after_the_last_try() {
        let policy = RetryPolicy {
            tries: 10,
            base: Duration::from_secs(1),
            cap: Duration::from_secs(5),
        };
        for (tried, full) in [(1, 1.0), (2, 2.0), (3, 4.0), (4, 5.0), (9, 5.0)] {
            let wait = policy.wait(tried, &server_error()).unwrap().as_secs_f64();
            assert!((full / 2.0..=full).contains(&wait), "try {tried}: {wait}");
        }
        assert_eq!(policy.wait(10, &server_error()), None);
    }

    #[test]
    fn a_provider_that_asks_for_too_long_a_wait_is_not_waited_for() {
        let limited = |seconds| LlmError::RateLimit {
            provider: "p".into(),
            message: String::new(),
            retry_after: Some(Duration::from_secs(seconds)),
        };
        let policy = RetryPolicy::default();
        assert_eq!(policy.wait(1, &limited(3)), Some(Duration::from_secs(3)));
        assert_eq!(policy.wait(1, &limited(3600)), None);
    }
}

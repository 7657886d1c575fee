//! What models cost, and how large their windows are, as a list says it. What is not in the list is not known,
//! and nothing is guessed.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{runs::Usage, time::Timestamp};

/// Prices are for so many tokens.
const UNIT: f64 = 1_000_000.0;

/// What is known of models; the first list that knows one counts.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PriceList {
    /// Who serves them.
    #[serde(default, rename = "provider")]
    pub providers: Vec<Provider>,
}

/// Who serves models.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provider {
    /// Its name, for people.
    pub name: String,
    /// The hosts of its API, with a port where that is not the usual one: the same model may cost something
    /// else elsewhere.
    pub hosts: Vec<String>,
    /// The currency of its prices (ISO 4217).
    #[serde(default = "usd")]
    pub currency: String,
    /// Its models.
    #[serde(default, rename = "model")]
    pub models: Vec<Model>,
}

fn usd() -> String {
    "USD".to_owned()
}

/// A model.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Its name in the API; one with a date or `-latest` after it is the same.
    pub name: String,
    /// Other names of it.
    #[serde(default)]
    pub also: Vec<String>,
    /// Tokens that request and answer may take together.
    pub context_window: Option<i64>,
    /// Tokens that an answer may take.
    pub max_output: Option<i64>,
    /// The day on which the price was read (ISO 8601).
    pub as_of: Option<String>,
    /// The first day on which it does not hold any more (ISO 8601).
    pub until: Option<String>,
    /// What tokens of requests cost.
    pub input: Option<f64>,
    /// What those cost that were in the provider's cache.
    pub cached_input: Option<f64>,
    /// What those cost that were written to it.
    pub cache_write: Option<f64>,
    /// What tokens of answers cost.
    pub output: Option<f64>,
    /// What they cost in long requests.
    pub long: Option<LongRates>,
}

/// Prices of a million tokens.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Rates {
    /// Of the request.
    pub input: f64,
    /// Of the part of the request that was in the provider's cache; as the rest where it is not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cached_input: Option<f64>,
    /// Of the part that was written to the cache; as the rest where it is not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_write: Option<f64>,
    /// Of the answer, with its reasoning.
    pub output: f64,
}

/// Prices of requests above a size.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LongRates {
    /// Tokens of a request; all tokens of larger ones cost this.
    pub above: i64,
    /// As in [`Rates`].
    pub input: f64,
    /// As in [`Rates`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cached_input: Option<f64>,
    /// As in [`Rates`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_write: Option<f64>,
    /// As in [`Rates`].
    pub output: f64,
}

impl From<LongRates> for Rates {
    fn from(long: LongRates) -> Self {
        Self {
            input: long.input,
            cached_input: long.cached_input,
            cache_write: long.cache_write,
            output: long.output,
        }
    }
}

/// The price of a model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Price {
    /// The currency (ISO 4217).
    pub currency: String,
    /// The day on which it was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub as_of: Option<String>,
    /// What a million tokens cost.
    #[serde(flatten)]
    pub rates: Rates,
    /// What they cost in long requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub long: Option<LongRates>,
}

/// What model calls cost.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cost {
    /// How much.
    pub amount: f64,
    /// Of which currency.
    pub currency: String,
    /// The day on which the oldest price in it was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub as_of: Option<String>,
}

impl PriceList {
    /// The list with another one behind it.
    #[must_use]
    pub fn before(mut self, other: Self) -> Self {
        self.providers.extend(other.providers);
        self
    }

    /// What a model costs today at the API of a base URL, if that is known.
    #[must_use]
    pub fn price(&self, base_url: &str, model: &str, today: Timestamp) -> Option<Price> {
        let (provider, model) = self.find(base_url, model)?;
        let day = today.to_iso();
        if model
            .until
            .as_deref()
            .is_some_and(|until| day.as_str() >= until)
        {
            return None;
        }
        Some(Price {
            currency: provider.currency.clone(),
            as_of: model.as_of.clone(),
            rates: Rates {
                input: model.input?,
                cached_input: model.cached_input,
                cache_write: model.cache_write,
                output: model.output?,
            },
            long: model.long,
        })
    }

    /// The sizes in tokens above which requests to some model have prices of their own, each once.
    #[must_use]
    pub fn long_sizes(&self) -> Vec<i64> {
        let models = self.providers.iter().flat_map(|provider| &provider.models);
        let sizes: BTreeSet<i64> = models
            .filter_map(|model| model.long.map(|long| long.above))
            .collect();
        sizes.into_iter().collect()
    }

    /// The windows and limits of answers that the list has, by the model's name.
    pub fn windows(&self) -> impl Iterator<Item = (&str, i64, Option<i64>)> {
        let models = self.providers.iter().flat_map(|provider| &provider.models);
        models.flat_map(|model| {
            let names = std::iter::once(&model.name).chain(&model.also);
            let window = model.context_window;
            names.filter_map(move |name| Some((name.as_str(), window?, model.max_output)))
        })
    }

    fn find(&self, base_url: &str, name: &str) -> Option<(&Provider, &Model)> {
        let host = host(base_url)?;
        let serves = |provider: &&Provider| provider.hosts.iter().any(|known| known == host);
        self.providers.iter().filter(serves).find_map(|provider| {
            let mut models = provider.models.iter();
            let model = models.find(|model| model.is_named(name))?;
            Some((provider, model))
        })
    }
}

impl Model {
    fn is_named(&self, name: &str) -> bool {
        let mut names = std::iter::once(&self.name).chain(&self.also);
        names.any(|known| {
            name.strip_prefix(known.as_str())
                .is_some_and(|rest| rest.is_empty() || rest == "-latest" || is_date(rest))
        })
    }
}

/// Whether a model's name goes on with a date, as `-20250929` or `-2024-07-18`.
fn is_date(rest: &str) -> bool {
    let digits = rest.chars().filter(char::is_ascii_digit).count();
    rest.starts_with('-') && digits == 8 && rest.chars().all(|c| c == '-' || c.is_ascii_digit())
}

/// Host and port of a URL as it is written.
fn host(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    authority.rsplit('@').next()
}

impl Price {
    /// What a call costs that took this.
    #[must_use]
    pub fn of(&self, usage: &Usage) -> Cost {
        self.of_calls(usage, usage.prompt_tokens)
    }

    /// What calls cost that took this together, the largest request of which had so many tokens. Either all of them are
    /// long requests, or none is ([`PriceList::long_sizes`]).
    #[must_use]
    pub fn of_calls(&self, usage: &Usage, largest_prompt: i64) -> Cost {
        let long = self.long.filter(|long| largest_prompt > long.above);
        let rates = long.map_or(self.rates, Rates::from);
        let input = rates.input;
        let cached = usage.cached_input_tokens.clamp(0, usage.prompt_tokens);
        let written = usage
            .cache_write_tokens
            .clamp(0, usage.prompt_tokens - cached);
        let parts = [
            (usage.prompt_tokens - cached - written, input),
            (cached, rates.cached_input.unwrap_or(input)),
            (written, rates.cache_write.unwrap_or(input)),
            (usage.completion_tokens, rates.output),
        ];
        Cost {
            amount: parts
                .iter()
                .map(|(tokens, rate)| *tokens as f64 * rate)
                .sum::<f64>()
                / UNIT,
            currency: self.currency.clone(),
            as_of: self.as_of.clone(),
        }
    }
}

impl Cost {
    /// The sum of costs; none when one of them is not known, or when their currencies differ.
    #[must_use]
    pub fn sum(costs: impl IntoIterator<Item = Option<Self>>) -> Option<Self> {
        let mut costs = costs.into_iter();
        let first = costs.next()??;
        costs.try_fold(first, |mut sum, cost| {
            let cost = cost.filter(|cost| cost.currency == sum.currency)?;
            sum.amount += cost.amount;
            sum.as_of = sum.as_of.min(cost.as_of);
            Some(sum)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list() -> PriceList {
        let model = |name: &str, until: Option<&str>| Model {
            name: name.to_owned(),
            also: vec![format!("{name}-0")],
            context_window: Some(1_000),
            max_output: None,
            as_of: Some("2026-11-27".to_owned()),
            until: until.map(str::to_owned),
            input: Some(2.0),
            cached_input: Some(0.5),
            cache_write: None,
            output: Some(10.0),
            long: Some(LongRates {
                above: 200_000,
                input: 4.0,
                output: 20.0,
                ..LongRates::default()
            }),
        };
        PriceList {
            providers: vec![Provider {
                name: "maker".to_owned(),
                hosts: vec!["api.maker.example".to_owned()],
                currency: "EUR".to_owned(),
                models: vec![model("big", None), model("passing", Some("2026-12-01"))],
            }],
        }
    }

    fn price(url: &str, model: &str, day: &str) -> Option<Price> {
        list().price(
            url,
            model,
            Timestamp::parse(&format!("{day}T12:00:00Z")).unwrap(),
        )
    }

    #[test]
    fn a_price_is_of_a_host_and_a_model_and_holds_until_its_day() {
        let url = "https://api.maker.example/v1";
        for (url, model, day, known) in [
            (url, "big", "2026-11-27", true),
            (url, "big-20260102", "2026-11-27", true),
            (url, "big-2026-01-02", "2026-11-27", true),
            (url, "big-latest", "2026-11-27", true),
            (url, "big-0", "2026-11-27", true),
            (url, "big-mini", "2026-11-27", false),
            (url, "bigger", "2026-11-27", false),
            ("http://127.0.0.1:8000/v1", "big", "2026-11-27", false),
            ("https://maker.example/v1", "big", "2026-11-27", false),
            (url, "passing", "2026-11-30", true),
            (url, "passing", "2026-12-01", false),
        ] {
            assert_eq!(
                price(url, model, day).is_some(),
                known,
                "{url} {model} {day}"
            );
        }
    }

    #[test]
    fn cached_tokens_and_long_requests_cost_what_the_list_says() {
        let price = price("https://api.maker.example/v1", "big", "2026-11-27").unwrap();
        let usage = Usage {
            prompt_tokens: 100_000,
            completion_tokens: 1_000,
            cached_input_tokens: 60_000,
            cache_write_tokens: 10_000,
            reasoning_tokens: 500,
        };
        let cost = price.of(&usage);
        assert!(
            (cost.amount - (0.08 + 0.03 + 0.01)).abs() < 1e-9,
            "{cost:?}"
        );
        assert_eq!(cost.currency, "EUR");
        let long = price.of(&Usage {
            prompt_tokens: 300_000,
            ..usage
        });
        assert!((long.amount - (1.2 + 0.02)).abs() < 1e-9, "{long:?}");
    }

    #[test]
    fn a_sum_with_an_unknown_part_is_unknown() {
        let cost = |amount: f64| {
            Some(Cost {
                amount,
                currency: "USD".to_owned(),
                as_of: None,
            })
        };
        assert_eq!(Cost::sum([cost(1.0), cost(2.0)]).unwrap().amount, 3.0);
        assert_eq!(Cost::sum([cost(1.0), None]), None);
        assert_eq!(Cost::sum([]), None);
    }
}

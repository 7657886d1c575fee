//! What the text of a message tells the scripted model to do.

/// A call that the model is told to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectedCall {
    /// The tool.
    pub name: String,
    /// The arguments as they are sent, valid or not.
    pub arguments: String,
}

/// All directives of a message.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub struct Directives {
    pub sleep_ms: u64,
    pub delay_ms: u64,
    pub words: Option<usize>,
    pub error: Option<u16>,
    /// Fails this often for the same text.
    pub error_times: Option<(u64, u16)>,
    pub drop: bool,
    /// Ends a stream after so many frames as if nothing were missing.
    pub cut: Option<usize>,
    pub hang: bool,
    /// Never answers the request of this number for the same text, counted from 1; answers the others.
    pub hang_at: Option<u64>,
    /// Waits with its answer until this name is released.
    pub hold: Option<String>,
    pub calls: Vec<DirectedCall>,
    /// How many successive steps make the calls.
    pub steps: usize,
    pub reasoning: Option<String>,
    /// The reasoning is sealed.
    pub redacted: bool,
    /// Tokens of the prompt that come from the cache.
    pub cached: Option<usize>,
    pub length: bool,
    pub empty: bool,
    pub no_id: bool,
    pub whole_call: bool,
    pub overflow: bool,
    pub echo_system: bool,
    pub echo: bool,
    /// Refuses requests of more tokens.
    pub overflow_above: Option<usize>,
    /// The back end in whose words it refuses them.
    pub refusal: Option<String>,
    /// Answers with the words of the request that begin so.
    pub keep: Option<String>,
    /// Answers with the words of the whole conversation that begin so.
    pub keep_all: Option<String>,
    /// Makes the calls as text, in this form.
    pub plain: Option<String>,
    /// The call to make when one was not made for its arguments.
    pub mend: Option<DirectedCall>,
    /// Tokens of the prompt that are said to have been read.
    pub read: Option<usize>,
}

/// Reads the directives of a text; unknown ones are ignored.
#[must_use]
pub fn parse(text: &str) -> Directives {
    let mut found = Directives {
        steps: 1,
        ..Directives::default()
    };
    let mut rest = text;
    while let Some((_, after)) = rest.split_once("[[") {
        let Some((inside, behind)) = after.split_once("]]") else {
            break;
        };
        read(&mut found, inside.trim());
        rest = behind;
    }
    found
}

fn read(found: &mut Directives, inside: &str) {
    let (word, rest) = inside.split_once(' ').unwrap_or((inside, ""));
    let number = || rest.trim().parse::<u64>().ok();
    let call = || {
        let (name, arguments) = rest.split_once(' ').unwrap_or((rest, "{}"));
        DirectedCall {
            name: name.to_owned(),
            arguments: arguments.to_owned(),
        }
    };
    match word {
        "sleep" => found.sleep_ms = number().unwrap_or(0),
        "delay" => found.delay_ms = number().unwrap_or(0),
        "words" => found.words = rest.trim().parse().ok(),
        "error" => found.error = rest.trim().parse().ok(),
        "error-once" => found.error_times = rest.trim().parse().ok().map(|status| (1, status)),
        "error-times" => {
            let mut numbers = rest.split_whitespace();
            let times = numbers.next().and_then(|word| word.parse().ok());
            let status = numbers.next().and_then(|word| word.parse().ok());
            found.error_times = times.zip(status);
        }
        "drop" => found.drop = true,
        "cut" => found.cut = rest.trim().parse().ok(),
        "hang" => found.hang = true,
        "hang-at" => found.hang_at = number(),
        "hold" => found.hold = Some(rest.trim().to_owned()),
        "call" | "badargs" => found.calls.push(call()),
        "steps" => found.steps = rest.trim().parse().unwrap_or(1),
        "reasoning" => found.reasoning = Some(rest.to_owned()),
        "redacted" => {
            found.redacted = true;
            found.reasoning = Some(rest.to_owned());
        }
        "cached" => found.cached = rest.trim().parse().ok(),
        "length" => found.length = true,
        "empty" => found.empty = true,
        "noid" => found.no_id = true,
        "wholecall" => found.whole_call = true,
        "overflow" => found.overflow = true,
        "echo-system" => found.echo_system = true,
        "echo" => found.echo = true,
        "overflow-above" => found.overflow_above = rest.trim().parse().ok(),
        "refusal" => found.refusal = Some(rest.trim().to_owned()),
        "plain" => found.plain = Some(rest.trim().to_owned()),
        "mend" => found.mend = Some(call()),
        "read" => found.read = rest.trim().parse().ok(),
        "keep" => found.keep = Some(rest.trim().to_owned()),
        "keep-all" => found.keep_all = Some(rest.trim().to_owned()),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_are_found_wherever_they_stand() {
        let found = parse(
            "a [[sleep 20]] b [[call add {\"a\": [1]}]] [[call other]] [[error-times 2 500]]",
        );
        assert_eq!(found.sleep_ms, 20);
        assert_eq!(found.calls[0].arguments, "{\"a\": [1]}");
        assert_eq!(found.calls[1].arguments, "{}");
        assert_eq!(found.error_times, Some((2, 500)));
        assert_eq!(
            parse("nothing [[unknown 1]]"),
            Directives {
                steps: 1,
                ..Default::default()
            }
        );
    }
}

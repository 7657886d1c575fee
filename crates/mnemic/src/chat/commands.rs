//! What lines that begin with a slash do.

use super::error::ChatError;

/// A command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    Help,
    Memory(Option<String>),
    EditMemory(String),
    Search(String),
    Archive(String),
    Remember(String),
    Model(Option<String>),
    Models,
    Agents(Option<String>),
    New(Option<String>),
    History(usize),
    Context,
    Compact,
    Tools,
    Approve,
    Deny(Option<String>),
    Quit,
}

/// Messages that /history shows when no number is given.
const HISTORY: usize = 10;

/// Messages that /history shows at the most.
const MAX_HISTORY: usize = 200;

/// Name, what follows it, and what it does.
pub const ALL: [(&str, &str, &str); 17] = [
    ("/help", "", "this list"),
    (
        "/memory",
        "[LABEL]",
        "the memory blocks, or the whole text of one",
    ),
    (
        "/memory edit",
        "LABEL",
        "change a memory block in your editor (VISUAL or EDITOR)",
    ),
    (
        "/search",
        "QUERY",
        "search all conversations and the archival memory",
    ),
    ("/archive", "QUERY", "search the archival memory"),
    ("/remember", "TEXT", "put a text into the archival memory"),
    (
        "/model",
        "[HANDLE]",
        "the agent's model, or think with another one from now on",
    ),
    ("/models", "", "the models that there are"),
    (
        "/agents",
        "[AGENT]",
        "all agents, or go over to one, by name or id",
    ),
    ("/new", "[NAME]", "make an agent and go over to it"),
    ("/history", "[N]", "the last N messages (10 if left out)"),
    (
        "/context",
        "",
        "how full the model's context is, and with what",
    ),
    (
        "/compact",
        "",
        "replace the older messages in the context by a summary",
    ),
    ("/tools", "", "the agent's tools"),
    ("/approve", "", "let the tools run that wait for approval"),
    (
        "/deny",
        "[REASON]",
        "do not let them run; the agent is told why",
    ),
    ("/quit", "", "leave (also Ctrl-D)"),
];

/// What an entry is: a command, or a message for the agent.
///
/// # Errors
/// There is no such command, or it lacks something.
pub fn parse(entry: &str) -> Result<Result<Command, String>, ChatError> {
    let entry = entry.trim();
    if let Some(message) = entry.strip_prefix("//") {
        return Ok(Err(format!("/{message}")));
    }
    if !entry.starts_with('/') {
        return Ok(Err(entry.to_owned()));
    }
    let (name, rest) = entry
        .split_once(char::is_whitespace)
        .map_or((entry, ""), |(name, rest)| (name, rest.trim()));
    let optional = || Some(rest.to_owned()).filter(|rest| !rest.is_empty());
    let required = |what: &str| {
        optional().ok_or_else(|| ChatError::Usage(format!("{name} needs {what}: {name} {what}")))
    };
    let command = match name {
        "/help" | "/?" => Command::Help,
        "/memory" => memory(rest)?,
        "/search" => Command::Search(required("QUERY")?),
        "/archive" => Command::Archive(required("QUERY")?),
        "/remember" => Command::Remember(required("TEXT")?),
        "/model" => Command::Model(optional()),
        "/models" => Command::Models,
        "/agents" | "/agent" => Command::Agents(optional()),
        "/new" => Command::New(optional()),
        "/history" => Command::History(count(rest)?),
        "/context" => Command::Context,
        "/compact" => Command::Compact,
        "/tools" => Command::Tools,
        "/approve" => Command::Approve,
        "/deny" => Command::Deny(optional()),
        "/quit" | "/exit" => Command::Quit,
        _ => return Err(unknown(name)),
    };
    Ok(Ok(command))
}

fn memory(rest: &str) -> Result<Command, ChatError> {
    let edit = rest
        .strip_prefix("edit")
        .filter(|label| label.is_empty() || label.starts_with(char::is_whitespace));
    match (edit.map(str::trim), rest) {
        (Some(""), _) => Err(ChatError::Usage(
            "/memory edit needs LABEL: /memory edit LABEL".to_owned(),
        )),
        (Some(label), _) => Ok(Command::EditMemory(label.to_owned())),
        (None, "") => Ok(Command::Memory(None)),
        (None, label) => Ok(Command::Memory(Some(label.to_owned()))),
    }
}

fn count(rest: &str) -> Result<usize, ChatError> {
    if rest.is_empty() {
        return Ok(HISTORY);
    }
    let number = rest.parse().ok().filter(|number| *number > 0);
    let number: usize = number.ok_or_else(|| {
        ChatError::Usage(format!(
            "/history takes a number above 0, and '{rest}' is none"
        ))
    })?;
    Ok(number.min(MAX_HISTORY))
}

fn unknown(name: &str) -> ChatError {
    let distance = |known: &str| strsim::damerau_levenshtein(known, name);
    let nearest = ALL
        .iter()
        .map(|(known, _, _)| *known)
        .min_by_key(|known| distance(known))
        .filter(|known| distance(known) <= 2)
        .map_or_else(String::new, |known| format!(" (did you mean {known}?)"));
    ChatError::Usage(format!(
        "there is no command {name}{nearest}; /help lists all. To say something that begins with a \
         slash, write two of them"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_and_messages_are_told_apart() {
        let text = |text: &str| text.to_owned();
        for (entry, meant) in [
            ("hello /memory", Err(text("hello /memory"))),
            (" //etc is a folder", Err(text("/etc is a folder"))),
            ("/memory", Ok(Command::Memory(None))),
            ("/memory  human ", Ok(Command::Memory(Some(text("human"))))),
            ("/memory edit human", Ok(Command::EditMemory(text("human")))),
            ("/memory editor", Ok(Command::Memory(Some(text("editor"))))),
            (
                "/search red  boats",
                Ok(Command::Search(text("red  boats"))),
            ),
            ("/model", Ok(Command::Model(None))),
            ("/history", Ok(Command::History(10))),
            ("/history 3", Ok(Command::History(3))),
            ("/history 9999", Ok(Command::History(200))),
            ("/exit", Ok(Command::Quit)),
        ] {
            assert_eq!(parse(entry).unwrap(), meant, "{entry}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_command_is_said() {
        for (entry, said) in [
            ("/memry", "did you mean /memory?"),
            ("/search", "/search QUERY"),
            ("/memory edit", "/memory edit LABEL"),
            ("/history x", "'x' is none"),
        ] {
            let error = parse(entry).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn every_listed_command_exists() {
        for (name, argument, _) in ALL {
            let argument = argument.trim_matches(['[', ']']);
            let argument = if argument == "N" { "1" } else { argument };
            assert!(
                parse(&format!("{name} {argument}")).unwrap().is_ok(),
                "{name}"
            );
        }
    }
}

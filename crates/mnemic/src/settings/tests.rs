use std::path::Path;

use mnemic_core::plans::HolderKind;
use mnemic_llm::{Protocol, ToolForm};

use super::{file::parse, *};

fn load(flags: &[(&'static str, &str)], env: &dyn Fn(&str) -> Option<String>) -> Settings {
    let flags = flags
        .iter()
        .map(|(name, text)| (*name, (*text).to_owned()))
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mnemic.toml");
    std::fs::write(&file, "port = 1\nhost = \"0.0.0.0\"\n").unwrap();
    Settings::load(&Sources {
        flags,
        file: Some(file),
        env: Some(env),
    })
    .unwrap()
}

#[test]
#[cfg(not(feature = "failpoints"))]
fn mistyped_variables_are_found() {
    let names = ["MNEMIC_PORT", "MNEMIC_PROT", "PATH", "MNEMIC_CONFIG"].map(str::to_owned);
    assert_eq!(unknown_variables(names.into_iter()), ["MNEMIC_PROT"]);
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let env = |name: &str| (name == "LETTA_SERVER_PORT").then(|| "2".to_owned());
    let settings = load(&[], &env);
    assert_eq!(settings.number::<u16>("port").unwrap(), 2);
    assert_eq!(settings.value("port").unwrap().origin, "LETTA_SERVER_PORT");
    assert_eq!(settings.text("host"), "0.0.0.0");
    assert_eq!(load(&[("port", "3")], &env).text("port"), "3");
    assert_eq!(settings.text("queue_depth"), "32");
}

#[test]
fn an_unknown_key_names_the_nearest_one() {
    let error = parse(Path::new("mnemic.toml"), "databse_url = \"x\"").unwrap_err();
    assert!(error.to_string().contains("'database_url'"), "{error}");
    let error = parse(Path::new("mnemic.toml"), "prot = 1").unwrap_err();
    assert!(error.to_string().contains("'port'"), "{error}");
    let error = parse(Path::new("mnemic.toml"), "[[provider]]").unwrap_err();
    assert!(error.to_string().contains("'providers'"), "{error}");
}

#[test]
fn providers_are_read_and_incomplete_ones_refused() {
    let good = "[[providers]]\nname = \"a\"\nbase_url = \"http://127.0.0.1:1/v1\"\n";
    let FromFile { providers, .. } = parse(Path::new("x"), good).unwrap();
    assert_eq!(providers[0].name, "a");
    assert_eq!(providers[0].protocol, None);
    let FromFile { providers, .. } =
        parse(Path::new("x"), &format!("{good}protocol = \"anthropic\"\n")).unwrap();
    assert_eq!(providers[0].protocol, Some(Protocol::Anthropic));
    let FromFile { providers, .. } =
        parse(Path::new("x"), &format!("{good}tools = \"schema\"\n")).unwrap();
    assert_eq!(providers[0].tools, Some(ToolForm::Schema));
    let error = parse(Path::new("x"), &format!("{good}tools = \"none\"\n")).unwrap_err();
    assert!(error.to_string().contains("'native'"), "{error}");
    let error = parse(Path::new("x"), &format!("{good}protocol = \"gopher\"\n")).unwrap_err();
    assert!(error.to_string().contains("'openai-responses'"), "{error}");
    assert!(parse(Path::new("x"), "[[providers]]\nname = \"a\"\n").is_err());
    assert!(parse(Path::new("x"), &format!("{good}context_window = -9\n")).is_err());
    assert!(parse(Path::new("x"), &format!("{good}{good}")).is_err());
    assert!(parse(Path::new("x"), &format!("{good}colour = 1\n")).is_err());
}

#[test]
fn plans_are_read_and_their_mistakes_are_named() {
    let text =
        "[plans.free]\nmessages_per_day = 20\ncost_per_month = 0.5\n[limits]\nuser = \"free\"\n";
    let plans = parse(Path::new("x"), text).unwrap().plans;
    assert_eq!(plans.usual(HolderKind::User), Some("free"));
    assert_eq!(plans.usual(HolderKind::Agent), None);
    let limits = &plans.get("free").unwrap().limits;
    let limits: Vec<_> = limits
        .iter()
        .map(|limit| (limit.name, limit.most))
        .collect();
    assert_eq!(
        limits,
        [("messages_per_day", 20), ("cost_per_month", 500_000)]
    );
    for (wrong, named) in [
        ("[plans.free]\nmessages_per_year = 1\n", "messages_per_year"),
        ("[plans.\"\"]\nmessages_per_day = 1\n", "needs a name"),
        ("[plans.free]\nmessages_per_day = -1\n", "plans.free"),
        ("[plans.free]\nmessages_per_day = 1.5\n", "whole number"),
        ("[limits]\nuser = \"gold\"\n", "gold"),
        ("[limits]\nperson = \"free\"\n", "person"),
    ] {
        let error = parse(Path::new("x"), wrong).unwrap_err().to_string();
        assert!(error.contains(named), "{error}");
    }
}

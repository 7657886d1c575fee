#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::indexing_slicing, missing_docs)]
use mnemic_local::llm::*;
use std::time::Instant;
fn main() {
    let path = std::env::args().nth(1).unwrap();
    let host = Host::new(HostSettings::default());
    let ask = |messages: Vec<(&str, String)>, schema: Option<serde_json::Value>, max: usize| {
        let t = Instant::now();
        let r = Request { messages: messages.into_iter().map(|(r, c)| Message { role: r.into(), content: c }).collect(), schema, sampling: Sampling { temperature: 0.0, ..Sampling::default() }, max_tokens: Some(max), stop: vec![] };
        let mut rx = host.ask(std::path::Path::new(&path), r).unwrap();
        let mut first = None; let mut text = String::new();
        while let Some(p) = rx.blocking_recv() {
            match p { Piece::Text(t2) => { first.get_or_insert(t.elapsed()); text.push_str(&t2); }
                Piece::End(e, u) => { let f = first.unwrap_or_default(); let g = t.elapsed() - f; println!("{e:?} {u:?} first {:?} ({:.0} tok/s) rest {:.1} tok/s\n  {text:?}", f, (u.prompt - u.cached) as f64 / f.as_secs_f64(), u.answer as f64 / g.as_secs_f64()); }
                Piece::Failed(e) => println!("failed {e}") }
        }
        text
    };
    ask(vec![("user", "What is the capital of France?".into())], None, 40);
    let long: String = (0..60).map(|i| format!("The cat number {i} sat on the mat and looked at the moon. ")).collect();
    let a = ask(vec![("system", "You are brief.".into()), ("user", format!("{long} How many cats?"))], None, 64);
    ask(vec![("system", "You are brief.".into()), ("user", format!("{long} How many cats?")), ("assistant", a), ("user", "Thanks. What is 2+2?".into())], None, 64);
    let schema = serde_json::json!({"anyOf":[{"type":"object","properties":{"name":{"type":"string","enum":["archival_memory_search"]},"arguments":{"type":"object","properties":{"query":{"type":"string","maxLength":300}},"required":["query"],"additionalProperties":false}},"required":["name","arguments"],"additionalProperties":false},{"type":"object","properties":{"answer":{"type":"string"}},"required":["answer"],"additionalProperties":false}]});
    ask(vec![("system", "Answer with JSON: {\"name\":\"archival_memory_search\",\"arguments\":{\"query\":...}} or {\"answer\":...}".into()), ("user", "Where is my spare key?".into())], Some(schema), 64);
}

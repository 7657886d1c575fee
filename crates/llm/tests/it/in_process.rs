//! Models in the process, played by what says what it is told to say.

use std::sync::{Arc, Mutex};

use futures_util::{StreamExt, stream};
use mnemic_core::{
    messages::{MessageBody, Role},
    runs::Usage,
};
use mnemic_llm::{
    Call, Catalogue, Delta, Endpoint, EndpointConfig, FinishReason, InProcess, LlmError,
    LocalAnswer, LocalError, LocalModel, LocalModels, LocalPiece, LocalRequest, MessageView,
    ModelServer, Origin, ToolChoice, ToolForm, ToolSet, ToolSpec, Transcript,
};
use serde_json::json;

use crate::server::client;

/// Says one text in pieces, and keeps what it was asked.
#[derive(Debug)]
struct Says {
    text: &'static str,
    finish: FinishReason,
    asked: Mutex<Vec<LocalRequest>>,
}

impl LocalModels for Says {
    fn list(&self) -> Vec<LocalModel> {
        vec![LocalModel {
            id: "toy".to_owned(),
            context_window: 8_192,
            max_output_tokens: 100,
        }]
    }

    fn ask(&self, request: LocalRequest) -> Result<LocalAnswer, LocalError> {
        self.asked.lock().unwrap().push(request);
        let words = self.text.split_inclusive(' ');
        let mut pieces: Vec<LocalPiece> = words
            .map(|word| LocalPiece::Text(word.to_owned()))
            .collect();
        pieces.push(LocalPiece::End(self.finish, Usage::default()));
        Ok(Box::pin(stream::iter(pieces)))
    }
}

fn says(text: &'static str, finish: FinishReason) -> Arc<Says> {
    let asked = Mutex::default();
    Arc::new(Says {
        text,
        finish,
        asked,
    })
}

fn config(models: &Arc<Says>) -> EndpointConfig {
    let models = InProcess(Arc::clone(models) as Arc<dyn LocalModels>);
    EndpointConfig {
        tools: ToolForm::Schema,
        ..EndpointConfig::in_process(models)
    }
}

/// A call with a tool that takes a text, for an answer of 100 tokens.
fn call(models: &Arc<Says>) -> Call {
    let endpoint = Arc::new(Endpoint::new(config(models)).unwrap());
    let mut transcript = Transcript::for_endpoint(&endpoint);
    transcript.push(&MessageView {
        role: Role::User,
        body: &MessageBody::text("Remember it all."),
        name: None,
    });
    let mut call = Call::new(endpoint, "toy", "prompt".into(), transcript);
    call.tools = Arc::new(ToolSet::new(&[ToolSpec {
        name: "insert".into(),
        description: "Stores a text.".into(),
        parameters: json!({
            "type": "object",
            "properties": {"content": {"type": "string"}},
            "required": ["content"],
        }),
    }]));
    call.max_tokens = Some(100);
    call
}

const CUT: &str = r#"{"name":"insert","arguments":{"content":"On day one the ship"#;

#[tokio::test]
async fn a_call_that_its_limit_cut_off_is_an_error_and_never_a_broken_call() {
    let models = says(CUT, FinishReason::Length);
    let error = client().call(&call(&models)).await.unwrap_err();
    assert!(matches!(error, LlmError::InProcess { .. }), "{error:?}");
    for words in ["the text is too long", "max_output_tokens"] {
        assert!(error.to_string().contains(words), "{error}");
    }
    let mut call = call(&models);
    call.tool_choice = ToolChoice::Tool("insert".into());
    let stream = client().stream(&call).await.unwrap();
    let deltas: Vec<Result<Delta, LlmError>> = stream.collect().await;
    let shown = deltas.iter().flatten();
    let mut calls = shown.filter(|delta| matches!(delta, Delta::ToolCallStart { .. }));
    assert_eq!(calls.next(), None);
    assert_eq!(deltas.last(), Some(&Err(error)));
    assert_eq!(
        models.asked.lock().unwrap().len(),
        2,
        "it is not asked again"
    );
}

#[tokio::test]
async fn a_call_may_go_on_past_the_limit_and_words_end_before_it() {
    let models = says(r#"{"answer":"Half of it"#, FinishReason::Length);
    let mut long = call(&models);
    long.max_tokens = Some(5_000);
    for (call, most) in [(call(&models), 100), (long, 5_000)] {
        let completion = client().call(&call).await.unwrap();
        assert_eq!(completion.body, MessageBody::text("Half of it"));
        assert_eq!(completion.finish, FinishReason::Length);
        let asked = models.asked.lock().unwrap().pop().unwrap();
        assert_eq!(asked.max_tokens, Some(most));
        assert_eq!(asked.max_tokens_to_end, Some(most * 8));
        let schema = asked.schema.unwrap().to_string();
        let limit = format!(r#""maxLength":{}"#, (most - 16) * 3);
        assert!(schema.contains(&limit), "{schema}");
    }
    let mut plain = call(&models);
    plain.tools = Arc::default();
    client().call(&plain).await.unwrap();
    let asked = models.asked.lock().unwrap().pop().unwrap();
    assert_eq!((asked.schema, asked.max_tokens_to_end), (None, None));
}

#[tokio::test]
async fn a_model_in_the_process_is_the_default_only_while_no_named_server_is_silent() {
    let models = says("", FinishReason::Stop);
    let local = || Endpoint::new(config(&models)).unwrap();
    let catalogue = Catalogue::new(client(), vec![local()]);
    assert_eq!(catalogue.found_model().await.as_deref(), Some("local/toy"));
    let silent = |origin| {
        let ollama = ModelServer::Ollama.config("ollama", "http://127.0.0.1:9", origin);
        Endpoint::new(ollama).unwrap()
    };
    catalogue.replace(vec![silent(Origin::Environment), local()]);
    assert_eq!(catalogue.found_model().await, None);
    // What was found and is gone is dropped a moment later.
    catalogue.replace(vec![silent(Origin::Found), local()]);
    assert_eq!(catalogue.found_model().await.as_deref(), Some("local/toy"));
}

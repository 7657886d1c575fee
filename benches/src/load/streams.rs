//! Streams that are told again or stay open, and what turns write.

use std::{
    io,
    time::{Duration, Instant},
};

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{
    client::{Connection, OpenStream},
    figures::Quantiles,
    process,
    scenarios::Bench,
};

/// What a frame holds that tells of an event.
const EVENT_MARK: &str = "seq_id";

/// A tool in Python that may run beside others.
const DOUBLE: &str = "def double(n: int) -> int:\n    \"\"\"Doubles.\n\n    Args:\n        n: what is doubled\n    \"\"\"\n    return 2 * n\n";

/// Words of a stream that stays open, and the pause before each.
const WORDS: u32 = 120;
const PAUSE: Duration = Duration::from_millis(500);

/// For how long the memory is watched while all streams are open.
const WATCHED: Duration = Duration::from_secs(3);

/// Three calls of tools that run at the same time.
#[derive(Debug, Clone, Copy)]
pub enum Tools {
    /// The server's own.
    Own,
    /// Those that somebody wrote.
    Written,
}

fn message(text: &str) -> Value {
    json!([{"role": "user", "content": text}])
}

fn missing(what: &str) -> io::Error {
    io::Error::other(format!("no {what} in the answer"))
}

impl Bench {
    /// Makes a background run of so many events.
    ///
    /// # Errors
    /// A request failed, or there were fewer events.
    pub async fn long_run(&self, events: usize) -> io::Result<String> {
        let mut connection = self.connect().await?;
        let path = self.agent(&mut connection).await?;
        let body = json!({"messages": message(&format!("[[words {events}]] Tell all.")),
            "streaming": true, "stream_tokens": true, "background": true});
        let body = Bytes::from(body.to_string());
        let (status, text) = connection.send("POST", &path, body).await?;
        let text = String::from_utf8_lossy(&text).into_owned();
        let numbered =
            text.matches("\"seq_id\":").count() - text.matches("\"seq_id\":null").count();
        if status != 200 || numbered < events {
            return Err(io::Error::other(format!("{status}, {numbered} events")));
        }
        let id = text.split("\"run_id\":\"").nth(1);
        let id = id.and_then(|rest| rest.split('"').next());
        id.map(str::to_owned).ok_or_else(|| missing("run"))
    }

    /// The times to the first event of a run that is told again, after a number.
    ///
    /// # Errors
    /// A request failed.
    pub async fn resumes(&self, run: &str, after: usize, count: usize) -> io::Result<Quantiles> {
        let path = format!("/v1/runs/{run}/stream");
        let body = json!({"starting_after": after, "include_pings": false});
        let body = Bytes::from(body.to_string());
        let mut times = Vec::with_capacity(count);
        for _ in 0..count {
            let mut connection = self.connect().await?;
            times.push(
                connection
                    .stream(&path, body.clone(), EVENT_MARK)
                    .await?
                    .first_text,
            );
        }
        Ok(Quantiles::of(times))
    }

    /// The megabytes that the server holds more while so many streams are open, each of an agent of its own.
    ///
    /// # Errors
    /// A request failed, or the first stream ended before the memory was read.
    pub async fn open_streams(&self, count: usize, server: u32) -> io::Result<f64> {
        let mut connection = self.connect().await?;
        let mut paths = Vec::with_capacity(count);
        for _ in 0..count {
            paths.push(self.agent(&mut connection).await?);
        }
        let before = process::memory_mb(server);
        let text = format!(
            "[[words {WORDS}]] [[delay {}]] Tell slowly.",
            PAUSE.as_millis()
        );
        let body = json!({"messages": message(&text), "streaming": true, "stream_tokens": true});
        let body = Bytes::from(body.to_string());
        let begun = Instant::now();
        let mut opening = JoinSet::new();
        for path in paths {
            let (bench, body) = (*self, body.clone());
            opening.spawn(async move {
                let connection = bench.connect().await?;
                let mut stream = connection.open_stream(&path, body).await?;
                stream.wait_for("assistant_message").await?;
                Ok::<_, io::Error>(stream)
            });
        }
        let mut open: Vec<OpenStream> = Vec::with_capacity(count);
        while let Some(joined) = opening.join_next().await {
            open.push(joined.map_err(io::Error::other)??);
        }
        let all_open = Instant::now();
        let mut most = 0.0_f64;
        while all_open.elapsed() < WATCHED {
            most = most.max(process::memory_mb(server));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        if begun.elapsed() > PAUSE * WORDS {
            return Err(io::Error::other(
                "the first stream ended before the last began",
            ));
        }
        drop(open);
        Ok(most - before)
    }

    /// Commits of a turn with three tools at the same time: the median of some turns.
    ///
    /// # Errors
    /// A request failed.
    pub async fn commits(&self, tools: Tools, turns: usize) -> io::Result<f64> {
        let mut connection = self.connect().await?;
        let path = self.agent(&mut connection).await?;
        let call = match tools {
            Tools::Own => "[[call conversation_search {\"query\": \"boats\"}]]",
            Tools::Written => {
                self.give_tool(&mut connection, &path).await?;
                "[[call double {\"n\": 2}]]"
            }
        };
        let mut counts = Vec::with_capacity(turns);
        for number in 0..turns {
            let before = commits(&mut connection).await?;
            let body = json!({"messages": message(&format!("{number} {call}{call}{call}"))});
            let answer = connection.json("POST", &path, &body).await?;
            let steps = answer.pointer("/usage/step_count").and_then(Value::as_i64);
            if steps != Some(2) {
                return Err(io::Error::other(format!("{steps:?} steps in {answer}")));
            }
            counts.push(commits(&mut connection).await? - before);
        }
        Ok(Quantiles::of(counts).p50)
    }

    /// Gives an agent a tool that may run beside others.
    async fn give_tool(&self, connection: &mut Connection, path: &str) -> io::Result<()> {
        let tool = json!({"source_code": DOUBLE, "enable_parallel_execution": true});
        let tool = connection.json("POST", "/v1/tools/", &tool).await?;
        let id = tool.get("id").and_then(Value::as_str);
        let id = id.ok_or_else(|| missing("id of a tool"))?;
        let agent = path.trim_end_matches("/messages");
        let attach = format!("{agent}/tools/attach/{id}");
        connection
            .json("PATCH", &attach, &Value::Null)
            .await
            .map(drop)
    }
}

/// Commits that the server has made.
async fn commits(connection: &mut Connection) -> io::Result<f64> {
    let (_, text) = connection.send("GET", "/metrics", Bytes::new()).await?;
    let text = String::from_utf8_lossy(&text);
    let mut lines = text.lines();
    let count = lines.find_map(|line| line.strip_prefix("mnemic_commits_total "));
    let count = count.and_then(|count| count.trim().parse().ok());
    count.ok_or_else(|| missing("count of commits"))
}

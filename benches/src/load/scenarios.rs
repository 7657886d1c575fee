//! What is measured.

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use serde_json::{Value, json};

use super::{client::Connection, client::StreamTimes, figures::Quantiles};

/// The model that the scripted server plays, by the handle that the server publishes.
const MODEL: &str = "openai-proxy/scripted";

/// Turns on an agent before the next is taken: the requests to the model stay within the 16 KB for which
/// the figures are asked.
const TURNS_ON_AGENT: usize = 40;

/// What a frame holds that brings text of the scripted model's default answer.
const TEXT_MARK: &str = "Reply";

/// The server under test and the model behind it.
#[derive(Debug, Clone, Copy)]
pub struct Bench {
    /// The server.
    pub server: SocketAddr,
    /// The scripted model.
    pub model: SocketAddr,
}

fn turn(text: &str) -> Bytes {
    Bytes::from(json!({"messages": [{"role": "user", "content": text}]}).to_string())
}

fn millis(begun: Instant) -> f64 {
    begun.elapsed().as_secs_f64() * 1e3
}

/// A connection and the agents that are talked to over it, one after the other.
pub struct Talk {
    connection: Connection,
    paths: Vec<String>,
    turns: usize,
}

impl Talk {
    /// Sends the next turn; the time it took in milliseconds.
    async fn turn(&mut self) -> io::Result<f64> {
        let text = format!("Turn {}: good day.", self.turns);
        let path = self.paths.get(self.turns / TURNS_ON_AGENT);
        let path = path.or(self.paths.last()).map_or("", String::as_str);
        self.turns += 1;
        one_turn(&mut self.connection, path, &text).await
    }
}

/// Sends one turn; the time it took in milliseconds.
async fn one_turn(connection: &mut Connection, path: &str, text: &str) -> io::Result<f64> {
    let begun = Instant::now();
    let (status, body) = connection.send("POST", path, turn(text)).await?;
    if status != 200 {
        let text = String::from_utf8_lossy(&body)
            .chars()
            .take(300)
            .collect::<String>();
        return Err(io::Error::other(format!("{status} {text}")));
    }
    Ok(millis(begun))
}

impl Bench {
    /// Makes an agent with four blocks; returns the path of its messages.
    ///
    /// # Errors
    /// The server refused it.
    pub async fn agent(&self, connection: &mut Connection) -> io::Result<String> {
        let block =
            |label: &str| json!({"label": label, "value": "Something to remember. ".repeat(20)});
        let blocks = ["human", "persona", "project", "notes"].map(block);
        let body = json!({"model": MODEL, "memory_blocks": blocks});
        let agent = connection.json("POST", "/v1/agents/", &body).await?;
        let id = agent.get("id").and_then(Value::as_str).unwrap_or_default();
        Ok(format!("/v1/agents/{id}/messages"))
    }

    /// A connection to the server.
    ///
    /// # Errors
    /// Nobody listens there.
    pub async fn connect(&self) -> io::Result<Connection> {
        Connection::open(self.server).await
    }

    /// Agents made per second, one at a time.
    ///
    /// # Errors
    /// A request failed.
    pub async fn create_agents(&self, count: usize) -> io::Result<f64> {
        let mut connection = self.connect().await?;
        let begun = Instant::now();
        for _ in 0..count {
            self.agent(&mut connection).await?;
        }
        Ok(count as f64 / begun.elapsed().as_secs_f64())
    }

    /// A connection with as many agents as so many turns need.
    async fn talk(&self, turns: usize) -> io::Result<Talk> {
        let mut connection = self.connect().await?;
        let mut paths = Vec::new();
        for _ in 0..turns.div_ceil(TURNS_ON_AGENT).max(1) {
            paths.push(self.agent(&mut connection).await?);
        }
        Ok(Talk {
            connection,
            paths,
            turns: 0,
        })
    }

    /// Turns one after the other on one agent, however long it grows; the time of each in milliseconds.
    ///
    /// # Errors
    /// A request failed.
    pub async fn one_agent(&self, turns: usize) -> io::Result<Vec<f64>> {
        let mut connection = self.connect().await?;
        let path = self.agent(&mut connection).await?;
        let mut times = Vec::with_capacity(turns);
        for number in 0..turns {
            times.push(
                one_turn(&mut connection, &path, &format!("Turn {number}: good day.")).await?,
            );
        }
        Ok(times)
    }

    /// Turns one after the other; the time of each in milliseconds.
    ///
    /// # Errors
    /// A request failed.
    pub async fn sequential(&self, turns: usize) -> io::Result<Vec<f64>> {
        let mut talk = self.talk(turns).await?;
        let mut times = Vec::with_capacity(turns);
        for _ in 0..turns {
            times.push(talk.turn().await?);
        }
        Ok(times)
    }

    /// Many conversations with agents enough for so long.
    ///
    /// # Errors
    /// An agent could not be made.
    pub async fn talks(&self, count: usize, length: Duration) -> io::Result<Vec<Talk>> {
        /// Turns a second beyond what is reached, so that no conversation runs out of agents.
        const RATE: f64 = 3_000.0;
        let each = (RATE * length.as_secs_f64()) as usize / count.max(1);
        let mut talks = Vec::new();
        for _ in 0..count {
            talks.push(self.talk(each).await?);
        }
        Ok(talks)
    }

    /// Turns in many conversations at once, each as fast as it is answered.
    ///
    /// # Errors
    /// A request failed.
    pub async fn closed_loop(
        &self,
        talks: Vec<Talk>,
        length: Duration,
    ) -> io::Result<(f64, Quantiles)> {
        let begun = Instant::now();
        let mut tasks = tokio::task::JoinSet::new();
        for mut talk in talks {
            tasks.spawn(async move {
                let mut times = Vec::new();
                while begun.elapsed() < length {
                    times.push(talk.turn().await?);
                }
                Ok::<_, io::Error>(times)
            });
        }
        let mut times = Vec::new();
        while let Some(joined) = tasks.join_next().await {
            times.extend(joined.map_err(io::Error::other)??);
        }
        let rate = times.len() as f64 / begun.elapsed().as_secs_f64();
        Ok((rate, Quantiles::of(times)))
    }

    /// The largest request to the model since this was asked last, in KB.
    ///
    /// # Errors
    /// The model does not answer.
    pub async fn largest_request(&self) -> io::Result<f64> {
        let mut direct = Connection::open(self.model).await?;
        let told = direct.json("GET", "/control", &Value::Null).await?;
        let bytes = told.get("largest_request").and_then(Value::as_f64);
        Ok(bytes.unwrap_or_default() / 1e3)
    }

    /// Turns at a fixed rate, whether the server keeps up or not; a turn's time counts from when it
    /// was due, so that a stall is not hidden by fewer requests.
    ///
    /// # Errors
    /// A request failed.
    pub async fn open_loop(&self, rate: f64, length: Duration) -> io::Result<Quantiles> {
        const TALKS: usize = 128;
        let total = (rate * length.as_secs_f64()) as usize;
        let due = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let mut tasks = tokio::task::JoinSet::new();
        let mut talks = Vec::new();
        for _ in 0..TALKS {
            // Some get more than their share.
            talks.push(self.talk(2 * total / TALKS).await?);
        }
        let begun = tokio::time::Instant::now() + Duration::from_millis(50);
        for mut talk in talks {
            let due = Arc::clone(&due);
            tasks.spawn(async move {
                let mut times = Vec::new();
                loop {
                    let number = due.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    if number >= total {
                        return Ok::<_, io::Error>(times);
                    }
                    let at = begun + Duration::from_secs_f64(number as f64 / rate);
                    tokio::time::sleep_until(at).await;
                    talk.turn().await?;
                    times.push(at.elapsed().as_secs_f64() * 1e3);
                }
            });
        }
        let mut times = Vec::new();
        while let Some(joined) = tasks.join_next().await {
            times.extend(joined.map_err(io::Error::other)??);
        }
        Ok(Quantiles::of(times))
    }

    /// Streams by token through the server, and each time the same request to the model itself.
    ///
    /// # Errors
    /// A request failed.
    pub async fn streams(&self, count: usize) -> io::Result<(Vec<StreamTimes>, Vec<StreamTimes>)> {
        let mut connection = self.connect().await?;
        let mut path = String::new();
        let body = json!({"messages": [{"role": "user", "content": "Good day."}],
            "stream_tokens": true});
        let body = Bytes::from(body.to_string());
        let mut direct = Connection::open(self.model).await?;
        let record = |wanted: bool| json!({"record": wanted});
        direct.json("POST", "/control", &record(true)).await?;
        let (mut through, mut alone) = (Vec::new(), Vec::new());
        for number in 0..count {
            if number.is_multiple_of(TURNS_ON_AGENT) {
                path = format!("{}/stream", self.agent(&mut connection).await?);
            }
            through.push(connection.stream(&path, body.clone(), TEXT_MARK).await?);
            let requests = direct.json("GET", "/requests", &Value::Null).await?;
            let same = requests.as_array().and_then(|requests| requests.last());
            let same = Bytes::from(same.unwrap_or(&Value::Null).to_string());
            alone.push(
                direct
                    .stream("/v1/chat/completions", same, TEXT_MARK)
                    .await?,
            );
            direct.send("DELETE", "/requests", Bytes::new()).await?;
        }
        direct.json("POST", "/control", &record(false)).await?;
        Ok((through, alone))
    }

    /// The times of a GET.
    ///
    /// # Errors
    /// A request failed.
    pub async fn gets(&self, path: &str, count: usize) -> io::Result<Quantiles> {
        let mut connection = self.connect().await?;
        let mut times = Vec::new();
        for _ in 0..count {
            let begun = Instant::now();
            let (status, _) = connection.send("GET", path, Bytes::new()).await?;
            if status != 200 {
                return Err(io::Error::other(format!("GET {path}: {status}")));
            }
            times.push(millis(begun));
        }
        Ok(Quantiles::of(times))
    }

    /// An agent with many captured messages; returns the path of its messages.
    ///
    /// # Errors
    /// A request failed.
    pub async fn filled_agent(&self, messages: usize) -> io::Result<String> {
        let mut connection = self.connect().await?;
        let path = self.agent(&mut connection).await?;
        let turn = |number: usize| {
            let role = if number.is_multiple_of(2) {
                "user"
            } else {
                "assistant"
            };
            json!({"role": role, "content": format!("Message {number} of a long conversation.")})
        };
        let turns: Vec<Value> = (0..messages).map(turn).collect();
        let body = json!({"messages": turns});
        connection
            .json("POST", &format!("{path}/capture"), &body)
            .await?;
        Ok(path)
    }
}

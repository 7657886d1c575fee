//! The archival memory of agents under load.

use std::{
    io,
    net::SocketAddr,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use serde_json::{Value, json};

use super::{client::Connection, figures::Quantiles, texts};

/// Passages of one request.
const BATCH: usize = 500;
/// Different questions: fewer than the vectors of queries that the server keeps.
const QUESTIONS: usize = 100;
/// Different questions of many agents who ask the same.
const SHARED_QUESTIONS: usize = 10;
/// Results of a search.
const TOP_K: usize = 10;
/// How long vectors are waited for without any progress.
const PATIENCE: Duration = Duration::from_secs(120);

/// An agent with one archive.
#[derive(Debug, Clone)]
pub struct Rememberer {
    /// The agent's id.
    pub agent: String,
    archive: String,
    /// Its passages, by their numbers.
    passages: Range<usize>,
}

/// The server under test.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    /// The server.
    pub server: SocketAddr,
    /// Words of a passage.
    pub words: usize,
}

fn id(of: &Value) -> io::Result<String> {
    let id = of.get("id").and_then(Value::as_str);
    id.map(str::to_owned)
        .ok_or_else(|| io::Error::other(format!("no id in {of}")))
}

impl Memory {
    /// An agent with an archive that holds nothing yet. Its passages will be numbered from `first` on, so that no
    /// two agents have the same ones.
    ///
    /// # Errors
    /// The server refused.
    pub async fn rememberer(&self, first: usize) -> io::Result<Rememberer> {
        let mut connection = Connection::open(self.server).await?;
        let body = json!({"model": "openai-proxy/scripted", "include_base_tools": false});
        let agent = id(&connection.json("POST", "/v1/agents/", &body).await?)?;
        let body = json!({"name": format!("passages from {first}")});
        let archive = id(&connection.json("POST", "/v1/archives", &body).await?)?;
        let path = format!("/v1/agents/{agent}/archives/attach/{archive}");
        connection.json("PATCH", &path, &Value::Null).await?;
        Ok(Rememberer {
            agent,
            archive,
            passages: first..first,
        })
    }

    /// Deletes agent and archive.
    ///
    /// # Errors
    /// The server refused.
    pub async fn forget(&self, of: &Rememberer) -> io::Result<()> {
        let mut connection = Connection::open(self.server).await?;
        for path in [
            format!("/v1/archives/{}", of.archive),
            format!("/v1/agents/{}", of.agent),
        ] {
            let (status, body) = connection.send("DELETE", &path, Bytes::new()).await?;
            if status >= 300 {
                let text = String::from_utf8_lossy(&body).into_owned();
                return Err(io::Error::other(format!("DELETE {path}: {status} {text}")));
            }
        }
        Ok(())
    }

    /// Writes passages in batches, one after the other; returns how many a second. With `searching`, each batch
    /// is followed by a search that must find its last passage.
    ///
    /// # Errors
    /// A request failed, or a passage was not found at once.
    pub async fn fill(
        &self,
        of: &mut Rememberer,
        count: usize,
        searching: bool,
    ) -> io::Result<f64> {
        let mut connection = Connection::open(self.server).await?;
        let path = format!("/v1/archives/{}/passages/batch", of.archive);
        let end = of.passages.end + count;
        let mut spent = Duration::ZERO;
        while of.passages.end < end {
            let upto = end.min(of.passages.end + BATCH);
            let passage = |number| json!({"text": texts::passage(number, self.words)});
            let passages: Vec<Value> = (of.passages.end..upto).map(passage).collect();
            let body = Bytes::from(json!({"passages": passages}).to_string());
            let begun = Instant::now();
            let (status, answer) = connection.send("POST", &path, body).await?;
            if status != 200 {
                let text = String::from_utf8_lossy(&answer)
                    .chars()
                    .take(300)
                    .collect::<String>();
                return Err(io::Error::other(format!("POST {path}: {status} {text}")));
            }
            of.passages.end = upto;
            if searching {
                self.find(&mut connection, of, upto - 1).await?;
            }
            spent += begun.elapsed();
        }
        Ok(count as f64 / spent.as_secs_f64())
    }

    /// Writes passages by single requests of so many clients at once; returns how many a second.
    ///
    /// # Errors
    /// A request failed, or the last passage was not found at once.
    pub async fn fill_singly(
        &self,
        of: &mut Rememberer,
        count: usize,
        clients: usize,
    ) -> io::Result<f64> {
        let (first, end) = (of.passages.end, of.passages.end + count);
        let next = Arc::new(AtomicUsize::new(first));
        let path = format!("/v1/agents/{}/archival-memory", of.agent);
        let mut tasks = tokio::task::JoinSet::new();
        let begun = Instant::now();
        for _ in 0..clients {
            let mut connection = Connection::open(self.server).await?;
            let (next, path, words) = (Arc::clone(&next), path.clone(), self.words);
            tasks.spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= end {
                        return Ok::<_, io::Error>(());
                    }
                    let body = json!({"text": texts::passage(number, words)});
                    connection.json("POST", &path, &body).await?;
                }
            });
        }
        while let Some(joined) = tasks.join_next().await {
            joined.map_err(io::Error::other)??;
        }
        let rate = count as f64 / begun.elapsed().as_secs_f64();
        of.passages.end = end;
        let mut connection = Connection::open(self.server).await?;
        self.find(&mut connection, of, end - 1).await?;
        Ok(rate)
    }

    /// Searches for a passage by the word that only it has.
    async fn find(
        &self,
        connection: &mut Connection,
        of: &Rememberer,
        number: usize,
    ) -> io::Result<()> {
        let mark = texts::mark(number);
        let (_, answer) = search(connection, of, &mark).await?;
        let results = answer.get("results").and_then(Value::as_array);
        let texts = results.into_iter().flatten();
        let mut texts = texts.filter_map(|result| result.get("content")?.as_str());
        if texts.any(|text| text.ends_with(&mark)) {
            return Ok(());
        }
        let told = format!("passage {number} was stored and is not found at once: {answer}");
        Err(io::Error::other(told))
    }

    /// Waits until all passages have their vectors; returns how many a second got them.
    ///
    /// # Errors
    /// A request failed, or nothing happens any more.
    pub async fn embedded(&self, of: &Rememberer) -> io::Result<f64> {
        let mut connection = Connection::open(self.server).await?;
        let begun = Instant::now();
        let (mut before, mut moved, mut at_first) = (0.0, Instant::now(), None);
        loop {
            let (_, answer) = search(&mut connection, of, "how far is it").await?;
            let share = answer.get("embedded_share").and_then(Value::as_f64);
            let share = share.unwrap_or_default();
            let first = *at_first.get_or_insert(share);
            if share >= 1.0 {
                let made = (1.0 - first) * of.passages.len() as f64;
                return Ok(made / begun.elapsed().as_secs_f64());
            }
            if share > before {
                (before, moved) = (share, Instant::now());
            }
            if moved.elapsed() > PATIENCE {
                let told = format!("vectors of {:.0} % are missing", 100.0 - share * 100.0);
                return Err(io::Error::other(told));
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }

    /// The time of one search, in milliseconds: the first after a start, if nobody asked before.
    ///
    /// # Errors
    /// The request failed.
    pub async fn one_search(&self, of: &Rememberer) -> io::Result<f64> {
        let mut connection = Connection::open(self.server).await?;
        let question = self.question(of, 0);
        search(&mut connection, of, &question)
            .await
            .map(|(time, _)| time)
    }

    /// The times of searches one after the other. Each question is asked before the time is taken, so that the
    /// vectors of the questions are at hand.
    ///
    /// # Errors
    /// A request failed.
    pub async fn searches(&self, of: &Rememberer, count: usize) -> io::Result<Quantiles> {
        let mut connection = Connection::open(self.server).await?;
        for number in 0..QUESTIONS.min(count) {
            search(&mut connection, of, &self.question(of, number)).await?;
        }
        let mut times = Vec::with_capacity(count);
        for number in 0..count {
            let question = self.question(of, number);
            times.push(search(&mut connection, of, &question).await?.0);
        }
        Ok(Quantiles::of(times))
    }

    /// Searches of many agents at once; each asks `every` so often, or as soon as it is answered. A search that had
    /// to wait for the one before it counts from when it was due.
    ///
    /// # Errors
    /// A request failed.
    pub async fn searches_at_once(
        &self,
        of: &[Rememberer],
        length: Duration,
        every: Option<Duration>,
    ) -> io::Result<Quantiles> {
        let mut tasks = tokio::task::JoinSet::new();
        let count = of.len().max(1);
        for (place, one) in of.iter().enumerate() {
            let (memory, one) = (*self, one.clone());
            let mut connection = Connection::open(self.server).await?;
            // The same for all: their vectors are at hand after one round.
            for number in 0..SHARED_QUESTIONS {
                search(&mut connection, &one, &texts::question(number, self.words)).await?;
            }
            let offset = place as f64 / count as f64;
            tasks.spawn(memory.agent_searches(connection, one, (length, every), offset));
        }
        let mut times = Vec::new();
        while let Some(joined) = tasks.join_next().await {
            times.extend(joined.map_err(io::Error::other)??);
        }
        Ok(Quantiles::of(times))
    }

    async fn agent_searches(
        self,
        mut connection: Connection,
        of: Rememberer,
        (length, every): (Duration, Option<Duration>),
        offset: f64,
    ) -> io::Result<Vec<f64>> {
        let begun = tokio::time::Instant::now();
        let mut due = begun + every.unwrap_or_default().mul_f64(offset);
        let mut times = Vec::new();
        for number in 0.. {
            tokio::time::sleep_until(due).await;
            if begun.elapsed() >= length {
                break;
            }
            let question = texts::question(number % SHARED_QUESTIONS, self.words);
            search(&mut connection, &of, &question).await?;
            times.push(due.elapsed().as_secs_f64() * 1e3);
            due = every.map_or_else(tokio::time::Instant::now, |every| due + every);
        }
        Ok(times)
    }

    fn question(&self, of: &Rememberer, number: usize) -> String {
        let step = (of.passages.len() / QUESTIONS).max(1);
        texts::question(of.passages.start + number % QUESTIONS * step, self.words)
    }
}

/// Searches the memory of an agent; how many milliseconds that took, and the answer.
async fn search(
    connection: &mut Connection,
    of: &Rememberer,
    query: &str,
) -> io::Result<(f64, Value)> {
    let query = query.replace(' ', "%20");
    let path = format!(
        "/v1/agents/{}/archival-memory/search?top_k={TOP_K}&query={query}",
        of.agent
    );
    let begun = Instant::now();
    let (status, body) = connection.send("GET", &path, Bytes::new()).await?;
    let time = begun.elapsed().as_secs_f64() * 1e3;
    if status != 200 {
        let text = String::from_utf8_lossy(&body)
            .chars()
            .take(300)
            .collect::<String>();
        return Err(io::Error::other(format!("GET {path}: {status} {text}")));
    }
    let answer: Value = serde_json::from_slice(&body)?;
    Ok((time, answer))
}

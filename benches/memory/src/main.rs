//! Measures how well what was said is found again.
//!
//!     cargo run --release -p mnemic-memory-bench

use std::{
    error::Error,
    io::{self, Write as _},
    path::PathBuf,
    time::Duration,
};

use clap::{Args, Parser};
use mnemic_memory_bench::{
    conversation::{Conversation, pooled},
    corpus::{self, Corpus, Form},
    dump::{Misses, Scores},
    judge::{Judge, Judged},
    report::{self, Data, Report},
    retrievers::{Searched, Variant, WHOLE, variants},
    sources::{generated, locomo, longmemeval, shipped},
    summary,
    vectors::{Folders, Vectors},
};

/// The development set, as it lies in the repository.
const SHIPPED: &str = "benches/memory/data";

/// Hits that are asked for: enough texts for the largest context.
const DEPTH: usize = 200;

/// Measures how well what was said is found again, on labelled long conversations.
#[derive(Debug, Parser)]
#[command(about)]
struct Options {
    #[command(flatten)]
    source: Source,
    /// Measure no more than so many conversations.
    #[arg(long, default_value_t = usize::MAX, hide_default_value = true)]
    conversations: usize,
    /// Ask only the questions of these sets: `own` stand in the conversations' files, others are named by
    /// their folders.
    #[arg(long, value_delimiter = ',')]
    sets: Vec<String>,
    /// Index turns as passages that stand alone.
    #[arg(long)]
    as_passages: bool,
    /// Put all conversations into one index.
    #[arg(long)]
    pooled: bool,
    /// Measure without vectors.
    #[arg(long)]
    no_vectors: bool,
    /// Measure only these, by their names in the table.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Where the models are, if not where Mnemic has them.
    #[arg(long)]
    models: Option<PathBuf>,
    /// Write the figures as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Write the scores and their parts that the whole retriever gives as CSV.
    #[arg(long)]
    dump_scores: Option<PathBuf>,
    /// Hits of a question in that file.
    #[arg(long, default_value_t = DEPTH)]
    dump_depth: usize,
    /// Write down the questions whose evidence the whole retriever misses.
    #[arg(long)]
    misses: Option<PathBuf>,
}

/// Where conversations come from; the shipped ones unless another source is named.
#[derive(Debug, Args)]
#[group(multiple = false)]
struct Source {
    /// A file or folder in the format of the shipped conversations.
    #[arg(long)]
    data: Option<PathBuf>,
    /// The JSON file of LoCoMo.
    #[arg(long)]
    locomo: Option<PathBuf>,
    /// A JSON file of LongMemEval.
    #[arg(long)]
    longmemeval: Option<PathBuf>,
    /// Make a conversation of so many turns.
    #[arg(long)]
    generated: Option<usize>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let (source, mut conversations) = load(&options)?;
    conversations.truncate(options.conversations);
    if !options.sets.is_empty() {
        conversations
            .iter_mut()
            .for_each(|one| one.keep_sets(&options.sets));
    }
    if options.pooled {
        conversations = vec![pooled(conversations)];
    }
    let form = if options.as_passages {
        Form::Passages
    } else {
        Form::Turns
    };
    let model = if options.no_vectors {
        None
    } else {
        let mut folders = Folders::usual();
        folders.models = options.models.clone().unwrap_or(folders.models);
        let mut model = Vectors::open(&folders)?;
        corpus::prepare(&conversations, form, &mut model)?;
        Some(model)
    };
    let mut chosen = chosen(&options.only)?;
    chosen.retain(|variant| model.is_some() || !variant.needs_vectors());
    let report = measure(&options, source, &conversations, &chosen, |conversation| {
        Corpus::new(conversation, form, model.as_ref())
    })?;
    report::write(&mut io::stdout().lock(), &report)?;
    if let Some(path) = &options.json {
        std::fs::write(path, serde_json::to_vec_pretty(&report)?)?;
    }
    Ok(())
}

fn load(options: &Options) -> Result<(String, Vec<Conversation>), Box<dyn Error>> {
    let source = &options.source;
    let named = |path: &PathBuf| path.display().to_string();
    if let Some(path) = &source.locomo {
        let read = locomo::load(path)?;
        if read.lost_labels > 0 {
            let lost = read.lost_labels;
            writeln!(
                io::stderr(),
                "{lost} labels of evidence name no turn and are left out"
            )?;
        }
        return Ok((named(path), read.conversations));
    }
    if let Some(path) = &source.longmemeval {
        return Ok((named(path), longmemeval::load(path, options.conversations)?));
    }
    if let Some(turns) = source.generated {
        return Ok(("generated".to_owned(), vec![generated::generate(turns, 1)]));
    }
    let path = source
        .data
        .clone()
        .unwrap_or_else(|| PathBuf::from(SHIPPED));
    Ok((named(&path), shipped::load(&path)?))
}

fn chosen(only: &[String]) -> Result<Vec<Variant>, String> {
    let all = variants();
    let known = |name: &String| all.iter().any(|variant| variant.name == name.trim());
    if let Some(name) = only.iter().find(|name| !known(name)) {
        let names: Vec<&str> = all.iter().map(|variant| variant.name.as_str()).collect();
        return Err(format!(
            "there is no {name:?}; there are: {}",
            names.join(", ")
        ));
    }
    let is_chosen = |variant: &Variant| only.iter().any(|name| variant.name == name.trim());
    let chosen = all
        .into_iter()
        .filter(|variant| only.is_empty() || is_chosen(variant));
    Ok(chosen.collect())
}

/// Asks all questions in all ways.
fn measure<'a>(
    options: &Options,
    source: String,
    conversations: &'a [Conversation],
    chosen: &[Variant],
    prepared: impl Fn(&'a Conversation) -> Corpus<'a>,
) -> io::Result<Report> {
    let mut scores = options
        .dump_scores
        .as_deref()
        .map(Scores::create)
        .transpose()?;
    let mut misses = options.misses.as_deref().map(Misses::create).transpose()?;
    let mut judged: Vec<Vec<Judged>> = vec![Vec::new(); chosen.len()];
    let (mut built, mut bytes) = (Duration::ZERO, 0);
    for conversation in conversations {
        let corpus = prepared(conversation);
        let searched = Searched::new(&corpus);
        let judge = Judge::new(&corpus);
        built += searched.built;
        bytes += searched.bytes();
        for (variant, judged) in chosen.iter().zip(&mut judged) {
            for question in &conversation.questions {
                let ranking = searched.ask(question, &variant.way, DEPTH);
                judged.push(judge.judge(question, &ranking));
                if variant.name != WHOLE {
                    continue;
                }
                if let Some(misses) = &mut misses {
                    misses.write(&corpus, question, &ranking)?;
                }
                if let Some(scores) = &mut scores {
                    let ranking = searched.ask(question, &variant.way, options.dump_depth);
                    scores.write(&corpus, question, &ranking)?;
                }
            }
        }
    }
    let whole = chosen.iter().position(|variant| variant.name == WHOLE);
    let whole = whole
        .and_then(|place| judged.get(place))
        .map(|of| summary::recalls(of));
    let summaries = chosen.iter().zip(&judged).map(|(variant, judged)| {
        let whole = whole.as_deref().filter(|_| variant.name != WHOLE);
        summary::sum_up(&variant.name, judged, whole)
    });
    Ok(Report {
        data: Data {
            source,
            conversations: conversations.len(),
            turns: conversations.iter().map(|one| one.turns.len()).sum(),
            questions: conversations.iter().map(|one| one.questions.len()).sum(),
            index_seconds: built.as_secs_f64(),
            index_megabytes: bytes as f64 / 1e6,
        },
        variants: summaries.collect(),
    })
}

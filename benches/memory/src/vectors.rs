//! Vectors of texts, kept in a file of the user's cache: each text is embedded once.

use std::{
    collections::{HashMap, HashSet},
    fs::{File, OpenOptions},
    io::{self, BufReader, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use mnemic_local::{Embedder, Model, ModelCache, manifest, pull};
use sha2::{Digest as _, Sha256};

/// Texts that a thread embeds before it writes them down: what is done is not lost by an interruption.
const BATCH: usize = 64;

/// The sum of a text with its prefix.
type Key = [u8; 32];

/// What a text is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To find others.
    Query,
    /// To be found.
    Passage,
}

/// Where files are.
#[derive(Debug, Clone)]
pub struct Folders {
    /// The folder of models.
    pub models: PathBuf,
    /// The folder of computed vectors.
    pub vectors: PathBuf,
}

impl Folders {
    /// Below the user's cache folder, where Mnemic has its models.
    #[must_use]
    pub fn usual() -> Self {
        let cache = directories::ProjectDirs::from("", "", "mnemic")
            .map_or_else(std::env::temp_dir, |dirs| dirs.cache_dir().to_owned());
        let models = std::env::var_os("MNEMIC_MODELS_DIR");
        Self {
            models: models.map_or_else(|| cache.join("models"), PathBuf::from),
            vectors: cache.join("memory-bench"),
        }
    }
}

/// A model that makes vectors, and those that it made.
#[derive(Debug)]
pub struct Vectors {
    embedder: Embedder,
    file: PathBuf,
    known: HashMap<Key, Vec<f32>>,
}

impl Vectors {
    /// Loads the server's default model, whose files are fetched when they are not there.
    ///
    /// # Errors
    /// The files cannot be had.
    pub fn open(folders: &Folders) -> Result<Self, Box<dyn std::error::Error>> {
        let model = manifest::find(manifest::DEFAULT).ok_or("there is no default model")?;
        let cache = ModelCache::new(&folders.models);
        let folder = if cache.has(model) {
            cache.folder(model)
        } else {
            pull::pull(model, &cache, &pull::PullOptions::default(), &mut |_| {})?
        };
        std::fs::create_dir_all(&folders.vectors)?;
        Ok(Self {
            embedder: Embedder::load(model, &folder)?,
            file: cache_file(&folders.vectors, model),
            known: HashMap::new(),
        })
    }

    /// The parts of a text that the model reads whole, as the server embeds them.
    #[must_use]
    pub fn chunks<'a>(&self, text: &'a str) -> Vec<&'a str> {
        let chunks = self.embedder.chunks(text).into_iter();
        chunks.filter_map(|range| text.get(range)).collect()
    }

    /// The vector of a text that [`Vectors::prepare`] was given.
    #[must_use]
    pub fn of(&self, purpose: Purpose, text: &str) -> Option<&[f32]> {
        let key = key(self.embedder.model(), purpose, text);
        self.known.get(&key).map(Vec::as_slice)
    }

    /// Makes the vectors of texts ready: from the file, and those that are not there by the model, on all
    /// processors.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn prepare(&mut self, texts: &[(Purpose, &str)]) -> io::Result<()> {
        let model = self.embedder.model();
        let mut wanted: HashMap<Key, (Purpose, &str)> = HashMap::new();
        for (purpose, text) in texts {
            let key = key(model, *purpose, text);
            if !self.known.contains_key(&key) {
                wanted.insert(key, (*purpose, text));
            }
        }
        if wanted.is_empty() {
            return Ok(());
        }
        let options = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(&self.file);
        let mut file = options?;
        // Two that embed the same texts at once would do the work twice.
        file.lock()?;
        let keys: HashSet<Key> = wanted.keys().copied().collect();
        let found = read(&mut file, model.dims, &keys)?;
        wanted.retain(|key, _| !found.contains_key(key));
        self.known.extend(found);
        let missing: Vec<(Key, Purpose, &str)> = wanted
            .into_iter()
            .map(|(key, (purpose, text))| (key, purpose, text))
            .collect();
        let made = compute(&self.embedder, &missing, &mut file)?;
        self.known.extend(made);
        Ok(())
    }
}

fn key(model: &Model, purpose: Purpose, text: &str) -> Key {
    let prefix = match purpose {
        Purpose::Query => &model.query_prefix,
        Purpose::Passage => &model.passage_prefix,
    };
    let mut hash = Sha256::new();
    hash.update(prefix);
    hash.update(text);
    hash.finalize().into()
}

/// The wanted records of the file: each is a key and the vector's numbers. Half a record at the end, which
/// an interruption left, is cut off.
fn read(file: &mut File, dims: usize, wanted: &HashSet<Key>) -> io::Result<HashMap<Key, Vec<f32>>> {
    let size = size_of::<Key>() + dims * size_of::<f32>();
    let length = file.metadata()?.len();
    let whole = length - length % size as u64;
    if whole != length {
        file.set_len(whole)?;
    }
    file.seek(SeekFrom::Start(0))?;
    let mut found = HashMap::new();
    let mut reader = BufReader::with_capacity(1 << 20, &*file);
    let mut key: Key = [0; 32];
    let mut bytes = vec![0; dims * size_of::<f32>()];
    for _ in 0..whole / size as u64 {
        reader.read_exact(&mut key)?;
        reader.read_exact(&mut bytes)?;
        if wanted.contains(&key) {
            let (numbers, _) = bytes.as_chunks();
            found.insert(
                key,
                numbers
                    .iter()
                    .map(|four| f32::from_le_bytes(*four))
                    .collect(),
            );
        }
    }
    Ok(found)
}

fn record(key: &Key, vector: &[f32]) -> Vec<u8> {
    let numbers = vector.iter().flat_map(|number| number.to_le_bytes());
    key.iter().copied().chain(numbers).collect()
}

/// Embeds on all processors and appends to the file.
fn compute(
    embedder: &Embedder,
    missing: &[(Key, Purpose, &str)],
    file: &mut File,
) -> io::Result<Vec<(Key, Vec<f32>)>> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let (done, begun) = (AtomicUsize::new(0), Instant::now());
    let batches = Mutex::new(missing.chunks(BATCH));
    let output = Mutex::new((file, Vec::with_capacity(missing.len())));
    let work = || -> io::Result<()> {
        loop {
            let next = batches.lock().map_err(poisoned)?.next();
            let Some(batch) = next else { return Ok(()) };
            let made = embed(embedder, batch)?;
            let bytes: Vec<u8> = made
                .iter()
                .flat_map(|(key, vector)| record(key, vector))
                .collect();
            let mut output = output.lock().map_err(poisoned)?;
            output.0.write_all(&bytes)?;
            output.1.extend(made);
            let now = done.fetch_add(batch.len(), Ordering::Relaxed) + batch.len();
            tell(now, missing.len(), begun)?;
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| {
            let ended = worker.join();
            ended.map_err(|_| io::Error::other("a thread that embeds broke off"))?
        })
    })?;
    let (_, made) = output.into_inner().map_err(poisoned)?;
    Ok(made)
}

fn poisoned<T>(_: std::sync::PoisonError<T>) -> io::Error {
    io::Error::other("a thread that embeds broke off")
}

fn embed(embedder: &Embedder, batch: &[(Key, Purpose, &str)]) -> io::Result<Vec<(Key, Vec<f32>)>> {
    let mut made = Vec::with_capacity(batch.len());
    for wanted in [Purpose::Passage, Purpose::Query] {
        let of: Vec<_> = batch
            .iter()
            .filter(|(_, purpose, _)| *purpose == wanted)
            .collect();
        let texts: Vec<&str> = of.iter().map(|(.., text)| *text).collect();
        let vectors = match wanted {
            Purpose::Passage => embedder.embed_passages(&texts),
            Purpose::Query => texts
                .iter()
                .map(|text| embedder.embed_query(text))
                .collect(),
        };
        let vectors = vectors.map_err(io::Error::other)?;
        made.extend(of.iter().map(|(key, ..)| *key).zip(vectors));
    }
    Ok(made)
}

/// Says now and then how far it is.
fn tell(done: usize, all: usize, begun: Instant) -> io::Result<()> {
    if done / 1_000 != (done - done.min(BATCH)) / 1_000 || done == all {
        let rate = done as f64 / begun.elapsed().as_secs_f64();
        writeln!(
            io::stderr(),
            "embedded {done} of {all} texts, {rate:.0} a second"
        )?;
    }
    Ok(())
}

/// The file of a model's vectors.
fn cache_file(folder: &Path, model: &Model) -> PathBuf {
    let name = model
        .key()
        .replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    folder.join(format!("{name}.vectors"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_are_found_again_and_half_a_record_harms_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let open = || {
            let mut options = OpenOptions::new();
            options.read(true).append(true).create(true);
            options.open(folder.path().join("vectors")).unwrap()
        };
        let (one, two) = ([1; 32], [2; 32]);
        let mut file = open();
        file.write_all(&record(&one, &[0.5, -1.0])).unwrap();
        file.write_all(&record(&two, &[2.0, 3.0])[..17]).unwrap();
        let mut file = open();
        let found = read(&mut file, 2, &HashSet::from([one, two])).unwrap();
        assert_eq!(found, HashMap::from([(one, vec![0.5, -1.0])]));
        file.write_all(&record(&two, &[4.0, 5.0])).unwrap();
        let found = read(&mut open(), 2, &HashSet::from([two])).unwrap();
        assert_eq!(found, HashMap::from([(two, vec![4.0, 5.0])]));
    }
}

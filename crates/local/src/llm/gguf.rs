//! Reads the GGUF form of models: a header with typed metadata, the places of tensors, then their
//! numbers (github.com/ggml-org/ggml, docs/gguf.md).
//!
//! Files come from people, so every length is checked before anything is made of it.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, BufReader, Read},
    path::Path,
};

use super::cancel::{Cancel, Cancelled};
use crate::tensors::read_at;

/// The versions that differ only in what we do not use.
const VERSIONS: std::ops::RangeInclusive<u32> = 2..=3;
/// Where tensors begin, unless the file says otherwise.
const ALIGNMENT: u64 = 32;
/// Entries that a list, and the file's lists of metadata and tensors, may have.
const MAX_ENTRIES: u64 = 4_000_000;
/// Bytes of a text.
const MAX_TEXT: u64 = 4 * 1024 * 1024;
/// Dimensions of a tensor.
const MAX_DIMENSIONS: u32 = 4;

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum GgufError {
    /// It cannot be read, or ends too early.
    #[error("the model's file cannot be read: {0}")]
    Io(#[from] io::Error),
    /// It is something else, or damaged.
    #[error("this is no model that can be used: {0}")]
    Damaged(String),
    /// It is of a kind that is not known here.
    #[error(
        "{0} is not supported; take a model of the architectures llama or qwen3, as {formats}",
        formats = Format::names()
    )]
    Unsupported(String),
    /// Nobody waits for it any more.
    #[error("reading the model was cancelled")]
    Cancelled,
}

impl From<Cancelled> for GgufError {
    fn from(_: Cancelled) -> Self {
        Self::Cancelled
    }
}

fn damaged(what: impl Into<String>) -> GgufError {
    GgufError::Damaged(what.into())
}

/// A value of the metadata. All whole numbers are one kind, and so are all others.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// A truth value.
    Bool(bool),
    /// A text.
    Text(String),
    /// A list of texts.
    Texts(Vec<String>),
    /// A list of whole numbers.
    Ints(Vec<i64>),
    /// A list of numbers.
    Floats(Vec<f64>),
}

/// How the numbers of a tensor are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Format {
    F32,
    F16,
    Bf16,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q4K,
    Q5K,
    Q6K,
}

/// All formats that are read, with their numbers in files and their names.
const FORMATS: [(u32, Format, &str); 11] = [
    (2, Format::Q4_0, "Q4_0"),
    (3, Format::Q4_1, "Q4_1"),
    (12, Format::Q4K, "Q4_K"),
    (6, Format::Q5_0, "Q5_0"),
    (7, Format::Q5_1, "Q5_1"),
    (13, Format::Q5K, "Q5_K"),
    (14, Format::Q6K, "Q6_K"),
    (8, Format::Q8_0, "Q8_0"),
    (1, Format::F16, "F16"),
    (30, Format::Bf16, "BF16"),
    (0, Format::F32, "F32"),
];

impl Format {
    fn of(code: u32) -> Result<Self, GgufError> {
        let found = FORMATS.iter().find(|(known, ..)| *known == code);
        found
            .map(|(_, format, _)| *format)
            .ok_or_else(|| GgufError::Unsupported(format!("the tensor format {code}")))
    }

    fn names() -> String {
        FORMATS.map(|(_, _, name)| name).join(", ")
    }

    /// Numbers of a block, and its bytes.
    #[must_use]
    pub const fn block(self) -> (usize, usize) {
        match self {
            Self::F32 => (1, 4),
            Self::F16 | Self::Bf16 => (1, 2),
            Self::Q4_0 => (32, 18),
            Self::Q4_1 => (32, 20),
            Self::Q5_0 => (32, 22),
            Self::Q5_1 => (32, 24),
            Self::Q8_0 => (32, 34),
            Self::Q4K => (256, 144),
            Self::Q5K => (256, 176),
            Self::Q6K => (256, 210),
        }
    }
}

/// Where a tensor is, and what it is like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    /// How its numbers are written.
    pub format: Format,
    /// Its rows.
    pub rows: usize,
    /// Numbers of a row.
    pub columns: usize,
    start: u64,
    bytes: u64,
}

/// An open file.
#[derive(Debug)]
pub struct Gguf {
    file: File,
    metadata: HashMap<String, Value>,
    tensors: HashMap<String, Tensor>,
    cancel: Cancel,
}

impl Gguf {
    /// Opens a file and reads its header. What is read of it afterwards ends when nobody waits any more.
    ///
    /// # Errors
    /// It cannot be read, or is no such file.
    pub fn open(path: &Path, cancel: &Cancel) -> Result<Self, GgufError> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        let mut header = Header::new(BufReader::new(&file), length);
        let (metadata, tensors) = header.read()?;
        Ok(Self {
            file,
            metadata,
            tensors,
            cancel: cancel.clone(),
        })
    }

    /// A value of the metadata.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<&Value> {
        self.metadata.get(key)
    }

    /// A text.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        match self.metadata.get(key)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A whole number that is not negative.
    #[must_use]
    pub fn number(&self, key: &str) -> Option<usize> {
        match self.metadata.get(key)? {
            Value::Int(number) => usize::try_from(*number).ok(),
            _ => None,
        }
    }

    /// A number with a fraction.
    #[must_use]
    pub fn float(&self, key: &str) -> Option<f32> {
        match self.metadata.get(key)? {
            Value::Float(number) => Some(*number as f32),
            Value::Int(number) => Some(*number as f32),
            _ => None,
        }
    }

    /// A tensor.
    #[must_use]
    pub fn tensor(&self, name: &str) -> Option<&Tensor> {
        self.tensors.get(name)
    }

    /// Reads a tensor's bytes from a row on into `bytes`.
    ///
    /// # Errors
    /// The file cannot be read any more, or nobody waits.
    pub fn read(
        &self,
        tensor: &Tensor,
        from_row: usize,
        bytes: &mut [u8],
    ) -> Result<(), GgufError> {
        self.cancel.check()?;
        let row = tensor.bytes / tensor.rows.max(1) as u64;
        let start = row * from_row as u64;
        if start.saturating_add(bytes.len() as u64) > tensor.bytes {
            return Err(io::Error::from(io::ErrorKind::InvalidInput).into());
        }
        Ok(read_at(&self.file, bytes, tensor.start + start)?)
    }
}

type Parts = (HashMap<String, Value>, HashMap<String, Tensor>);

/// What is being read.
struct Header<R> {
    source: R,
    at: u64,
    length: u64,
}

impl<R: Read> Header<R> {
    const fn new(source: R, length: u64) -> Self {
        Self {
            source,
            at: 0,
            length,
        }
    }

    fn read(&mut self) -> Result<Parts, GgufError> {
        if &self.array::<4>()? != b"GGUF" {
            return Err(damaged("it does not begin with GGUF"));
        }
        let version = self.u32()?;
        if !VERSIONS.contains(&version) {
            return Err(GgufError::Unsupported(format!("version {version} of GGUF")));
        }
        let tensors = self.count()?;
        let pairs = self.count()?;
        let mut metadata = HashMap::new();
        for _ in 0..pairs {
            let key = self.text()?;
            let kind = self.u32()?;
            if let Some(value) = self.value(kind)? {
                metadata.insert(key, value);
            }
        }
        let mut places = HashMap::new();
        for _ in 0..tensors {
            let name = self.text()?;
            let tensor = self.tensor()?;
            if places.insert(name.clone(), tensor).is_some() {
                return Err(damaged(format!("it has the tensor {name} twice")));
            }
        }
        let alignment = match metadata.get("general.alignment") {
            Some(Value::Int(alignment)) => u64::try_from(*alignment).unwrap_or(0),
            _ => ALIGNMENT,
        };
        if alignment == 0 || !alignment.is_power_of_two() {
            return Err(damaged("its alignment is wrong"));
        }
        let data = self.at.next_multiple_of(alignment);
        for (name, tensor) in &mut places {
            let end = data
                .checked_add(tensor.start)
                .and_then(|start| start.checked_add(tensor.bytes));
            if end.is_none_or(|end| end > self.length) {
                return Err(damaged(format!("it ends before the tensor {name} does")));
            }
            tensor.start += data;
        }
        // Tensors that share a place would take memory that has nothing to do with the file's length.
        let all = places.values().map(|tensor| tensor.bytes);
        let all = all.fold(0_u64, u64::saturating_add);
        if all > self.length.saturating_sub(data) {
            return Err(damaged("its tensors lie over each other"));
        }
        Ok((metadata, places))
    }

    fn tensor(&mut self) -> Result<Tensor, GgufError> {
        let dimensions = self.u32()?;
        if dimensions == 0 || dimensions > MAX_DIMENSIONS {
            return Err(damaged("a tensor has a wrong number of dimensions"));
        }
        let wrong = || damaged("a tensor has a wrong size");
        let columns = usize::try_from(self.u64()?).map_err(|_| wrong())?;
        let mut rows = 1_usize;
        for _ in 1..dimensions {
            let side = usize::try_from(self.u64()?).map_err(|_| wrong())?;
            rows = rows.checked_mul(side).ok_or_else(wrong)?;
        }
        let format = Format::of(self.u32()?)?;
        let (numbers, length) = format.block();
        if columns == 0 || rows == 0 || !columns.is_multiple_of(numbers) {
            return Err(wrong());
        }
        let bytes = (columns / numbers)
            .checked_mul(length)
            .and_then(|row| row.checked_mul(rows))
            .ok_or_else(wrong)?;
        Ok(Tensor {
            format,
            rows,
            columns,
            start: self.u64()?,
            bytes: bytes as u64,
        })
    }

    /// A value; lists of other things than texts and numbers are passed over.
    fn value(&mut self, kind: u32) -> Result<Option<Value>, GgufError> {
        Ok(Some(match kind {
            8 => Value::Text(self.text()?),
            9 => return self.list(),
            6 | 12 => Value::Float(self.float(kind)?),
            7 => Value::Bool(self.array::<1>()? != [0]),
            _ => Value::Int(self.int(kind)?),
        }))
    }

    fn list(&mut self) -> Result<Option<Value>, GgufError> {
        let kind = self.u32()?;
        let count = self.count()?;
        Ok(Some(match kind {
            8 => Value::Texts((0..count).map(|_| self.text()).collect::<Result<_, _>>()?),
            6 | 12 => Value::Floats(
                (0..count)
                    .map(|_| self.float(kind))
                    .collect::<Result<_, _>>()?,
            ),
            9 => return Err(damaged("it has lists of lists")),
            _ => Value::Ints(
                (0..count)
                    .map(|_| self.int(kind))
                    .collect::<Result<_, _>>()?,
            ),
        }))
    }

    fn int(&mut self, kind: u32) -> Result<i64, GgufError> {
        Ok(match kind {
            0 | 7 => i64::from(u8::from_le_bytes(self.array()?)),
            1 => i64::from(i8::from_le_bytes(self.array()?)),
            2 => i64::from(u16::from_le_bytes(self.array()?)),
            3 => i64::from(i16::from_le_bytes(self.array()?)),
            4 => i64::from(self.u32()?),
            5 => i64::from(i32::from_le_bytes(self.array()?)),
            // Nothing that is used here is so large.
            10 => i64::try_from(self.u64()?).unwrap_or(i64::MAX),
            11 => i64::from_le_bytes(self.array()?),
            other => return Err(damaged(format!("it has values of the kind {other}"))),
        })
    }

    fn float(&mut self, kind: u32) -> Result<f64, GgufError> {
        Ok(match kind {
            6 => f64::from(f32::from_le_bytes(self.array()?)),
            _ => f64::from_le_bytes(self.array()?),
        })
    }

    fn text(&mut self) -> Result<String, GgufError> {
        let length = self.u64()?;
        if length > MAX_TEXT || length > self.length.saturating_sub(self.at) {
            return Err(damaged("a text in it is longer than can be"));
        }
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        self.fill(&mut bytes)?;
        // Tokens may be halves of characters; they are not written so in models of this kind.
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn count(&mut self) -> Result<u64, GgufError> {
        let count = self.u64()?;
        if count > MAX_ENTRIES || count > self.length {
            return Err(damaged("a list in it is longer than can be"));
        }
        Ok(count)
    }

    fn u32(&mut self) -> Result<u32, GgufError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64, GgufError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], GgufError> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), GgufError> {
        self.source.read_exact(bytes)?;
        self.at += bytes.len() as u64;
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(out: &mut Vec<u8>, text: &str) {
        out.extend((text.len() as u64).to_le_bytes());
        out.extend(text.as_bytes());
    }

    /// A small file: one number, one list of texts, one tensor of two rows.
    fn file() -> Vec<u8> {
        let mut out = b"GGUF".to_vec();
        out.extend(3_u32.to_le_bytes());
        out.extend(1_u64.to_le_bytes());
        out.extend(2_u64.to_le_bytes());
        text(&mut out, "llama.block_count");
        out.extend(4_u32.to_le_bytes());
        out.extend(7_u32.to_le_bytes());
        text(&mut out, "tokenizer.ggml.tokens");
        out.extend(9_u32.to_le_bytes());
        out.extend(8_u32.to_le_bytes());
        out.extend(2_u64.to_le_bytes());
        text(&mut out, "a");
        text(&mut out, "b");
        text(&mut out, "w");
        out.extend(2_u32.to_le_bytes());
        out.extend(2_u64.to_le_bytes());
        out.extend(2_u64.to_le_bytes());
        out.extend(0_u32.to_le_bytes());
        out.extend(0_u64.to_le_bytes());
        out.resize(out.len().next_multiple_of(32), 0);
        for number in [1.0_f32, 2.0, 3.0, 4.0] {
            out.extend(number.to_le_bytes());
        }
        out
    }

    fn parse(bytes: &[u8]) -> Result<Parts, GgufError> {
        Header::new(bytes, bytes.len() as u64).read()
    }

    #[test]
    fn a_file_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.gguf");
        std::fs::write(&path, file()).unwrap();
        let gguf = Gguf::open(&path, &Cancel::when(|| false)).unwrap();
        assert_eq!(gguf.number("llama.block_count"), Some(7));
        let tokens = Value::Texts(vec!["a".into(), "b".into()]);
        assert_eq!(gguf.value("tokenizer.ggml.tokens"), Some(&tokens));
        let tensor = gguf.tensor("w").unwrap();
        assert_eq!((tensor.rows, tensor.columns), (2, 2));
        let mut row = [0; 8];
        gguf.read(tensor, 1, &mut row).unwrap();
        assert_eq!(row[..4], 3.0_f32.to_le_bytes());
        assert!(gguf.read(tensor, 2, &mut row).is_err());
    }

    #[test]
    fn what_is_not_supported_is_told_with_all_that_is() {
        let told = Format::of(10).unwrap_err().to_string();
        assert!(told.contains("the tensor format 10"), "{told}");
        for (code, _, name) in FORMATS {
            assert!(told.contains(name), "{told}");
            assert!(Format::of(code).is_ok());
        }
    }

    #[test]
    fn a_file_that_is_cut_off_anywhere_is_an_error() {
        let whole = file();
        assert!(parse(&whole).is_ok());
        for length in 0..whole.len() {
            assert!(parse(&whole[..length]).is_err(), "{length}");
        }
    }

    proptest! {
        #[test]
        fn a_damaged_file_is_an_error_or_is_read_but_never_more(
            at in 4_usize..200, byte: u8, more in proptest::collection::vec(any::<u8>(), 0..64),
        ) {
            let mut bytes = file();
            let place = at % bytes.len();
            bytes[place] = byte;
            let is_small = |bytes: &[u8]| {
                let Ok((metadata, tensors)) = parse(bytes) else {
                    return true;
                };
                let length = bytes.len() as u64;
                let all: u64 = tensors.values().map(|tensor| tensor.bytes).sum();
                let is_within = |tensor: &Tensor| tensor.start + tensor.bytes <= length;
                let lists = metadata.values().map(|value| match value {
                    Value::Texts(texts) => texts.iter().map(|text| 8 + text.len()).sum(),
                    Value::Ints(ints) => ints.len(),
                    Value::Floats(floats) => floats.len() * 4,
                    Value::Text(text) => text.len(),
                    _ => 0,
                });
                // A byte that is no text becomes a character of three.
                let kept = lists.sum::<usize>() <= bytes.len() * 3;
                kept && all <= length && tensors.values().all(is_within)
            };
            prop_assert!(is_small(&bytes));
            bytes.truncate(at);
            bytes.extend(more);
            prop_assert!(is_small(&bytes));
        }
    }
}

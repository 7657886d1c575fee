//! Reads weights in the `safetensors` form: eight bytes with the length of a JSON header, the header
//! that names each tensor with its type, shape and place, then the numbers
//! (github.com/huggingface/safetensors, "Format").
//!
//! Tensors are read one by one, so that the file and what is made of it are never in memory together.

use std::{collections::HashMap, fs::File, io, path::Path};

use ndarray::Array2;
use serde::Deserialize;
use serde_json::value::RawValue;

/// Bytes that a header has at the most.
const MAX_HEADER: u64 = 16 * 1024 * 1024;
/// Bytes that are read at once.
const PIECE: usize = 256 * 1024;

/// Why weights cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TensorError {
    /// The file cannot be read.
    #[error("the weights cannot be read: {0}")]
    Io(#[from] io::Error),
    /// Its header is none.
    #[error("the header of the weights is none: {0}")]
    Header(String),
    /// A tensor that the model needs is not there, or has another shape.
    #[error("the weights have no tensor {name} of the shape {shape:?}")]
    Missing {
        /// Its name.
        name: String,
        /// Its shape.
        shape: Vec<usize>,
    },
}

#[derive(Debug, Deserialize)]
struct Entry<'a> {
    #[serde(borrow)]
    dtype: &'a str,
    shape: Vec<usize>,
    data_offsets: (u64, u64),
}

#[derive(Debug)]
struct Place {
    shape: Vec<usize>,
    start: u64,
}

/// A file of weights.
#[derive(Debug)]
pub(crate) struct Weights {
    file: File,
    places: HashMap<String, Place>,
}

impl Weights {
    /// Opens a file and reads its header.
    pub fn open(path: &Path) -> Result<Self, TensorError> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        let mut head = [0; 8];
        read_at(&file, &mut head, 0)?;
        let header_length = u64::from_le_bytes(head);
        let data = header_length.saturating_add(8);
        if header_length > MAX_HEADER || data > length {
            return Err(TensorError::Header("its length is wrong".into()));
        }
        let mut header = vec![0; usize::try_from(header_length).unwrap_or(0)];
        read_at(&file, &mut header, 8)?;
        let places = places(&header, data, length)?;
        Ok(Self { file, places })
    }

    /// Where a tensor of 32-bit numbers begins.
    fn place(&self, name: &str, shape: &[usize]) -> Result<u64, TensorError> {
        let found = [name.to_owned(), format!("bert.{name}")]
            .iter()
            .find_map(|name| self.places.get(name));
        match found {
            Some(place) if place.shape == shape => Ok(place.start),
            _ => Err(TensorError::Missing {
                name: name.to_owned(),
                shape: shape.to_vec(),
            }),
        }
    }

    /// A list of numbers.
    pub fn vector(&self, name: &str, length: usize) -> Result<Vec<f32>, TensorError> {
        let start = self.place(name, &[length])?;
        self.numbers(start, length)
    }

    /// A table.
    pub fn matrix(
        &self,
        name: &str,
        rows: usize,
        columns: usize,
    ) -> Result<Array2<f32>, TensorError> {
        let start = self.place(name, &[rows, columns])?;
        let numbers = self.numbers(start, rows * columns)?;
        Array2::from_shape_vec((rows, columns), numbers)
            .map_err(|error| TensorError::Header(error.to_string()))
    }

    fn numbers(&self, start: u64, count: usize) -> Result<Vec<f32>, TensorError> {
        let mut numbers = Vec::with_capacity(count);
        let mut piece = vec![0; PIECE.min(count * 4)];
        let mut at = start;
        while numbers.len() < count {
            let length = piece.len().min((count - numbers.len()) * 4);
            let bytes = piece.get_mut(..length).unwrap_or_default();
            read_at(&self.file, bytes, at)?;
            decode(bytes, &mut numbers);
            at += length as u64;
        }
        Ok(numbers)
    }

    /// A table that stays in the file.
    pub fn into_table(self, name: &str, rows: usize, columns: usize) -> Result<Table, TensorError> {
        let start = self.place(name, &[rows, columns])?;
        Ok(Table {
            file: self.file,
            start,
            rows,
            columns,
        })
    }
}

fn places(header: &[u8], data: u64, length: u64) -> Result<HashMap<String, Place>, TensorError> {
    let wrong = |error: serde_json::Error| TensorError::Header(error.to_string());
    let entries: HashMap<String, &RawValue> = serde_json::from_slice(header).map_err(wrong)?;
    let mut places = HashMap::new();
    for (name, entry) in entries {
        if name == "__metadata__" {
            continue;
        }
        let entry: Entry<'_> = serde_json::from_str(entry.get()).map_err(wrong)?;
        if entry.dtype != "F32" {
            continue;
        }
        let (start, end) = entry.data_offsets;
        let count = entry.shape.iter().try_fold(4_u64, |product, side| {
            product.checked_mul(u64::try_from(*side).ok()?)
        });
        let fits = count.is_some_and(|bytes| start.checked_add(bytes) == Some(end))
            && end.checked_add(data).is_some_and(|end| end <= length);
        if !fits {
            return Err(TensorError::Header(format!("the place of {name} is wrong")));
        }
        let place = Place {
            shape: entry.shape,
            start: data + start,
        };
        places.insert(name, place);
    }
    Ok(places)
}

/// A table of which single rows are read when they are needed: the vectors of the vocabulary's words are
/// half of the weights, and a text needs few of them. The system keeps those in its file cache.
#[derive(Debug)]
pub(crate) struct Table {
    file: File,
    start: u64,
    rows: usize,
    columns: usize,
}

impl Table {
    /// Reads a row into `row`; `bytes` is room to work in.
    pub fn read(&self, index: usize, row: &mut Vec<f32>, bytes: &mut Vec<u8>) -> io::Result<()> {
        if index >= self.rows {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        bytes.resize(self.columns * 4, 0);
        read_at(
            &self.file,
            bytes,
            self.start + (index * self.columns * 4) as u64,
        )?;
        row.clear();
        decode(bytes, row);
        Ok(())
    }
}

fn decode(bytes: &[u8], numbers: &mut Vec<f32>) {
    let (whole, _) = bytes.as_chunks::<4>();
    numbers.extend(whole.iter().map(|bytes| f32::from_le_bytes(*bytes)));
}

#[cfg(unix)]
pub(crate) fn read_at(file: &File, bytes: &mut [u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, at)
}

#[cfg(windows)]
pub(crate) fn read_at(file: &File, mut bytes: &mut [u8], mut at: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        let length = std::os::windows::fs::FileExt::seek_read(file, bytes, at)?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        bytes = bytes.get_mut(length..).unwrap_or_default();
        at += length as u64;
    }
    Ok(())
}

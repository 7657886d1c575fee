//! Decoders of the Llama family (Touvron et al., 2023) and of Qwen3 (Yang et al., 2025): layers of attention
//! with rotated positions and of gated products, each on normalised numbers and added to what came before.

use ndarray::{Array2, Axis, Slice};

use super::{
    attention::{Heads, KeyValues},
    blocks::GROUP,
    cancel::{Cancel, Cancelled},
    gguf::{Gguf, GgufError, Value},
    matrix::Matrix,
};
use crate::arithmetic::{rms_norm, silu};

/// What a file says of its model.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    layers: usize,
    width: usize,
    inner: usize,
    heads: Heads,
    eps: f32,
    rotation: Rotation,
    /// Tokens that it was made for.
    pub context: usize,
    /// Tokens of its vocabulary.
    pub vocabulary: usize,
}

/// How positions are put into queries and keys (Su et al., 2021).
#[derive(Debug, Clone)]
struct Rotation {
    /// Turns of each pair from one position to the next.
    frequencies: Vec<f32>,
    pairs: Pairs,
}

/// Which numbers are turned together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pairs {
    /// Neighbours.
    Neighbours,
    /// Those of the first half of a head with those of the second.
    Halves,
}

#[derive(Debug)]
struct Layer {
    attention_norm: Vec<f32>,
    query: Matrix,
    key: Matrix,
    value: Matrix,
    /// Of queries and keys, where the architecture has such.
    head_norms: Option<(Vec<f32>, Vec<f32>)>,
    attended: Matrix,
    inner_norm: Vec<f32>,
    gate: Matrix,
    up: Matrix,
    down: Matrix,
}

/// A decoder with its weights.
#[derive(Debug)]
pub(super) struct Transformer {
    shape: Shape,
    embedding: Matrix,
    layers: Vec<Layer>,
    norm: Vec<f32>,
    /// Nothing where the embedding serves both ends.
    output: Option<Matrix>,
}

impl Shape {
    /// Reads the metadata.
    pub fn read(gguf: &Gguf) -> Result<Self, GgufError> {
        let name = gguf.text("general.architecture").unwrap_or_default();
        let pairs = match name {
            "llama" => Pairs::Neighbours,
            "qwen3" => Pairs::Halves,
            other => {
                return Err(GgufError::Unsupported(format!(
                    "the architecture '{other}'"
                )));
            }
        };
        let key = |key: &str| format!("{name}.{key}");
        let number = |wanted: &str| {
            gguf.number(&key(wanted))
                .filter(|number| (1..=1 << 20).contains(number))
                .ok_or_else(|| GgufError::Damaged(format!("{name}.{wanted} is missing or wrong")))
        };
        let width = number("embedding_length")?;
        let queries = number("attention.head_count")?;
        let keys = number("attention.head_count_kv").unwrap_or(queries);
        let head = number("attention.key_length").unwrap_or(width / queries);
        if keys > queries
            || !queries.is_multiple_of(keys)
            || head == 0
            || !head.is_multiple_of(GROUP)
        {
            return Err(GgufError::Unsupported(format!("heads of {head} numbers")));
        }
        let scaling = gguf.text(&key("rope.scaling.type")).unwrap_or("none");
        if scaling != "none" || number("rope.dimension_count").is_ok_and(|turned| turned != head) {
            return Err(GgufError::Unsupported("its kind of positions".into()));
        }
        let base = gguf.float(&key("rope.freq_base")).unwrap_or(10_000.0);
        let vocabulary = match gguf.value("tokenizer.ggml.tokens") {
            Some(Value::Texts(tokens)) => tokens.len(),
            _ => return Err(GgufError::Damaged("it has no tokens".into())),
        };
        Ok(Self {
            layers: number("block_count")?,
            width,
            inner: number("feed_forward_length")?,
            heads: Heads {
                queries,
                keys,
                width: head,
            },
            eps: gguf
                .float(&key("attention.layer_norm_rms_epsilon"))
                .unwrap_or(1e-5),
            rotation: Rotation::read(gguf, base, head, pairs)?,
            context: number("context_length")?,
            vocabulary,
        })
    }

    /// Bytes that a token takes in memory once it has been read.
    pub const fn bytes_per_token(&self) -> usize {
        self.layers * self.heads.keys * self.heads.width * 4
    }

    /// Keys and values without any token.
    pub fn key_values(&self) -> KeyValues {
        KeyValues::new(self.layers, self.heads)
    }
}

impl Rotation {
    fn read(gguf: &Gguf, base: f32, head: usize, pairs: Pairs) -> Result<Self, GgufError> {
        let half = head / 2;
        let factors = match gguf.tensor("rope_freqs.weight") {
            Some(_) => vector(gguf, "rope_freqs.weight", half)?,
            None => vec![1.0; half],
        };
        let frequencies = factors.iter().enumerate().map(|(at, factor)| {
            let exponent = -2.0 * at as f32 / head as f32;
            base.powf(exponent) / factor
        });
        Ok(Self {
            frequencies: frequencies.collect(),
            pairs,
        })
    }

    /// The sines and cosines of a position.
    fn at(&self, position: usize) -> Vec<(f32, f32)> {
        let turns = self.frequencies.iter();
        turns
            .map(|frequency| (position as f32 * frequency).sin_cos())
            .collect()
    }

    fn turn(&self, head: &mut [f32], turns: &[(f32, f32)]) {
        let turned = |a: &mut f32, b: &mut f32, (sine, cosine): (f32, f32)| {
            (*a, *b) = (*a * cosine - *b * sine, *a * sine + *b * cosine);
        };
        match self.pairs {
            Pairs::Neighbours => {
                for ([a, b], turn) in head.as_chunks_mut().0.iter_mut().zip(turns) {
                    turned(a, b, *turn);
                }
            }
            Pairs::Halves => {
                let (first, second) = head.split_at_mut(turns.len());
                for ((a, b), turn) in first.iter_mut().zip(second).zip(turns) {
                    turned(a, b, *turn);
                }
            }
        }
    }
}

/// A tensor of plain numbers.
fn vector(gguf: &Gguf, name: &str, length: usize) -> Result<Vec<f32>, GgufError> {
    let missing = || GgufError::Damaged(format!("it has no tensor {name} of {length} numbers"));
    let tensor = gguf.tensor(name).ok_or_else(missing)?;
    let (numbers, bytes) = tensor.format.block();
    if tensor.rows != 1 || tensor.columns != length {
        return Err(missing());
    }
    let mut row = vec![0; length / numbers * bytes];
    gguf.read(tensor, 0, &mut row)?;
    Ok(super::blocks::numbers(tensor.format, &row))
}

impl Layer {
    fn read(gguf: &Gguf, shape: &Shape, at: usize) -> Result<Self, GgufError> {
        let Shape {
            width,
            inner,
            heads,
            ..
        } = *shape;
        let (queries, keys) = (heads.queries * heads.width, heads.keys * heads.width);
        let name = |name: &str| format!("blk.{at}.{name}.weight");
        let matrix = |part: &str, rows, columns| Matrix::read(gguf, &name(part), rows, columns);
        let head_norms = match gguf.tensor(&name("attn_q_norm")) {
            Some(_) => Some((
                vector(gguf, &name("attn_q_norm"), heads.width)?,
                vector(gguf, &name("attn_k_norm"), heads.width)?,
            )),
            None => None,
        };
        Ok(Self {
            attention_norm: vector(gguf, &name("attn_norm"), width)?,
            query: matrix("attn_q", queries, width)?,
            key: matrix("attn_k", keys, width)?,
            value: matrix("attn_v", keys, width)?,
            head_norms,
            attended: matrix("attn_output", width, queries)?,
            inner_norm: vector(gguf, &name("ffn_norm"), width)?,
            gate: matrix("ffn_gate", inner, width)?,
            up: matrix("ffn_up", inner, width)?,
            down: matrix("ffn_down", width, inner)?,
        })
    }

    const fn matrices(&self) -> [&Matrix; 7] {
        [
            &self.query,
            &self.key,
            &self.value,
            &self.attended,
            &self.gate,
            &self.up,
            &self.down,
        ]
    }
}

/// The products of a matrix with all rows, in a table of their own.
fn product(
    matrix: &Matrix,
    input: &Array2<f32>,
    cancel: &Cancel,
) -> Result<Array2<f32>, Cancelled> {
    let mut output = Array2::zeros((input.nrows(), matrix.rows()));
    matrix.apply(input.view(), &mut output, cancel)?;
    Ok(output)
}

/// The same rows, normalised.
fn normalised(rows: &Array2<f32>, weight: &[f32], eps: f32) -> Array2<f32> {
    let mut copy = rows.clone();
    for mut row in copy.rows_mut() {
        if let Some(row) = row.as_slice_mut() {
            rms_norm(row, weight, eps);
        }
    }
    copy
}

impl Transformer {
    /// Reads all weights. Takes seconds with large models.
    pub fn read(gguf: &Gguf, shape: Shape) -> Result<Self, GgufError> {
        let (rows, width) = (shape.vocabulary, shape.width);
        let output = match gguf.tensor("output.weight") {
            Some(_) => Some(Matrix::read(gguf, "output.weight", rows, width)?),
            None => None,
        };
        let layers = (0..shape.layers).map(|at| Layer::read(gguf, &shape, at));
        Ok(Self {
            embedding: Matrix::read(gguf, "token_embd.weight", rows, width)?,
            layers: layers.collect::<Result<_, _>>()?,
            norm: vector(gguf, "output_norm.weight", width)?,
            output,
            shape,
        })
    }

    /// What it is like.
    pub const fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Bytes of its weights in memory.
    pub fn bytes(&self) -> usize {
        let layers = self.layers.iter().flat_map(Layer::matrices);
        let ends = [Some(&self.embedding), self.output.as_ref()];
        let ends = ends.into_iter().flatten();
        layers.chain(ends).map(Matrix::bytes).sum()
    }

    /// Reads tokens behind those that have been read, and gives what the last of them makes likely: a
    /// number for each token of the vocabulary.
    pub fn read_tokens(
        &self,
        tokens: &[u32],
        past: &mut KeyValues,
        cancel: &Cancel,
    ) -> Result<Vec<f32>, Cancelled> {
        // What a read left behind that broke off.
        past.truncate(past.tokens());
        let mut rows = Array2::zeros((tokens.len(), self.shape.width));
        for (token, mut row) in tokens.iter().zip(rows.rows_mut()) {
            if let Some(row) = row.as_slice_mut() {
                let token = (*token as usize).min(self.embedding.rows().saturating_sub(1));
                self.embedding.row(token, row);
            }
        }
        let positions = past.tokens()..past.tokens() + tokens.len();
        let turns: Vec<_> = positions.map(|at| self.shape.rotation.at(at)).collect();
        for (at, layer) in self.layers.iter().enumerate() {
            let attended = self.attend((at, layer), &rows, (&turns, past), cancel)?;
            rows += &attended;
            let inner = self.gated(layer, &rows, cancel)?;
            rows += &inner;
        }
        past.advance(tokens.len());
        let last = rows.slice_axis(Axis(0), Slice::from(-1..)).to_owned();
        let last = normalised(&last, &self.norm, self.shape.eps);
        let output = self.output.as_ref().unwrap_or(&self.embedding);
        Ok(product(output, &last, cancel)?.into_raw_vec_and_offset().0)
    }

    fn attend(
        &self,
        (at, layer): (usize, &Layer),
        rows: &Array2<f32>,
        (turns, past): (&[Vec<(f32, f32)>], &mut KeyValues),
        cancel: &Cancel,
    ) -> Result<Array2<f32>, Cancelled> {
        let input = normalised(rows, &layer.attention_norm, self.shape.eps);
        let mut queries = product(&layer.query, &input, cancel)?;
        let mut keys = product(&layer.key, &input, cancel)?;
        let values = product(&layer.value, &input, cancel)?;
        let norms = layer.head_norms.as_ref();
        self.place(
            &mut queries,
            norms.map(|(query, _)| query.as_slice()),
            turns,
        );
        self.place(&mut keys, norms.map(|(_, key)| key.as_slice()), turns);
        let mut attended = Array2::zeros(queries.raw_dim());
        past.attend(at, (&queries, &keys, &values), &mut attended, cancel)?;
        product(&layer.attended, &attended, cancel)
    }

    /// Normalises heads, where that is to be, and turns them by their positions.
    fn place(&self, rows: &mut Array2<f32>, norm: Option<&[f32]>, turns: &[Vec<(f32, f32)>]) {
        let width = self.shape.heads.width;
        for (mut row, turns) in rows.rows_mut().into_iter().zip(turns) {
            for head in row
                .as_slice_mut()
                .unwrap_or_default()
                .chunks_exact_mut(width)
            {
                if let Some(norm) = norm {
                    rms_norm(head, norm, self.shape.eps);
                }
                self.shape.rotation.turn(head, turns);
            }
        }
    }

    fn gated(
        &self,
        layer: &Layer,
        rows: &Array2<f32>,
        cancel: &Cancel,
    ) -> Result<Array2<f32>, Cancelled> {
        let input = normalised(rows, &layer.inner_norm, self.shape.eps);
        let mut gate = product(&layer.gate, &input, cancel)?;
        let up = product(&layer.up, &input, cancel)?;
        if let (Some(gate), Some(up)) = (gate.as_slice_mut(), up.as_slice()) {
            silu(gate, up);
        }
        product(&layer.down, &gate, cancel)
    }
}

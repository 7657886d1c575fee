//! Attention with the keys and values of earlier tokens, which are kept as bfloat16: half the memory of
//! plain numbers, with the same range.

use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis, Slice, linalg::general_mat_mul};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::{
    blocks::GROUP,
    cancel::{Cancel, Cancelled},
};
use crate::arithmetic::softmax;

/// Keys and values of one head.
#[derive(Debug, Clone, Default)]
struct Head {
    keys: Vec<u16>,
    values: Vec<u16>,
}

/// The heads of all layers, with the tokens that have been read.
#[derive(Debug, Clone)]
pub(super) struct KeyValues {
    heads: Vec<Vec<Head>>,
    width: usize,
    tokens: usize,
}

/// How a model's heads are arranged.
#[derive(Debug, Clone, Copy)]
pub(super) struct Heads {
    /// Heads of queries.
    pub queries: usize,
    /// Heads of keys and values, which several of queries share.
    pub keys: usize,
    /// Numbers of a head.
    pub width: usize,
}

fn narrow(number: f32) -> u16 {
    let bits = number.to_bits();
    // Rounded to the nearest, ties to even.
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1));
    (rounded >> 16) as u16
}

#[inline(always)]
fn widen(number: u16) -> f32 {
    f32::from_bits(u32::from(number) << 16)
}

impl KeyValues {
    /// Without any token.
    pub fn new(layers: usize, heads: Heads) -> Self {
        Self {
            heads: vec![vec![Head::default(); heads.keys]; layers],
            width: heads.width,
            tokens: 0,
        }
    }

    /// Tokens that have been read by all layers.
    pub const fn tokens(&self) -> usize {
        self.tokens
    }

    /// So many more tokens have been read by all layers.
    pub const fn advance(&mut self, tokens: usize) {
        self.tokens += tokens;
    }

    /// Forgets what comes after the first `tokens` tokens, and what a read left behind that broke off.
    pub fn truncate(&mut self, tokens: usize) {
        self.tokens = self.tokens.min(tokens);
        let length = self.tokens * self.width;
        for head in self.heads.iter_mut().flatten() {
            head.keys.truncate(length);
            head.values.truncate(length);
        }
    }

    /// A copy of the first `tokens` tokens.
    pub fn prefix(&self, tokens: usize) -> Self {
        let tokens = self.tokens.min(tokens);
        let copy = |numbers: &[u16]| {
            let part = numbers.get(..tokens * self.width);
            part.unwrap_or_default().to_vec()
        };
        let heads = self.heads.iter().map(|layer| {
            let copied = layer.iter().map(|head| Head {
                keys: copy(&head.keys),
                values: copy(&head.values),
            });
            copied.collect()
        });
        Self {
            heads: heads.collect(),
            width: self.width,
            tokens,
        }
    }

    /// Bytes in memory.
    pub fn bytes(&self) -> usize {
        let heads = self.heads.iter().flatten();
        let numbers: usize = heads
            .map(|head| head.keys.capacity() + head.values.capacity())
            .sum();
        numbers * 2
    }

    /// Adds keys and values of tokens to a layer, and lets the queries of these tokens attend to all that
    /// stand before them. Queries, keys and values have a row for each token.
    pub fn attend(
        &mut self,
        layer: usize,
        (queries, keys, values): (&Array2<f32>, &Array2<f32>, &Array2<f32>),
        output: &mut Array2<f32>,
        cancel: &Cancel,
    ) -> Result<(), Cancelled> {
        let (before, width) = (self.tokens, self.width);
        let Some(heads) = self.heads.get_mut(layer) else {
            return Ok(());
        };
        for (at, head) in heads.iter_mut().enumerate() {
            let columns = Slice::from(at * width..(at + 1) * width);
            let keys = keys.slice_axis(Axis(1), columns);
            head.keys.extend(keys.iter().copied().map(narrow));
            let values = values.slice_axis(Axis(1), columns);
            head.values.extend(values.iter().copied().map(narrow));
        }
        let shared = queries.ncols() / heads.len().max(1);
        let queries = queries.axis_chunks_iter(Axis(1), shared);
        let outputs = output.axis_chunks_iter_mut(Axis(1), shared);
        let work: Vec<_> = heads.iter().zip(queries).zip(outputs).collect();
        work.into_par_iter()
            .try_for_each(|((head, queries), output)| {
                cancel.check()?;
                head.attend(width, before, queries, output);
                Ok(())
            })
    }
}

impl Head {
    fn attend(
        &self,
        width: usize,
        before: usize,
        queries: ArrayView2<'_, f32>,
        mut output: ArrayViewMut2<'_, f32>,
    ) {
        let scale = 1.0 / (width as f32).sqrt();
        if queries.nrows() == 1
            && let (Some(queries), Some(output)) = (queries.to_slice(), output.as_slice_mut())
        {
            let pairs = queries
                .chunks_exact(width)
                .zip(output.chunks_exact_mut(width));
            for (query, output) in pairs {
                Arch::new().dispatch(OneQuery {
                    keys: self.keys.as_chunks().0,
                    values: self.values.as_chunks().0,
                    query: query.as_chunks().0,
                    output: output.as_chunks_mut().0,
                    scale,
                });
            }
            return;
        }
        let length = before + queries.nrows();
        let wide = |numbers: &[u16]| {
            let numbers = numbers.iter().copied().map(widen).collect();
            Array2::from_shape_vec((length, width), numbers).unwrap_or_default()
        };
        let (keys, values) = (wide(&self.keys), wide(&self.values));
        let mut scores = Array2::zeros((queries.nrows(), length));
        let heads = queries.axis_chunks_iter(Axis(1), width);
        for (query, mut output) in heads.zip(output.axis_chunks_iter_mut(Axis(1), width)) {
            general_mat_mul(1.0, &query, &keys.t(), 0.0, &mut scores);
            for (at, mut row) in scores.rows_mut().into_iter().enumerate() {
                let later = Slice::from(before + at + 1..);
                row.slice_axis_mut(Axis(0), later).fill(f32::NEG_INFINITY);
            }
            softmax(&mut scores, scale);
            general_mat_mul(1.0, &scores, &values, 0.0, &mut output);
        }
    }
}

/// One query with all keys.
struct OneQuery<'a> {
    keys: &'a [[u16; GROUP]],
    values: &'a [[u16; GROUP]],
    query: &'a [[f32; GROUP]],
    output: &'a mut [[f32; GROUP]],
    scale: f32,
}

impl WithSimd for OneQuery<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let groups = self.query.len().max(1);
        let keys = self.keys.chunks_exact(groups);
        let mut scores = Array2::zeros((1, keys.len()));
        for (score, key) in scores.iter_mut().zip(keys) {
            let mut sum = simd.splat_f32s(0.0);
            for (query, key) in self.query.iter().zip(key) {
                let mut wide = [0.0; GROUP];
                for (wide, key) in wide.iter_mut().zip(key) {
                    *wide = widen(*key);
                }
                let (query, _) = S::as_simd_f32s(query);
                let (key, _) = S::as_simd_f32s(&wide);
                for (query, key) in query.iter().zip(key) {
                    sum = simd.mul_add_f32s(*query, *key, sum);
                }
            }
            *score = simd.reduce_sum_f32s(sum);
        }
        softmax(&mut scores, self.scale);
        for output in self.output.iter_mut() {
            *output = [0.0; GROUP];
        }
        for (score, value) in scores.iter().zip(self.values.chunks_exact(groups)) {
            for (output, value) in self.output.iter_mut().zip(value) {
                for (output, value) in output.iter_mut().zip(value) {
                    *output += score * widen(*value);
                }
            }
        }
    }
}

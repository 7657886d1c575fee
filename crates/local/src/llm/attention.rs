//! Attention with the keys and values of earlier tokens, which are kept as bfloat16: half the memory of
//! plain numbers, with the same range.

use std::io;

use memmap2::MmapMut;
use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis, Slice, linalg::general_mat_mul};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::{
    blocks::GROUP,
    cancel::{Cancel, Cancelled},
};
use crate::arithmetic::softmax;

/// A number as it is kept.
type Narrow = [u8; 2];

/// The keys and values of all heads of all layers, with the tokens that have been read. They are pages of their
/// own, which go back to the system when a conversation is forgotten; those of the allocator would stay with the
/// process.
#[derive(Debug)]
pub(super) struct KeyValues {
    layers: usize,
    heads: usize,
    width: usize,
    /// For each layer and in it for each head: the keys, then the values, each with room for `room` tokens.
    pages: Option<MmapMut>,
    room: usize,
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

fn narrow(number: f32) -> Narrow {
    let bits = number.to_bits();
    // Rounded to the nearest, ties to even.
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1));
    ((rounded >> 16) as u16).to_ne_bytes()
}

#[inline(always)]
fn widen(number: Narrow) -> f32 {
    f32::from_bits(u32::from(u16::from_ne_bytes(number)) << 16)
}

impl KeyValues {
    /// Without any token.
    pub const fn new(layers: usize, heads: Heads) -> Self {
        Self {
            layers,
            heads: heads.keys,
            width: heads.width,
            pages: None,
            room: 0,
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

    /// Forgets what comes after the first `tokens` tokens.
    pub fn truncate(&mut self, tokens: usize) {
        self.tokens = self.tokens.min(tokens);
    }

    /// Makes room for so many tokens, those included that have been read; for more at once as they come one by
    /// one.
    ///
    /// # Errors
    /// The system has no memory.
    pub fn reserve(&mut self, tokens: usize) -> io::Result<()> {
        if tokens > self.room {
            let more = if self.room == 0 {
                0
            } else {
                self.room + self.room / 4
            };
            *self = self.with_room(tokens.max(more), self.tokens)?;
        }
        Ok(())
    }

    /// A copy of the first `tokens` tokens.
    ///
    /// # Errors
    /// The system has no memory.
    pub fn prefix(&self, tokens: usize) -> io::Result<Self> {
        let tokens = self.tokens.min(tokens);
        self.with_room(tokens, tokens)
    }

    /// A copy of the first `tokens` tokens with another room.
    fn with_room(&self, room: usize, tokens: usize) -> io::Result<Self> {
        let numbers = self.layers * self.heads * 2 * room * self.width;
        let mut pages = MmapMut::map_anon((numbers * size_of::<Narrow>()).max(1))?;
        if let (Some(old), true) = (&self.pages, tokens > 0) {
            let bytes = |tokens: usize| tokens * self.width * size_of::<Narrow>();
            let new = pages.chunks_exact_mut(bytes(room));
            for (new, old) in new.zip(old.chunks_exact(bytes(self.room))) {
                for (new, old) in new.iter_mut().zip(old).take(bytes(tokens)) {
                    *new = *old;
                }
            }
        }
        Ok(Self {
            pages: Some(pages),
            room,
            tokens,
            ..*self
        })
    }

    /// Bytes in memory.
    pub fn bytes(&self) -> usize {
        self.pages.as_ref().map_or(0, |pages| pages.len())
    }

    /// The numbers of a layer, head by head. Nothing where there is no room.
    fn layer(&mut self, layer: usize) -> impl Iterator<Item = HeadMut<'_>> {
        let numbers = self.room * self.width;
        let per_layer = self.heads * 2 * numbers * size_of::<Narrow>();
        let pages = self.pages.as_mut().filter(|_| numbers > 0);
        let bytes =
            pages.and_then(|pages| pages.get_mut(layer * per_layer..(layer + 1) * per_layer));
        let all = bytes.unwrap_or_default().as_chunks_mut().0;
        all.chunks_exact_mut((2 * numbers).max(1)).map(move |head| {
            let (keys, values) = head.split_at_mut(numbers);
            HeadMut { keys, values }
        })
    }

    /// Adds keys and values of tokens to a layer, for which there must be room, and lets the queries of these
    /// tokens attend to all that stand before them. Queries, keys and values have a row for each token.
    pub fn attend(
        &mut self,
        layer: usize,
        (queries, keys, values): (&Array2<f32>, &Array2<f32>, &Array2<f32>),
        output: &mut Array2<f32>,
        cancel: &Cancel,
    ) -> Result<(), Cancelled> {
        let (before, width) = (self.tokens, self.width);
        let mut heads: Vec<Head<'_>> = Vec::new();
        let (from, to) = (before * width, (before + queries.nrows()) * width);
        for (at, head) in self.layer(layer).enumerate() {
            let columns = Slice::from(at * width..(at + 1) * width);
            for (numbers, rows) in [(&mut *head.keys, keys), (&mut *head.values, values)] {
                let places = numbers.get_mut(from..to).unwrap_or_default();
                let row = rows.slice_axis(Axis(1), columns);
                for (place, number) in places.iter_mut().zip(row.iter()) {
                    *place = narrow(*number);
                }
            }
            heads.push(Head {
                keys: head.keys.get(..to).unwrap_or_default(),
                values: head.values.get(..to).unwrap_or_default(),
            });
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

/// The keys and values of one head, with room for more.
struct HeadMut<'a> {
    keys: &'a mut [Narrow],
    values: &'a mut [Narrow],
}

/// Those of the tokens that there are.
struct Head<'a> {
    keys: &'a [Narrow],
    values: &'a [Narrow],
}

impl Head<'_> {
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
        let wide = |numbers: &[Narrow]| {
            let numbers = numbers.iter().copied().map(widen).collect();
            Array2::from_shape_vec((length, width), numbers).unwrap_or_default()
        };
        let (keys, values) = (wide(self.keys), wide(self.values));
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
    keys: &'a [[Narrow; GROUP]],
    values: &'a [[Narrow; GROUP]],
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

//! Matrices of weights in four or eight bits, and their products.
//!
//! Two forms serve all formats of files: four-bit codes with a scale and an offset for each 32, which
//! hold `Q4_0`, `Q4_1` and `Q4_K` exactly, and eight-bit codes with a scale for each 32 for all others. One
//! vector is multiplied by codes as they stand; for many, rows are turned into numbers a panel at a time,
//! which then goes through an ordinary product of matrices.

use memmap2::MmapMut;
use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis, linalg::general_mat_mul};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::{
    blocks::{self, GROUP},
    cancel::{Cancel, Cancelled},
    gguf::{Gguf, GgufError, Tensor},
};

/// Bytes of a panel: it is to stay in a core's second cache while it is used.
const PANEL_BYTES: usize = 256 * 1024;
/// Rows that a thread takes at once when there is one vector.
const STRIP: usize = 64;

/// How a group is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Codes of four bits, then scale and offset.
    Four,
    /// Codes of eight bits, then their scale.
    Eight,
}

impl Form {
    /// Bytes of a group's codes, and of its scales.
    const fn bytes(self) -> (usize, usize) {
        match self {
            Self::Four => (GROUP / 2, 8),
            Self::Eight => (GROUP, 4),
        }
    }
}

/// A matrix of weights. Its bytes are pages of their own, which go back to the system when the model is
/// unloaded; those of the allocator would stay with the process.
#[derive(Debug)]
pub(super) struct Matrix {
    form: Form,
    codes: MmapMut,
    scales: MmapMut,
    rows: usize,
    columns: usize,
}

impl Matrix {
    /// Reads a tensor.
    pub fn read(gguf: &Gguf, name: &str, rows: usize, columns: usize) -> Result<Self, GgufError> {
        let tensor = gguf
            .tensor(name)
            .ok_or_else(|| GgufError::Damaged(format!("it has no tensor {name}")))?;
        if (tensor.rows, tensor.columns) != (rows, columns) || !columns.is_multiple_of(GROUP) {
            return Err(GgufError::Damaged(format!(
                "the tensor {name} is {} by {}, not {rows} by {columns}",
                tensor.rows, tensor.columns
            )));
        }
        let groups = rows * columns / GROUP;
        let form = if blocks::four_bits(tensor.format, &[]).is_some() {
            Form::Four
        } else {
            Form::Eight
        };
        let (code, scale) = form.bytes();
        let mut matrix = Self {
            form,
            codes: MmapMut::map_anon(groups * code)?,
            scales: MmapMut::map_anon(groups * scale)?,
            rows,
            columns,
        };
        let mut bytes = vec![0; row_bytes(tensor)];
        for row in 0..rows {
            gguf.read(tensor, row, &mut bytes)?;
            matrix.set(row, tensor, &bytes);
        }
        Ok(matrix)
    }

    /// Takes a row as it stands in the file.
    fn set(&mut self, row: usize, tensor: &Tensor, bytes: &[u8]) {
        let groups = self.columns / GROUP;
        let (code, scale) = self.form.bytes();
        let codes = self.codes.get_mut(row * groups * code..);
        let scales = self.scales.get_mut(row * groups * scale..);
        let (Some(codes), Some(scales)) = (codes, scales) else {
            return;
        };
        match self.form {
            Form::Four => {
                let places = codes.as_chunks_mut().0.iter_mut();
                let places = places.zip(scales.as_chunks_mut::<8>().0);
                let groups = blocks::four_bits(tensor.format, bytes).unwrap_or_default();
                for (group, (codes, scales)) in groups.into_iter().zip(places) {
                    *codes = group.codes;
                    let (scale, least) = scales.split_at_mut(4);
                    scale.copy_from_slice(&group.scale.to_ne_bytes());
                    least.copy_from_slice(&group.least.to_ne_bytes());
                }
            }
            Form::Eight => {
                let places = codes.as_chunks_mut().0.iter_mut();
                let places = places.zip(scales.as_chunks_mut::<4>().0);
                let numbers = blocks::numbers(tensor.format, bytes);
                for (group, (codes, scales)) in numbers.as_chunks().0.iter().zip(places) {
                    let (code, scale) = blocks::eight_bits(group);
                    *codes = code;
                    *scales = scale.to_ne_bytes();
                }
            }
        }
    }

    /// Codes and scales of a row and those behind it.
    fn behind(&self, row: usize) -> (&[u8], &[u8]) {
        let first = row * self.columns / GROUP;
        let (code, scale) = self.form.bytes();
        let codes = self.codes.get(first * code..);
        let scales = self.scales.get(first * scale..);
        (codes.unwrap_or_default(), scales.unwrap_or_default())
    }

    pub const fn rows(&self) -> usize {
        self.rows
    }

    /// Bytes in memory.
    pub fn bytes(&self) -> usize {
        self.codes.len() + self.scales.len()
    }

    /// The numbers of a row.
    pub fn row(&self, row: usize, out: &mut [f32]) {
        self.panel(row, out);
    }

    /// For each row of `input` the products with all rows of the matrix.
    pub fn apply(
        &self,
        input: ArrayView2<'_, f32>,
        output: &mut Array2<f32>,
        cancel: &Cancel,
    ) -> Result<(), Cancelled> {
        cancel.check()?;
        if input.nrows() == 1
            && let (Some(input), Some(output)) = (input.as_slice(), output.as_slice_mut())
        {
            let sums: Vec<f32> = input
                .chunks(GROUP)
                .map(|group| group.iter().sum())
                .collect();
            output
                .par_chunks_mut(STRIP)
                .enumerate()
                .for_each(|(strip, output)| self.strip(strip * STRIP, input, &sums, output));
            return Ok(());
        }
        let rows = (PANEL_BYTES / 4 / self.columns).clamp(8, self.rows.max(8));
        let panels: Vec<ArrayViewMut2<'_, f32>> =
            output.axis_chunks_iter_mut(Axis(1), rows).collect();
        panels.into_par_iter().enumerate().try_for_each_init(
            Vec::new,
            |panel: &mut Vec<f32>, (at, mut output)| {
                cancel.check()?;
                panel.resize(output.ncols() * self.columns, 0.0);
                self.panel(at * rows, panel);
                let shape = (output.ncols(), self.columns);
                if let Ok(weights) = ArrayView2::from_shape(shape, panel) {
                    general_mat_mul(1.0, &input, &weights.t(), 0.0, &mut output);
                }
                Ok(())
            },
        )
    }

    /// The products of one vector with some rows. `sums` are those of its groups.
    fn strip(&self, first: usize, input: &[f32], sums: &[f32], output: &mut [f32]) {
        let input = input.as_chunks().0;
        let (codes, scales) = self.behind(first);
        match self.form {
            Form::Four => Arch::new().dispatch(FourBitStrip {
                codes: codes.as_chunks().0,
                scales: scales.as_chunks().0,
                input,
                sums,
                output,
            }),
            Form::Eight => Arch::new().dispatch(EightBitStrip {
                codes: codes.as_chunks().0,
                scales: scales.as_chunks().0,
                input,
                output,
            }),
        }
    }

    /// The numbers of the rows from `first` on, as many as there is room for.
    fn panel(&self, first: usize, out: &mut [f32]) {
        let out = out.as_chunks_mut::<GROUP>().0;
        let (codes, scales) = self.behind(first);
        match self.form {
            Form::Four => Arch::new().dispatch(FourBitPanel {
                codes: codes.as_chunks().0,
                scales: scales.as_chunks().0,
                out,
            }),
            Form::Eight => Arch::new().dispatch(EightBitPanel {
                codes: codes.as_chunks().0,
                scales: scales.as_chunks().0,
                out,
            }),
        }
    }
}

fn row_bytes(tensor: &Tensor) -> usize {
    let (numbers, bytes) = tensor.format.block();
    tensor.columns / numbers * bytes
}

// Loops rather than `map` on arrays, of which the compiler makes no vector instructions.

#[inline(always)]
fn of_four_bits(codes: &[u8; GROUP / 2]) -> [f32; GROUP] {
    let mut wide = [0_u8; GROUP];
    let (low, high) = wide.split_at_mut(GROUP / 2);
    for ((code, low), high) in codes.iter().zip(low).zip(high) {
        *low = code & 15;
        *high = code >> 4;
    }
    let mut numbers = [0.0; GROUP];
    for (number, code) in numbers.iter_mut().zip(wide) {
        *number = f32::from(code);
    }
    numbers
}

#[inline(always)]
fn of_eight_bits(codes: &[u8; GROUP]) -> [f32; GROUP] {
    let mut numbers = [0.0; GROUP];
    for (number, code) in numbers.iter_mut().zip(codes) {
        *number = f32::from(code.cast_signed());
    }
    numbers
}

#[inline(always)]
fn pair([a, b, c, d, e, f, g, h]: &[u8; 8]) -> (f32, f32) {
    let (scale, least) = ([*a, *b, *c, *d], [*e, *f, *g, *h]);
    (f32::from_ne_bytes(scale), f32::from_ne_bytes(least))
}

/// The sum of the products of two groups, spread over a register.
#[inline(always)]
fn dot<S: Simd>(simd: S, a: &[f32; GROUP], b: &[f32; GROUP]) -> S::f32s {
    let (a, _) = S::as_simd_f32s(a);
    let (b, _) = S::as_simd_f32s(b);
    let mut sum = simd.splat_f32s(0.0);
    for (a, b) in a.iter().zip(b) {
        sum = simd.mul_add_f32s(*a, *b, sum);
    }
    sum
}

struct FourBitStrip<'a> {
    codes: &'a [[u8; GROUP / 2]],
    scales: &'a [[u8; 8]],
    input: &'a [[f32; GROUP]],
    sums: &'a [f32],
    output: &'a mut [f32],
}

impl WithSimd for FourBitStrip<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let groups = self.input.len().max(1);
        let rows = self
            .codes
            .chunks_exact(groups)
            .zip(self.scales.chunks_exact(groups));
        for ((codes, scales), output) in rows.zip(self.output) {
            let (mut sum, mut offset) = (simd.splat_f32s(0.0), 0.0);
            let inputs = self.input.iter().zip(self.sums);
            for ((codes, scales), (input, total)) in codes.iter().zip(scales).zip(inputs) {
                let (scale, least) = pair(scales);
                let part = dot(simd, &of_four_bits(codes), input);
                sum = simd.mul_add_f32s(part, simd.splat_f32s(scale), sum);
                offset += least * total;
            }
            *output = simd.reduce_sum_f32s(sum) + offset;
        }
    }
}

struct EightBitStrip<'a> {
    codes: &'a [[u8; GROUP]],
    scales: &'a [[u8; 4]],
    input: &'a [[f32; GROUP]],
    output: &'a mut [f32],
}

impl WithSimd for EightBitStrip<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let groups = self.input.len().max(1);
        let rows = self
            .codes
            .chunks_exact(groups)
            .zip(self.scales.chunks_exact(groups));
        for ((codes, scales), output) in rows.zip(self.output) {
            let mut sum = simd.splat_f32s(0.0);
            for ((codes, scale), input) in codes.iter().zip(scales).zip(self.input) {
                let part = dot(simd, &of_eight_bits(codes), input);
                sum = simd.mul_add_f32s(part, simd.splat_f32s(f32::from_ne_bytes(*scale)), sum);
            }
            *output = simd.reduce_sum_f32s(sum);
        }
    }
}

struct FourBitPanel<'a> {
    codes: &'a [[u8; GROUP / 2]],
    scales: &'a [[u8; 8]],
    out: &'a mut [[f32; GROUP]],
}

impl WithSimd for FourBitPanel<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for ((codes, scales), out) in self.codes.iter().zip(self.scales).zip(self.out) {
            let (scale, least) = pair(scales);
            for (out, code) in out.iter_mut().zip(of_four_bits(codes)) {
                *out = code * scale + least;
            }
        }
    }
}

struct EightBitPanel<'a> {
    codes: &'a [[u8; GROUP]],
    scales: &'a [[u8; 4]],
    out: &'a mut [[f32; GROUP]],
}

impl WithSimd for EightBitPanel<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for ((codes, scale), out) in self.codes.iter().zip(self.scales).zip(self.out) {
            let scale = f32::from_ne_bytes(*scale);
            for (out, code) in out.iter_mut().zip(of_eight_bits(codes)) {
                *out = code * scale;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A matrix of each kind, and its numbers.
    fn matrices(rows: usize, columns: usize) -> [(Matrix, Array2<f32>); 2] {
        let groups = rows * columns / GROUP;
        [Form::Four, Form::Eight].map(|form| {
            let (code, scale) = form.bytes();
            let mut matrix = Matrix {
                form,
                codes: MmapMut::map_anon(groups * code).unwrap(),
                scales: MmapMut::map_anon(groups * scale).unwrap(),
                rows,
                columns,
            };
            for (at, byte) in matrix.codes.iter_mut().enumerate() {
                *byte = (at * 37 % 251) as u8;
            }
            for (at, bytes) in matrix.scales.as_chunks_mut().0.iter_mut().enumerate() {
                let sign = if form == Form::Four && at % 2 == 1 {
                    -5.0
                } else {
                    1.0
                };
                *bytes = (sign * (0.01 + at as f32 * 1e-6)).to_ne_bytes();
            }
            let mut numbers = Array2::zeros((rows, columns));
            matrix.panel(0, numbers.as_slice_mut().unwrap());
            (matrix, numbers)
        })
    }

    #[test]
    fn products_of_one_and_of_many_vectors_are_those_of_plain_numbers() {
        let never = Cancel::when(|| false);
        // More rows than a strip and than a panel have, and no whole number of either.
        for (matrix, numbers) in matrices(1_090, 96) {
            for count in [1, 5] {
                let input =
                    Array2::from_shape_fn((count, 96), |(a, b)| ((a * 96 + b) as f32).sin());
                let mut found = Array2::zeros((count, 1_090));
                matrix.apply(input.view(), &mut found, &never).unwrap();
                let wanted = input.dot(&numbers.t());
                let off = (&found - &wanted)
                    .iter()
                    .fold(0.0_f32, |a, b| a.max(b.abs()));
                assert!(off < 1e-3, "{count} vectors are off by {off}");
            }
        }
    }

    #[test]
    fn nothing_is_computed_that_nobody_waits_for() {
        let over = Cancel::when(|| true);
        let [(matrix, _), _] = matrices(64, 32);
        let input = Array2::zeros((4, 32));
        let mut output = Array2::from_elem((4, 64), 7.0);
        assert_eq!(
            matrix.apply(input.view(), &mut output, &over),
            Err(Cancelled)
        );
        assert!(output.iter().all(|number| *number == 7.0));
    }
}

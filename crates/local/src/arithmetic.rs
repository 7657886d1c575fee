//! The functions of an encoder between its products of matrices.
//!
//! They are written without branches and calls, so that the compiler turns them into vector
//! instructions; the exponential and error functions are approximations that are exact to about the
//! last bit of what the sums after them keep.

use ndarray::{Array2, ArrayViewMut1};

/// `e^x`: reduced to `2^n * e^r` with |r| below ln(2)/2, and `e^r` by the polynomial of Cephes' `expf`
/// (Stephen Moshier, netlib). Relative error below 2e-7.
pub(crate) fn exp(x: f32) -> f32 {
    /// Adding it rounds a number to a whole one in the lowest bits of its mantissa.
    const ROUND: f32 = 12_582_912.0;
    let x = x.clamp(-87.0, 88.0);
    let shifted = x.mul_add_soft(std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = x - n * 0.693_359_4 - n * -2.121_944_4e-4;
    let mut p = 1.987_569_1e-4;
    for coefficient in [
        1.398_199_9e-3,
        8.333_452e-3,
        4.166_579_6e-2,
        0.166_666_65,
        0.5,
    ] {
        p = p * r + coefficient;
    }
    let power = shifted
        .to_bits()
        .wrapping_sub(ROUND.to_bits())
        .wrapping_add(127)
        << 23;
    (p * r * r + r + 1.0) * f32::from_bits(power)
}

/// A product and a sum, rounded twice: the fused form is a slow call where the processor is not known
/// to have it.
trait MulAddSoft {
    fn mul_add_soft(self, factor: f32, summand: f32) -> f32;
}

impl MulAddSoft for f32 {
    fn mul_add_soft(self, factor: f32, summand: f32) -> f32 {
        self * factor + summand
    }
}

/// The error function by the rational approximation that Eigen and XLA use; absolute error below 1e-6.
fn erf(x: f32) -> f32 {
    let x = x.clamp(-4.0, 4.0);
    let square = x * x;
    let mut above = -2.726_142_3e-10;
    for coefficient in [
        2.770_681_5e-8,
        -2.101_024e-6,
        -5.692_506_4e-5,
        -7.349_906_3e-4,
        -2.954_6e-3,
        -1.609_603_3e-2,
    ] {
        above = above * square + coefficient;
    }
    let mut below = -1.456_607_2e-5;
    for coefficient in [
        -2.133_740_6e-4,
        -1.682_827e-3,
        -7.373_329_3e-3,
        -1.426_473_9e-2,
    ] {
        below = below * square + coefficient;
    }
    x * above / below
}

/// Hendrycks and Gimpel's GELU in its exact form.
pub(crate) fn gelu(numbers: &mut [f32]) {
    for number in numbers {
        *number = 0.5 * *number * (1.0 + erf(*number * std::f32::consts::FRAC_1_SQRT_2));
    }
}

/// Makes each row sum up to 1, after scaling.
pub(crate) fn softmax(rows: &mut Array2<f32>, scale: f32) {
    for mut row in rows.rows_mut() {
        let Some(row) = row.as_slice_mut() else {
            continue;
        };
        let greatest = row.iter().fold(f32::NEG_INFINITY, |a, b| a.max(*b));
        for number in row.iter_mut() {
            *number = exp((*number - greatest) * scale);
        }
        let sum: f32 = row.iter().sum();
        let factor = 1.0 / sum;
        for number in row.iter_mut() {
            *number *= factor;
        }
    }
}

/// Gates numbers: each is multiplied by its logistic function and by what stands for it in `factors`
/// (Shazeer, 2020).
#[cfg(feature = "llm")]
pub(crate) fn silu(numbers: &mut [f32], factors: &[f32]) {
    for (number, factor) in numbers.iter_mut().zip(factors) {
        *number = *number / (1.0 + exp(-*number)) * factor;
    }
}

/// Scales numbers to a mean square of 1, then by what was learned (Zhang and Sennrich, 2019).
#[cfg(feature = "llm")]
pub(crate) fn rms_norm(numbers: &mut [f32], learned: &[f32], eps: f32) {
    let squares = numbers.iter().map(|number| number * number).sum::<f32>();
    let factor = 1.0 / (squares / numbers.len() as f32 + eps).sqrt();
    for (number, learned) in numbers.iter_mut().zip(learned) {
        *number *= factor * learned;
    }
}

/// Layer normalisation with its learned scale and shift.
#[derive(Debug)]
pub(crate) struct LayerNorm {
    pub scale: Vec<f32>,
    pub shift: Vec<f32>,
    pub eps: f32,
}

impl LayerNorm {
    /// Normalises each row.
    pub fn apply(&self, rows: &mut Array2<f32>) {
        for row in rows.rows_mut() {
            self.apply_row(row);
        }
    }

    fn apply_row(&self, mut row: ArrayViewMut1<'_, f32>) {
        let Some(row) = row.as_slice_mut() else {
            return;
        };
        let count = row.len() as f32;
        let mean = row.iter().sum::<f32>() / count;
        let variance = row
            .iter()
            .map(|number| (number - mean) * (number - mean))
            .sum::<f32>()
            / count;
        let factor = 1.0 / (variance + self.eps).sqrt();
        let learned = self.scale.iter().zip(&self.shift);
        for (number, (scale, shift)) in row.iter_mut().zip(learned) {
            *number = (*number - mean) * factor * scale + shift;
        }
    }
}

/// Scales a vector to length 1.
pub(crate) fn normalise(vector: &mut [f32]) {
    let length = vector.iter().map(|number| number * number).sum::<f32>();
    let factor = 1.0 / length.sqrt().max(1e-12);
    for number in vector {
        *number *= factor;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The error function by its series, in double precision.
    fn exact_erf(x: f64) -> f64 {
        let (mut term, mut sum) = (x, x);
        for n in 1..200 {
            term *= -x * x / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        sum * 2.0 / std::f64::consts::PI.sqrt()
    }

    #[test]
    fn the_approximations_agree_with_the_exact_functions() {
        for step in -8_000..=8_000 {
            let x = step as f32 * 0.01;
            let exact = f64::from(x).exp();
            assert!((f64::from(exp(x)) / exact - 1.0).abs() < 5e-7, "exp({x})");
            if x.abs() < 4.5 {
                let off = f64::from(erf(x)) - exact_erf(f64::from(x));
                assert!(off.abs() < 1e-6, "erf({x}) is off by {off}");
            }
        }
    }

    #[test]
    fn a_softmax_sums_up_to_one_and_keeps_the_order() {
        let mut rows = Array2::from_shape_vec((2, 3), vec![1.0, 2.0, 3.0, -1e4, 0.0, 1e4]).unwrap();
        softmax(&mut rows, 1.0);
        let first = rows.row(0).to_vec();
        assert!((first.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        assert!((first[2] - 0.665_240_96).abs() < 1e-6);
        assert!(rows[[1, 2]] > 0.999_999);
    }
}

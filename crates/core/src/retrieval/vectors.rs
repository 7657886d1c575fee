//! Vectors in memory: eight bits a number, with a scale for each vector.
//!
//! Vectors have length 1, so the dot product is the cosine. Rounding moves it by less than 0.01, which a
//! test holds; the rows in the database keep 16 bits.

use pulp::Arch;

/// The vectors of an index, row by row.
#[derive(Debug, Default)]
pub(super) struct Vectors {
    dims: usize,
    codes: Vec<i8>,
    scales: Vec<f32>,
    /// Whose vector a row is.
    owners: Vec<u32>,
}

/// A vector in eight bits.
#[derive(Debug, Clone)]
pub(super) struct Coded {
    pub codes: Vec<i8>,
    pub scale: f32,
}

impl Coded {
    /// Rounds a vector.
    #[allow(clippy::cast_possible_truncation)]
    pub fn new(vector: &[f32]) -> Self {
        let largest = vector
            .iter()
            .filter(|number| number.is_finite())
            .fold(0.0_f32, |largest, number| largest.max(number.abs()));
        let scale = if largest > 0.0 { largest / 127.0 } else { 1.0 };
        let codes = vector.iter().map(|number| (number / scale).round() as i8);
        Self {
            codes: codes.collect(),
            scale,
        }
    }
}

impl Vectors {
    /// Adds a vector, or puts it in the place of the one that stands in `row`. Returns its row; `None`
    /// when it has another length than those that are there.
    pub fn put(&mut self, owner: u32, row: Option<u32>, vector: &Coded) -> Option<u32> {
        if self.owners.is_empty() {
            self.dims = vector.codes.len();
        }
        if self.dims != vector.codes.len() || self.dims == 0 {
            return None;
        }
        if let Some(row) = row {
            let at = row as usize;
            let codes = self.codes.get_mut(at * self.dims..(at + 1) * self.dims)?;
            codes.copy_from_slice(&vector.codes);
            *self.scales.get_mut(at)? = vector.scale;
            return Some(row);
        }
        let row = u32::try_from(self.owners.len()).ok()?;
        self.codes.extend_from_slice(&vector.codes);
        self.scales.push(vector.scale);
        self.owners.push(owner);
        Some(row)
    }

    pub const fn is_empty(&self) -> bool {
        self.owners.is_empty()
    }

    pub fn bytes(&self) -> usize {
        self.codes.capacity() + 4 * (self.scales.capacity() + self.owners.capacity())
    }

    /// For each owner the cosine of its nearest vector; [`f32::NAN`] where it has none.
    pub fn nearest(&self, query: &[f32], owners: usize) -> Vec<f32> {
        let mut best = vec![f32::NAN; owners];
        if query.len() != self.dims || self.is_empty() {
            return best;
        }
        let query = Coded::new(query);
        // The processor's widest instructions are chosen at run time.
        Arch::new().dispatch(|| {
            let rows = self.codes.chunks_exact(self.dims);
            for ((row, scale), owner) in rows.zip(&self.scales).zip(&self.owners) {
                #[allow(clippy::cast_precision_loss)]
                let cosine = dot(row, &query.codes) as f32 * scale * query.scale;
                if let Some(best) = best.get_mut(*owner as usize) {
                    // `max` ignores NaN.
                    *best = best.max(cosine);
                }
            }
        });
        best
    }
}

/// Written so that the compiler makes wide multiply-and-add instructions of it.
#[inline(always)]
fn dot(a: &[i8], b: &[i8]) -> i32 {
    a.iter()
        .zip(b)
        .map(|(a, b)| i32::from(i16::from(*a) * i16::from(*b)))
        .sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn unit(numbers: &[f32]) -> Vec<f32> {
        let length = numbers.iter().map(|n| n * n).sum::<f32>().sqrt().max(1e-6);
        numbers.iter().map(|n| n / length).collect()
    }

    proptest! {
        #[test]
        fn rounding_moves_a_cosine_by_less_than_a_hundredth(
            a in prop::collection::vec(-1.0_f32..1.0, 96),
            b in prop::collection::vec(-1.0_f32..1.0, 96),
        ) {
            let (a, b) = (unit(&a), unit(&b));
            let exact: f32 = a.iter().zip(&b).map(|(a, b)| a * b).sum();
            let mut vectors = Vectors::default();
            vectors.put(0, None, &Coded::new(&a)).unwrap();
            let found = vectors.nearest(&b, 2);
            prop_assert!((found[0] - exact).abs() < 0.01, "{} {exact}", found[0]);
            prop_assert!(found[1].is_nan());
        }
    }

    #[test]
    fn the_nearest_of_several_vectors_counts() {
        let mut vectors = Vectors::default();
        for (owner, vector) in [(0, [1.0, 0.0]), (0, [0.0, 1.0]), (1, [0.6, 0.8])] {
            vectors.put(owner, None, &Coded::new(&vector)).unwrap();
        }
        let found = vectors.nearest(&[0.0, 1.0], 2);
        assert!((found[0] - 1.0).abs() < 0.01 && (found[1] - 0.8).abs() < 0.01);
        assert_eq!(
            vectors.put(1, None, &Coded::new(&[1.0])),
            None,
            "another length"
        );
        vectors.put(1, Some(2), &Coded::new(&[1.0, 0.0])).unwrap();
        assert!(vectors.nearest(&[0.0, 1.0], 2)[1].abs() < 0.01, "replaced");
    }
}

//! Turns the blocks of GGUF's formats into numbers (github.com/ggml-org/ggml, `ggml-quants.c`, the
//! functions `dequantize_row_*`).

use super::gguf::Format;

/// Numbers of a group: the smallest piece that all formats share.
pub(super) const GROUP: usize = 32;

/// A half-precision number. Infinities and NaN, which weights do not have, become large numbers.
#[inline(always)]
pub(super) fn half(bytes: [u8; 2]) -> f32 {
    /// 2^112, by which the exponents of the two forms differ.
    const SHIFT: f32 = f32::from_bits(0x7780_0000);
    let bits = u32::from(u16::from_le_bytes(bytes));
    let magnitude = f32::from_bits((bits & 0x7fff) << 13) * SHIFT;
    f32::from_bits(magnitude.to_bits() | (bits & 0x8000) << 16)
}

/// Four-bit codes with what they mean: `code * scale + least`. The low halves of the bytes come first.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct FourBits {
    pub codes: [u8; GROUP / 2],
    pub scale: f32,
    pub least: f32,
}

/// The groups of a row in a format that has four bits; nothing for other formats.
pub(super) fn four_bits(format: Format, row: &[u8]) -> Option<Vec<FourBits>> {
    match format {
        Format::Q4_0 => Some(row.as_chunks().0.iter().map(q4_0).collect()),
        Format::Q4_1 => Some(row.as_chunks().0.iter().map(q4_1).collect()),
        Format::Q4K => Some(row.as_chunks().0.iter().flat_map(q4_k).collect()),
        _ => None,
    }
}

fn q4_0([d0, d1, codes @ ..]: &[u8; 18]) -> FourBits {
    let scale = half([*d0, *d1]);
    FourBits {
        codes: *codes,
        scale,
        least: -8.0 * scale,
    }
}

fn q4_1([d0, d1, m0, m1, codes @ ..]: &[u8; 20]) -> FourBits {
    FourBits {
        codes: *codes,
        scale: half([*d0, *d1]),
        least: half([*m0, *m1]),
    }
}

/// The eight scales and offsets of a block, in six bits each.
fn six_bits(packed: &[u8; 12]) -> [(f32, f32); 8] {
    let [a, b, c] = [0, 4, 8].map(|at| {
        let part = packed.get(at..at + 4).and_then(|part| part.try_into().ok());
        part.unwrap_or([0_u8; 4])
    });
    let mut all = [(0.0, 0.0); 8];
    let (low, high) = all.split_at_mut(4);
    for (((low, high), (a, b)), c) in low.iter_mut().zip(high).zip(a.into_iter().zip(b)).zip(c) {
        *low = (f32::from(a & 63), f32::from(b & 63));
        *high = (
            f32::from((c & 15) | (a >> 6) << 4),
            f32::from((c >> 4) | (b >> 6) << 4),
        );
    }
    all
}

fn q4_k([d0, d1, m0, m1, rest @ ..]: &[u8; 144]) -> [FourBits; 8] {
    let (scale, least) = (half([*d0, *d1]), half([*m0, *m1]));
    let (packed, codes) = rest.split_first_chunk::<12>().unwrap_or((&[0; 12], &[]));
    let scales = six_bits(packed);
    let mut groups = [FourBits {
        codes: [0; 16],
        scale: 0.0,
        least: 0.0,
    }; 8];
    for (group, (s, m)) in groups.iter_mut().zip(scales) {
        group.scale = scale * s;
        group.least = -least * m;
    }
    // 32 bytes hold two groups: one in the low halves, one in the high ones.
    let pairs = groups.as_chunks_mut::<2>().0.iter_mut();
    for ([low, high], bytes) in pairs.zip(codes.as_chunks::<32>().0) {
        let (first, second) = bytes.split_at(16);
        let both = first.iter().zip(second);
        for (((a, b), low), high) in both.zip(&mut low.codes).zip(&mut high.codes) {
            *low = (a & 15) | (b & 15) << 4;
            *high = (a >> 4) | (b >> 4) << 4;
        }
    }
    groups
}

/// The numbers of a row.
pub(super) fn numbers(format: Format, row: &[u8]) -> Vec<f32> {
    if let Some(groups) = four_bits(format, row) {
        return groups.iter().flat_map(in_four_bits).collect();
    }
    match format {
        Format::F32 => row
            .as_chunks()
            .0
            .iter()
            .map(|b| f32::from_le_bytes(*b))
            .collect(),
        Format::F16 => row.as_chunks().0.iter().map(|b| half(*b)).collect(),
        Format::Bf16 => row
            .as_chunks()
            .0
            .iter()
            .map(|[a, b]| f32::from_le_bytes([0, 0, *a, *b]))
            .collect(),
        Format::Q5_0 => row.as_chunks().0.iter().flat_map(q5_0).collect(),
        Format::Q5_1 => row.as_chunks().0.iter().flat_map(q5_1).collect(),
        Format::Q8_0 => row.as_chunks().0.iter().flat_map(q8_0).collect(),
        Format::Q5K => row.as_chunks().0.iter().flat_map(q5_k).collect(),
        Format::Q6K => row.as_chunks().0.iter().flat_map(q6_k).collect(),
        Format::Q4_0 | Format::Q4_1 | Format::Q4K => Vec::new(),
    }
}

fn in_four_bits(group: &FourBits) -> [f32; GROUP] {
    let mut out = [0.0; GROUP];
    let (low, high) = out.split_at_mut(16);
    for ((code, low), high) in group.codes.iter().zip(low).zip(high) {
        *low = f32::from(code & 15) * group.scale + group.least;
        *high = f32::from(code >> 4) * group.scale + group.least;
    }
    out
}

/// Five bits, the fifth of which stand apart: `code * scale + least`.
fn five_bits(high: u32, codes: &[u8; 16], (scale, least): (f32, f32)) -> [f32; GROUP] {
    let mut out = [0.0; GROUP];
    for (at, out) in out.iter_mut().enumerate() {
        let byte = codes.get(at % 16).copied().unwrap_or_default();
        let low = if at < 16 { byte & 15 } else { byte >> 4 };
        let fifth = u8::from(high >> at & 1 == 1) << 4;
        *out = f32::from(low | fifth) * scale + least;
    }
    out
}

fn q5_0([d0, d1, h0, h1, h2, h3, codes @ ..]: &[u8; 22]) -> [f32; GROUP] {
    let scale = half([*d0, *d1]);
    let high = u32::from_le_bytes([*h0, *h1, *h2, *h3]);
    five_bits(high, codes, (scale, -16.0 * scale))
}

fn q5_1([d0, d1, m0, m1, h0, h1, h2, h3, codes @ ..]: &[u8; 24]) -> [f32; GROUP] {
    let high = u32::from_le_bytes([*h0, *h1, *h2, *h3]);
    five_bits(high, codes, (half([*d0, *d1]), half([*m0, *m1])))
}

fn q8_0([d0, d1, codes @ ..]: &[u8; 34]) -> [f32; GROUP] {
    let scale = half([*d0, *d1]);
    codes.map(|code| f32::from(code.cast_signed()) * scale)
}

fn q5_k([d0, d1, m0, m1, rest @ ..]: &[u8; 176]) -> [f32; 256] {
    let (scale, least) = (half([*d0, *d1]), half([*m0, *m1]));
    let (packed, rest) = rest.split_first_chunk::<12>().unwrap_or((&[0; 12], &[]));
    let (fifths, codes) = rest.split_first_chunk::<32>().unwrap_or((&[0; 32], &[]));
    let mut out = [0.0; 256];
    let groups = out.as_chunks_mut::<GROUP>().0.iter_mut();
    for (at, (group, (s, m))) in groups.zip(six_bits(packed)).enumerate() {
        let bytes = codes.get(at / 2 * 32..).unwrap_or_default();
        for ((out, byte), fifth) in group.iter_mut().zip(bytes).zip(fifths) {
            let low = if at % 2 == 0 { byte & 15 } else { byte >> 4 };
            let code = low | (fifth >> at & 1) << 4;
            *out = f32::from(code) * scale * s - least * m;
        }
    }
    out
}

fn q6_k(block: &[u8; 210]) -> [f32; 256] {
    let (low, rest) = block.split_first_chunk::<128>().unwrap_or((&[0; 128], &[]));
    let (high, rest) = rest.split_first_chunk::<64>().unwrap_or((&[0; 64], &[]));
    let (scales, scale) = rest.split_first_chunk::<16>().unwrap_or((&[0; 16], &[]));
    let scale = half(scale.try_into().unwrap_or_default());
    let mut out = [0.0; 256];
    let halves = out.as_chunks_mut::<128>().0.iter_mut();
    let parts = halves
        .zip(low.as_chunks::<64>().0)
        .zip(high.as_chunks::<32>().0)
        .zip(scales.as_chunks::<8>().0);
    for (((out, low), high), scales) in parts {
        for (at, out) in out.iter_mut().enumerate() {
            // Four runs of 32 numbers share their bytes: two runs the high bits, two the low ones.
            let (run, place) = (at / 32, at % 32);
            let byte = low.get(place + run % 2 * 32).copied().unwrap_or_default();
            let four = if run < 2 { byte & 15 } else { byte >> 4 };
            let two = high.get(place).map_or(0, |byte| byte >> (run * 2) & 3);
            let step = scales.get(at / 16).map_or(0, |scale| scale.cast_signed());
            let code = (four | two << 4).cast_signed() - 32;
            *out = scale * f32::from(step) * f32::from(code);
        }
    }
    out
}

/// Eight-bit codes of numbers, and the scale that makes numbers of them again.
pub(super) fn eight_bits(numbers: &[f32; GROUP]) -> ([u8; GROUP], f32) {
    let largest = numbers.iter().fold(0.0_f32, |a, b| a.max(b.abs()));
    let scale = largest / 127.0;
    let factor = if scale > 0.0 { 1.0 / scale } else { 0.0 };
    // Within -127 to 127 by the choice of the scale.
    #[allow(clippy::cast_possible_truncation)]
    let codes = numbers.map(|number| ((number * factor).round() as i8).cast_unsigned());
    (codes, scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Random blocks, and what the Python package `gguf` (0.17, MIT) makes of them.
    #[derive(serde::Deserialize)]
    struct Sample {
        format: String,
        bytes: String,
        numbers: Vec<f32>,
    }

    fn samples() -> Vec<Sample> {
        serde_json::from_str(include_str!("../../tests/fixtures/blocks.json")).unwrap()
    }

    const FORMATS: [Format; 10] = [
        Format::Q4_0,
        Format::Q4_1,
        Format::Q5_0,
        Format::Q5_1,
        Format::Q8_0,
        Format::Q4K,
        Format::Q5K,
        Format::Q6K,
        Format::F16,
        Format::Bf16,
    ];

    fn bytes(hex: &str) -> Vec<u8> {
        let digits = hex.as_bytes().as_chunks::<2>().0.iter();
        let text = digits.map(|pair| std::str::from_utf8(pair).unwrap());
        text.map(|pair| u8::from_str_radix(pair, 16).unwrap())
            .collect()
    }

    #[test]
    fn every_format_means_the_numbers_that_others_read_in_it() {
        for sample in samples() {
            let format = FORMATS
                .into_iter()
                .find(|format| format!("{format:?}") == sample.format);
            let found = numbers(format.unwrap(), &bytes(&sample.bytes));
            assert_eq!(found.len(), sample.numbers.len(), "{}", sample.format);
            for (found, wanted) in found.iter().zip(&sample.numbers) {
                let off = (found - wanted).abs();
                assert!(
                    off <= wanted.abs() * 1e-4 + 1e-4,
                    "{}: {found} {wanted}",
                    sample.format
                );
            }
        }
    }

    #[test]
    fn eight_bits_keep_numbers_to_half_a_step() {
        let wanted: [f32; GROUP] = std::array::from_fn(|at| (at as f32 * 0.7).sin() * 3.0);
        let (codes, scale) = eight_bits(&wanted);
        for (code, wanted) in codes.iter().zip(wanted) {
            assert!((f32::from(code.cast_signed()) * scale - wanted).abs() <= scale * 0.501);
        }
        assert_eq!(eight_bits(&[0.0; GROUP]), ([0; GROUP], 0.0));
    }
}

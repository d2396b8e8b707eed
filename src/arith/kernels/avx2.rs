//! The loops for AVX2.
//!
//! Safety: the functions rely on their target features, which [`set`] detects, and `accumulate` on what [`Kernels::accumulate`] asserts: a
//! word of each list of weights for each offset, and every place, plane and offset together within the words.

#![allow(unsafe_code)]

use std::arch::x86_64::{
    __m256i, _mm_cvtsi32_si128, _mm256_add_epi8, _mm256_add_epi32, _mm256_add_epi64, _mm256_and_si256,
    _mm256_castps_si256, _mm256_castsi256_ps, _mm256_cmpgt_epi32, _mm256_loadu_si256, _mm256_movemask_ps,
    _mm256_mullo_epi32, _mm256_permute4x64_epi64, _mm256_sad_epu8, _mm256_set1_epi8, _mm256_set1_epi32,
    _mm256_set1_epi64x, _mm256_setr_epi8, _mm256_setzero_si256, _mm256_shuffle_epi8, _mm256_shuffle_ps,
    _mm256_sll_epi32, _mm256_srli_epi16, _mm256_storeu_si256, _mm256_xor_si256,
};

use super::set::{Counted, Kernels, Operands, ROWS, Sums, TILE, Words};

static SET: Kernels = Kernels { name: "avx2", accumulate, reached, levels, plane };

/// The set, if the processor has what it takes.
pub fn set() -> Option<&'static Kernels> {
    is_x86_feature_detected!("avx2").then_some(&SET)
}

/// Eight 32-bit integers.
#[inline(always)]
pub(super) unsafe fn load(of: &[i32; ROWS]) -> __m256i {
    unsafe { _mm256_loadu_si256(of.as_ptr().cast()) }
}

/// Stores them.
#[inline(always)]
pub(super) unsafe fn store(to: &mut [i32; ROWS], value: __m256i) {
    unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), value) }
}

/// Steps after which a byte could overflow: a byte has 8 bits.
const STEPS: usize = 31;
/// Operands in registers.
const PAIR: usize = 2;

#[target_feature(enable = "avx2")]
unsafe fn accumulate(counted: Counted<'_>, operands: &Operands<'_>, sums: &mut Sums) {
    unsafe {
        match counted {
            Counted::Differ(weights) => {
                count(operands, sums, |i, h, x| _mm256_xor_si256(x, half(weights, i, h)));
            }
            Counted::DifferWhere(weights, mask) => count(operands, sums, |i, h, x| {
                _mm256_and_si256(_mm256_xor_si256(x, half(weights, i, h)), half(mask, i, h))
            }),
            Counted::Both(weights) => {
                count(operands, sums, |i, h, x| _mm256_and_si256(x, half(weights, i, h)));
            }
        }
    }
}

/// Words of four rows, the first or the second ones.
#[inline(always)]
unsafe fn half(words: &[Words], i: usize, h: usize) -> __m256i {
    unsafe { _mm256_loadu_si256(words.as_ptr().add(i).cast::<u64>().add(h * ROWS / 2).cast()) }
}

/// The number of ones of each byte, from a table of half bytes (Mula, Kurz, Lemire, "Faster Population Counts Using AVX2
/// Instructions", 2018).
#[inline(always)]
unsafe fn ones(x: __m256i) -> __m256i {
    unsafe {
        #[rustfmt::skip]
        let table = _mm256_setr_epi8(
            0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4,
            0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4,
        );
        let low = _mm256_set1_epi8(15);
        let lows = _mm256_shuffle_epi8(table, _mm256_and_si256(x, low));
        let highs = _mm256_shuffle_epi8(table, _mm256_and_si256(_mm256_srli_epi16(x, 4), low));
        _mm256_add_epi8(lows, highs)
    }
}

#[inline(always)]
unsafe fn count(
    Operands { words, places, offsets, planes }: &Operands<'_>,
    sums: &mut Sums,
    bits: impl Fn(usize, usize, __m256i) -> __m256i,
) {
    unsafe {
        let zero = _mm256_setzero_si256();
        for pair in (0..TILE).step_by(PAIR) {
            let from: [*const u64; PAIR] = std::array::from_fn(|t| words.as_ptr().add(places[pair + t]));
            for (plane, factor) in *planes {
                let mut counts = [[zero; 2]; PAIR];
                let mut i = 0;
                for list in offsets.list.chunks(STEPS) {
                    let mut bytes = [[zero; 2]; PAIR];
                    for offset in list {
                        for t in 0..PAIR {
                            let x = _mm256_set1_epi64x(*from[t].add(plane + offset) as i64);
                            for (h, bytes) in bytes[t].iter_mut().enumerate() {
                                *bytes = _mm256_add_epi8(*bytes, ones(bits(i, h, x)));
                            }
                        }
                        i += 1;
                    }
                    for t in 0..PAIR {
                        for h in 0..2 {
                            let sums = _mm256_sad_epu8(bytes[t][h], zero);
                            counts[t][h] = _mm256_add_epi64(counts[t][h], sums);
                        }
                    }
                }
                let factor = _mm256_set1_epi32(*factor);
                for (t, [low, high]) in counts.into_iter().enumerate() {
                    // The low halves of eight 64-bit counts, in order.
                    let (low, high) = (_mm256_castsi256_ps(low), _mm256_castsi256_ps(high));
                    let narrow = _mm256_castps_si256(_mm256_shuffle_ps(low, high, 0x88));
                    let count = _mm256_permute4x64_epi64(narrow, 0b11_01_10_00);
                    let sums = &mut sums[pair + t];
                    store(sums, _mm256_add_epi32(load(sums), _mm256_mullo_epi32(count, factor)));
                }
            }
        }
    }
}

#[target_feature(enable = "avx2")]
unsafe fn reached(sums: &Sums, thresholds: &[i32; ROWS]) -> [u8; TILE] {
    unsafe {
        let (thresholds, mut bits) = (load(thresholds), [0; TILE]);
        for (bits, sums) in bits.iter_mut().zip(sums) {
            let below = _mm256_cmpgt_epi32(thresholds, load(sums));
            *bits = !(_mm256_movemask_ps(_mm256_castsi256_ps(below)) as u8);
        }
        bits
    }
}

#[target_feature(enable = "avx2")]
pub(super) unsafe fn levels(sums: &Sums, thresholds: &[[i32; ROWS]], levels: &mut Sums) {
    unsafe {
        for (sums, levels) in sums.iter().zip(levels) {
            let sums = load(sums);
            // A comparison gives -1 where the threshold is not reached.
            let mut level = _mm256_set1_epi32(thresholds.len() as i32);
            for threshold in thresholds {
                level = _mm256_add_epi32(level, _mm256_cmpgt_epi32(load(threshold), sums));
            }
            store(levels, level);
        }
    }
}

#[target_feature(enable = "avx2")]
unsafe fn plane(values: &Sums, k: u32) -> [u8; TILE] {
    unsafe {
        let shift = _mm_cvtsi32_si128(31 - k as i32);
        let mut bits = [0; TILE];
        for (bits, values) in bits.iter_mut().zip(values) {
            let first = _mm256_sll_epi32(load(values), shift);
            *bits = _mm256_movemask_ps(_mm256_castsi256_ps(first)) as u8;
        }
        bits
    }
}

//! The loops for AVX-512 with VPOPCNTDQ.
//!
//! Safety: the functions rely on their target features, which [`set`] detects, and `accumulate` on what [`Kernels::accumulate`] asserts: a
//! word of each list of weights for each offset, and every place, plane and offset together within the words.

#![allow(unsafe_code)]

use std::arch::x86_64::{
    __m512i, _mm256_add_epi32, _mm256_cmpge_epi32_mask, _mm256_set1_epi32, _mm256_test_epi32_mask,
    _mm512_add_epi32, _mm512_add_epi64, _mm512_and_si512, _mm512_cvtepi64_epi32, _mm512_loadu_si512,
    _mm512_mullo_epi32, _mm512_popcnt_epi64, _mm512_set1_epi32, _mm512_set1_epi64, _mm512_setzero_si512,
    _mm512_xor_si512,
};

use super::avx2::{self, load, store};
use super::set::{Counted, Kernels, Operands, ROWS, Sums, TILE, Words};

static SET: Kernels = Kernels { name: "avx512vpopcntdq", accumulate, reached, levels, plane };

/// The set, if the processor has what it takes.
pub fn set() -> Option<&'static Kernels> {
    let there = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512vpopcntdq")
        && is_x86_feature_detected!("avx2");
    there.then_some(&SET)
}

#[target_feature(enable = "avx2,avx512f,avx512vl,avx512vpopcntdq")]
unsafe fn accumulate(counted: Counted<'_>, operands: &Operands<'_>, sums: &mut Sums) {
    unsafe {
        match counted {
            Counted::Differ(weights) => {
                count(operands, sums, |i, x| _mm512_xor_si512(x, row(weights, i)));
            }
            Counted::DifferWhere(weights, mask) => count(operands, sums, |i, x| {
                _mm512_and_si512(_mm512_xor_si512(x, row(weights, i)), row(mask, i))
            }),
            Counted::Both(weights) => {
                count(operands, sums, |i, x| _mm512_and_si512(x, row(weights, i)));
            }
        }
    }
}

#[inline(always)]
unsafe fn row(words: &[Words], i: usize) -> __m512i {
    unsafe { _mm512_loadu_si512(words.as_ptr().add(i).cast()) }
}

#[inline(always)]
unsafe fn count(
    Operands { words, places, offsets, planes }: &Operands<'_>,
    sums: &mut Sums,
    bits: impl Fn(usize, __m512i) -> __m512i,
) {
    unsafe {
        let from = places.map(|place| words.as_ptr().add(place));
        let mut totals = [_mm512_setzero_si512(); TILE];
        for (plane, factor) in *planes {
            let mut counts = [_mm512_setzero_si512(); TILE];
            for (i, offset) in offsets.list.iter().enumerate() {
                for t in 0..TILE {
                    let x = _mm512_set1_epi64(*from[t].add(plane + offset) as i64);
                    counts[t] = _mm512_add_epi64(counts[t], _mm512_popcnt_epi64(bits(i, x)));
                }
            }
            // Counts are below 2^32: the products' low halves are those of the lanes.
            let factor = _mm512_set1_epi32(*factor);
            for (total, count) in totals.iter_mut().zip(counts) {
                *total = _mm512_add_epi32(*total, _mm512_mullo_epi32(count, factor));
            }
        }
        for (sums, total) in sums.iter_mut().zip(totals) {
            store(sums, _mm256_add_epi32(load(sums), _mm512_cvtepi64_epi32(total)));
        }
    }
}

#[target_feature(enable = "avx2,avx512f,avx512vl")]
unsafe fn reached(sums: &Sums, thresholds: &[i32; ROWS]) -> [u8; TILE] {
    unsafe {
        let (thresholds, mut bits) = (load(thresholds), [0; TILE]);
        for (bits, sums) in bits.iter_mut().zip(sums) {
            *bits = _mm256_cmpge_epi32_mask(load(sums), thresholds);
        }
        bits
    }
}

#[target_feature(enable = "avx2,avx512f,avx512vl")]
unsafe fn levels(sums: &Sums, thresholds: &[[i32; ROWS]], levels: &mut Sums) {
    unsafe { avx2::levels(sums, thresholds, levels) }
}

#[target_feature(enable = "avx2,avx512f,avx512vl")]
unsafe fn plane(values: &Sums, k: u32) -> [u8; TILE] {
    unsafe {
        let (bit, mut bits) = (_mm256_set1_epi32(1 << k), [0; TILE]);
        for (bits, values) in bits.iter_mut().zip(values) {
            *bits = _mm256_test_epi32_mask(load(values), bit);
        }
        bits
    }
}

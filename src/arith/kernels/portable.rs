//! The loops in plain Rust.

use super::set::{Counted, Kernels, Operands, ROWS, Sums, TILE};

/// The set that every processor runs.
pub static SET: Kernels = Kernels { name: "portable", accumulate, reached, levels, plane };

fn accumulate(counted: Counted<'_>, operands: &Operands<'_>, sums: &mut Sums) {
    match counted {
        Counted::Differ(weights) => count(operands, sums, |i, r, x| x ^ weights[i][r]),
        Counted::DifferWhere(weights, mask) => {
            count(operands, sums, |i, r, x| (x ^ weights[i][r]) & mask[i][r]);
        }
        Counted::Both(weights) => count(operands, sums, |i, r, x| x & weights[i][r]),
    }
}

#[inline(always)]
fn count(
    Operands { words, places, offsets, planes }: &Operands<'_>,
    sums: &mut Sums,
    bits: impl Fn(usize, usize, u64) -> u64,
) {
    for (place, sums) in places.iter().zip(sums) {
        for (plane, factor) in *planes {
            let mut counts = [0; ROWS];
            for (i, offset) in offsets.list.iter().enumerate() {
                let x = words[place + plane + offset];
                counts.iter_mut().enumerate().for_each(|(r, count)| *count += bits(i, r, x).count_ones());
            }
            for (sum, count) in sums.iter_mut().zip(counts) {
                *sum = sum.wrapping_add(factor.wrapping_mul(count as i32));
            }
        }
    }
}

fn reached(sums: &Sums, thresholds: &[i32; ROWS]) -> [u8; TILE] {
    sums.map(|sums| (0..ROWS).fold(0, |bits, r| bits | u8::from(sums[r] >= thresholds[r]) << r))
}

fn levels(sums: &Sums, thresholds: &[[i32; ROWS]], levels: &mut Sums) {
    for (sums, levels) in sums.iter().zip(levels) {
        levels.fill(0);
        for threshold in thresholds {
            (0..ROWS).for_each(|r| levels[r] += i32::from(sums[r] >= threshold[r]));
        }
    }
}

fn plane(values: &Sums, k: u32) -> [u8; TILE] {
    values.map(|values| (0..ROWS).fold(0, |bits, r| bits | ((values[r] >> k & 1) as u8) << r))
}

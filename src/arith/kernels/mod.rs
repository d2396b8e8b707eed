//! The innermost loops of the fast engine: counts of bits for eight rows of weights times eight operands, and comparisons of their sums
//! with thresholds. There is a set of them for each kind of processor, chosen when they are first used; all give the same integers.
//!
//! The unsafe code of this crate is here. Where there is no set of its own, the portable one is compiled for what every processor of the
//! target has, such as NEON's `cnt`.
//!
//! May use: nothing. Used by: `arith`.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;
mod set;

use std::sync::LazyLock;

pub use set::{Counted, Kernels, Offsets, Operands, ROWS, Sums, TILE, Words};

/// All sets that run on this machine, the fastest first.
pub fn all() -> Vec<&'static Kernels> {
    let mut all = Vec::new();
    #[cfg(target_arch = "x86_64")]
    all.extend([avx512::set(), avx2::set()].into_iter().flatten());
    all.push(&portable::SET);
    all
}

/// The environment variable that names another set than the fastest, to compare them.
pub const VARIABLE: &str = "STOXNOR_KERNELS";

/// The set that is used: the one that [`VARIABLE`] names, if this machine runs it, or else the fastest.
pub fn chosen() -> &'static Kernels {
    static CHOSEN: LazyLock<&Kernels> = LazyLock::new(|| {
        let all = all();
        let named = std::env::var(VARIABLE).ok();
        all.iter().find(|set| named.as_deref() == Some(set.name)).unwrap_or(&all[0])
    });
    &CHOSEN
}

#[cfg(test)]
mod tests {
    use rand::{RngExt as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn random(seed: u64) -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(seed)
    }

    /// Counted bit by bit, for operands of up to 70 words that lie anywhere: longer than the bytes of a counter last.
    #[test]
    fn every_set_counts_what_is_there() {
        for kernels in all() {
            for seed in 0..60 {
                let mut rng = random(seed);
                let count = rng.random_range(0..70usize);
                let full = seed % 7 == 0;
                let mut word = || if full { u64::MAX } else { rng.random() };
                let words: Vec<u64> = (0..300).map(|_| word()).collect();
                let signs: Vec<Words> = (0..count).map(|_| std::array::from_fn(|_| !word())).collect();
                let mask: Vec<Words> = (0..count).map(|_| std::array::from_fn(|_| word())).collect();
                let offsets = Offsets::new((0..count).map(|_| rng.random_range(0..100)).collect());
                let places = std::array::from_fn(|_| rng.random_range(0..100));
                let planes: Vec<(usize, i32)> = (0..rng.random_range(1..4))
                    .map(|_| (rng.random_range(0..=100), rng.random_range(-300..300)))
                    .collect();
                let operands = Operands { words: &words, places, offsets: &offsets, planes: &planes };
                let start: Sums = std::array::from_fn(|_| std::array::from_fn(|_| rng.random()));
                for counted in
                    [Counted::Differ(&signs), Counted::DifferWhere(&signs, &mask), Counted::Both(&signs)]
                {
                    let mut sums = start;
                    kernels.accumulate(counted, &operands, &mut sums);
                    for (t, r) in (0..TILE).flat_map(|t| (0..ROWS).map(move |r| (t, r))) {
                        let bits = |plane: usize, i: usize| {
                            let x = words[places[t] + plane + offsets.list()[i]];
                            match counted {
                                Counted::Differ(w) => x ^ w[i][r],
                                Counted::DifferWhere(w, m) => (x ^ w[i][r]) & m[i][r],
                                Counted::Both(w) => x & w[i][r],
                            }
                        };
                        let of_plane = |(plane, factor): &(usize, i32)| {
                            let count: u32 = (0..count).map(|i| bits(*plane, i).count_ones()).sum();
                            factor * count as i32
                        };
                        let sum = planes.iter().map(of_plane).fold(start[t][r], i32::wrapping_add);
                        assert_eq!(sums[t][r], sum, "{}, seed {seed}, {counted:?}", kernels.name);
                    }
                }
            }
        }
    }

    #[test]
    fn every_set_compares_and_packs() {
        let extremes = [i32::MIN, -1, 0, 1, i32::MAX];
        for kernels in all() {
            let mut rng = random(7);
            for _ in 0..200 {
                let mut value =
                    || if rng.random() { extremes[rng.random_range(0..5)] } else { rng.random_range(-9..9) };
                let sums: Sums = std::array::from_fn(|_| std::array::from_fn(|_| value()));
                let thresholds: Vec<[i32; ROWS]> = (0..3).map(|_| std::array::from_fn(|_| value())).collect();
                let mut levels = sums;
                kernels.levels(&sums, &thresholds, &mut levels);
                let reached = kernels.reached(&sums, &thresholds[0]);
                for (t, r) in (0..TILE).flat_map(|t| (0..ROWS).map(move |r| (t, r))) {
                    let sum = sums[t][r];
                    assert_eq!(reached[t] >> r & 1 == 1, sum >= thresholds[0][r], "{}", kernels.name);
                    let count = thresholds.iter().filter(|of| sum >= of[r]).count();
                    assert_eq!(levels[t][r], count as i32, "{}", kernels.name);
                    for k in [0, 1, 7, 31] {
                        let bit = kernels.plane(&sums, k)[t] >> r & 1;
                        assert_eq!(i32::from(bit), sum >> k & 1, "{}, bit {k}", kernels.name);
                    }
                }
            }
        }
    }

    #[test]
    fn operands_without_words_count_nothing() {
        let offsets = Offsets::new(Vec::new());
        let operands =
            Operands { words: &[], places: [usize::MAX; TILE], offsets: &offsets, planes: &[(1, 1)] };
        for kernels in all() {
            let mut sums = [[3; ROWS]; TILE];
            kernels.accumulate(Counted::Differ(&[]), &operands, &mut sums);
            assert_eq!(sums, [[3; ROWS]; TILE], "{}", kernels.name);
        }
    }

    #[test]
    #[should_panic(expected = "words of the operands")]
    fn an_operand_beyond_the_words_is_refused() {
        let offsets = Offsets::new(vec![0, 3]);
        let places = [0, 0, 0, 6, 0, 0, 0, 0];
        let operands = Operands { words: &[0; 10], places, offsets: &offsets, planes: &[(0, 1), (1, 1)] };
        chosen().accumulate(Counted::Both(&[[0; ROWS]; 2]), &operands, &mut [[0; ROWS]; TILE]);
    }
}

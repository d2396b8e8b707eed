//! Search: integer factors for a sum of several streams, such that thresholds on the sum reproduce a function of all of them.
//!
//! A [`Table`] says for one channel, and for every combination of the other streams' integers, from which integer of the last
//! stream on each level is reached. Factors p, q are exact if for every level all pairs that reach it have larger sums p a + q b
//! than all pairs that do not. Each violation bounds the ratio p / q from one side, so the search narrows an interval and tries
//! its fraction of the smallest denominator, until one is exact or the interval is empty.

use crate::arith::threshold::Lattice;

/// Maximum absolute value of a factor: 15 bits.
pub const MAX_FACTOR: i64 = (1 << 15) - 1;
/// Maximum number of fractions that are tried for one interval.
const MAX_TRIES: usize = 2000;
/// Maximum common denominator of the factors of three streams or more.
const MAX_DENOMINATOR: i64 = 4096;

/// The thresholds of one channel over several streams. Where the channel decreases in the last stream, all integers are negated.
#[derive(Debug, Clone)]
pub struct Table {
    /// The integers of the other streams, for each combination.
    pub others: Vec<Vec<i64>>,
    /// The integers of the last stream.
    pub last: Lattice,
    /// For each combination and level, the smallest integer of the last stream that reaches the level; larger than the maximum if
    /// none does.
    pub reached: Vec<Vec<i32>>,
    /// Whether all integers are negated.
    pub negated: bool,
}

/// Sums on the wrong sides of a threshold: the largest sum that must stay below, and the smallest that must reach it, as
/// combinations with an integer of the last stream.
struct Conflict {
    below: (usize, i64),
    above: (usize, i64),
}

impl Table {
    fn sum(&self, combination: usize, last: i64, factors: &[i64]) -> i64 {
        let others = self.others[combination].iter().zip(factors).map(|(a, p)| a * p);
        others.sum::<i64>() + last * factors[factors.len() - 1]
    }

    /// The thresholds of the sums for `factors`; `None` if the factors are not exact.
    pub fn exact(&self, factors: &[i64]) -> Option<Vec<i64>> {
        self.split(factors).ok()
    }

    /// The thresholds of the sums, in ascending order. `factors` are those of the other streams and the positive one of the last.
    fn split(&self, factors: &[i64]) -> Result<Vec<i64>, Conflict> {
        let levels = self.reached.first().map_or(0, Vec::len);
        let (low, high) = (self.last.low, self.last.high());
        let mut thresholds = Vec::with_capacity(levels);
        for level in 0..levels {
            let mut below: Option<(i64, usize, i64)> = None;
            let mut above: Option<(i64, usize, i64)> = None;
            for (combination, reached) in self.reached.iter().enumerate() {
                let first = i64::from(reached[level]);
                if first > low {
                    let before = if first > high { high } else { first - self.last.step };
                    let sum = self.sum(combination, before, factors);
                    if below.is_none_or(|(most, ..)| sum > most) {
                        below = Some((sum, combination, before));
                    }
                }
                if first <= high {
                    let sum = self.sum(combination, first, factors);
                    if above.is_none_or(|(least, ..)| sum < least) {
                        above = Some((sum, combination, first));
                    }
                }
            }
            thresholds.push(match (below, above) {
                (Some((most, c, b)), Some((least, d, a))) if most >= least => {
                    return Err(Conflict { below: (c, b), above: (d, a) });
                }
                (_, Some((least, ..))) => least,
                (Some((most, ..)), None) => most + 1,
                (None, None) => 0,
            });
        }
        Ok(thresholds)
    }
}

/// The thresholds of all tables for `factors`; `None` if the factors are not exact.
pub fn thresholds(tables: &[Table], factors: &[i64]) -> Option<Vec<Vec<i64>>> {
    tables.iter().map(|table| table.exact(factors)).collect()
}

/// A fraction with a positive denominator.
type Fraction = (i64, i64);

fn less(a: Fraction, b: Fraction) -> bool {
    i128::from(a.0) * i128::from(b.1) < i128::from(b.0) * i128::from(a.1)
}

/// Factors p, q of two streams that are exact for all tables, of the smallest q.
pub fn pair(tables: &[Table]) -> Option<[i64; 2]> {
    // The sum may rise or fall with the first stream. A factor of 0 is none, so both signs have an interval of their own.
    signed(tables, 1).or_else(|| signed(tables, -1))
}

/// As [`pair`], with the sign of p given.
fn signed(tables: &[Table], sign: i64) -> Option<[i64; 2]> {
    let (mut low, mut high): (Fraction, Option<Fraction>) = ((0, 1), None);
    for _ in 0..MAX_TRIES {
        let (p, q) = simplest(low, high)?;
        if p > MAX_FACTOR || q > MAX_FACTOR {
            return None;
        }
        let mut exact = true;
        for table in tables {
            let Err(Conflict { below, above }) = table.split(&[sign * p, q]) else { continue };
            exact = false;
            // p a + q b of the first must be smaller: p / q (a - a') < b' - b.
            let run = sign * (table.others[below.0][0] - table.others[above.0][0]);
            let rise = above.1 - below.1;
            match run {
                0 => return None,
                1.. => {
                    let bound = (rise, run);
                    if high.is_none_or(|h| less(bound, h)) {
                        high = Some(bound);
                    }
                }
                _ => {
                    let bound = (-rise, -run);
                    if less(low, bound) {
                        low = bound;
                    }
                }
            }
        }
        if exact {
            return Some([sign * p, q]);
        }
        if high.is_some_and(|h| !less(low, h)) {
            return None;
        }
    }
    None
}

/// The fraction of the smallest denominator above `low` and below `high`; `low` is not negative. `None` if there is none.
fn simplest(low: Fraction, high: Option<Fraction>) -> Option<Fraction> {
    if high.is_some_and(|h| !less(low, h)) {
        return None;
    }
    let whole = low.0 / low.1;
    if high.is_none_or(|h| less((whole + 1, 1), h)) {
        return Some((whole + 1, 1));
    }
    // The fraction is whole + 1 / x.
    let (n, d) = high?;
    let above = (low.0 % low.1 != 0).then_some((low.1, low.0 % low.1));
    let (p, q) = simplest((d, n - whole * d), above)?;
    Some((whole.checked_mul(p)?.checked_add(q)?, p))
}

/// Factors of three streams or more that are exact for all tables: multiples of `slopes` (of all streams, the last one's positive)
/// with the smallest factor of the last stream.
pub fn several(tables: &[Table], slopes: &[f64]) -> Option<Vec<i64>> {
    let last = slopes.last().copied().filter(|s| *s > 0.0)?;
    (1..=MAX_DENOMINATOR).find_map(|q| {
        let factors: Vec<i64> = slopes.iter().map(|s| (s / last * q as f64).round() as i64).collect();
        let legal = factors.iter().all(|f| *f != 0 && f.abs() <= MAX_FACTOR);
        (legal && tables.iter().all(|table| table.split(&factors).is_ok())).then_some(factors)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of floor(scales[0] a + scales[1] b) for a, b from 0 to `most`, for the levels 1 to `levels`.
    fn table(scales: [f64; 2], most: i64, levels: i32) -> Table {
        let first = |a: i64, level: i32| {
            let reaches = |b: &i64| scales[0] * a as f64 + scales[1] * *b as f64 >= f64::from(level);
            (0..=most).find(reaches).unwrap_or(most + 1) as i32
        };
        Table {
            others: (0..=most).map(|a| vec![a]).collect(),
            last: Lattice { low: 0, step: 1, points: most + 1 },
            reached: (0..=most).map(|a| (1..=levels).map(|l| first(a, l)).collect()).collect(),
            negated: false,
        }
    }

    #[test]
    fn factors_put_every_pair_on_its_side() {
        for scales in [[0.1, 0.1], [0.25, 1.0], [0.37, 0.211], [0.731, 0.0913], [0.019, 0.1173]] {
            let (most, levels) = (40, 5);
            let tables = [table(scales, most, levels)];
            let factors = pair(&tables).unwrap_or_else(|| panic!("{scales:?}"));
            let found = &thresholds(&tables, &factors).unwrap()[0];
            for (a, b) in (0..=most).flat_map(|a| (0..=most).map(move |b| (a, b))) {
                let value = scales[0] * a as f64 + scales[1] * b as f64;
                for (level, t) in (1..=levels).zip(found) {
                    let reached = factors[0] * a + factors[1] * b >= *t;
                    assert_eq!(reached, value >= f64::from(level), "{scales:?} {factors:?} {a} {b} {level}");
                }
            }
        }
    }

    #[test]
    fn no_factors_for_what_is_no_line() {
        // The level is reached at (0, 2), (1, 0) and (2, 2), but not at (1, ..) below: no line separates these.
        let mut bent = table([1.0, 1.0], 2, 1);
        bent.reached = vec![vec![2], vec![0], vec![2]];
        assert_eq!(pair(&[bent]), None);
        assert_eq!(pair(&[table([0.5, 1.0], 9, 3), table([2.0, 1.0], 9, 3)]), None);
    }

    #[test]
    fn the_simplest_fraction_of_an_interval() {
        assert_eq!(simplest((0, 1), None), Some((1, 1)));
        assert_eq!(simplest((0, 1), Some((1, 1))), Some((1, 2)));
        assert_eq!(simplest((1, 3), Some((1, 2))), Some((2, 5)));
        assert_eq!(simplest((314, 100), Some((315, 100))), Some((22, 7)));
        assert_eq!(simplest((5, 2), Some((3, 1))), Some((8, 3)));
        assert_eq!(simplest((1, 2), Some((1, 2))), None);
    }
}

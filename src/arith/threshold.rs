//! Thresholds of a monotone function of integer sums.
//!
//! The possible sums of a row form a [`Lattice`]. An activation is a function from sums to integers, one per row. If it is
//! monotone, it equals a number of comparisons `y >= t`, one per level above the minimum level. y is the sum; if the function is
//! decreasing, y is the sum of the negated weights.

/// The possible sums of one row: `low`, `low + step`, ..., `points` of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lattice {
    /// The minimum sum.
    pub low: i64,
    /// The distance between neighbouring sums, at least 1.
    pub step: i64,
    /// The number of sums, at least 1.
    pub points: i64,
}

impl Lattice {
    /// The possible sums of `weights` times inputs from `min` to `max` in steps of `grain`.
    pub fn of(weights: &[i16], (min, max): (i64, i64), grain: i64) -> Self {
        let ends = |w: &i16| (i64::from(*w) * min, i64::from(*w) * max);
        let low: i64 = weights.iter().map(ends).map(|(a, b)| a.min(b)).sum();
        let high: i64 = weights.iter().map(ends).map(|(a, b)| a.max(b)).sum();
        let divisor = weights.iter().fold(0, |d, w| gcd(d, i64::from(w.abs())));
        // A row of zeros has one sum, as does an input with one value.
        let step = (divisor * grain).max(1);
        Self { low, step, points: (high - low) / step + 1 }
    }

    /// The maximum sum.
    pub fn high(self) -> i64 {
        self.low + (self.points - 1) * self.step
    }

    /// Sum number `point`; the maximum sum if there are fewer.
    pub fn at(self, point: i64) -> i32 {
        (self.low + point.min(self.points - 1) * self.step) as i32
    }
}

fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// The comparisons that replace one row's activation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stairs {
    /// For each level the minimum y that reaches it, in ascending order. If every y reaches the level it is the minimum y, if
    /// none does the maximum y plus 1.
    pub thresholds: Vec<i32>,
    /// Whether the activation is decreasing, so that the row's weights must be negated.
    pub negate: bool,
}

/// A row whose activation is not monotone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotMonotone {
    /// The row.
    pub row: usize,
    /// The two sums between which the output changes direction.
    pub again: (i32, i32),
}

/// An activation: computes the outputs of all rows from their sums.
pub trait Rows<E>: FnMut(&[i32], &mut [i32]) -> Result<(), E> {}
impl<E, F: FnMut(&[i32], &mut [i32]) -> Result<(), E>> Rows<E> for F {}

/// Upper bound on the calls of the activation (all rows at once) in [`search`].
pub fn search_calls(rows: &[Lattice], levels: usize) -> u64 {
    let points = rows.iter().map(|r| r.points).max().unwrap_or(1).max(2) as u64;
    2 + (levels as u64 * u64::from(64 - points.leading_zeros())).min(points)
}

/// Finds the thresholds of all rows by binary search. Correct if every row is monotone, which the caller must ensure.
///
/// `levels` are the values above the minimum level, ascending. `f(sums, out)` computes one value per row.
pub fn search<E>(rows: &[Lattice], levels: &[i32], mut f: impl Rows<E>) -> Result<Vec<Stairs>, E> {
    let mut first = vec![0; rows.len()];
    let mut last = vec![0; rows.len()];
    f(&rows.iter().map(|r| r.at(0)).collect::<Vec<_>>(), &mut first)?;
    f(&rows.iter().map(|r| r.at(i64::MAX)).collect::<Vec<_>>(), &mut last)?;
    // Points are numbered in the direction in which the row increases. Level j is not reached at `below` and is reached at
    // `above`.
    let n = levels.len();
    let falls = |r: usize| last[r] < first[r];
    let mut below = vec![-1; rows.len() * n];
    let mut above = vec![0; rows.len() * n];
    for r in 0..rows.len() {
        let (min, max) = (first[r].min(last[r]), first[r].max(last[r]));
        for (j, level) in levels.iter().enumerate() {
            // The outputs at both ends are known, so levels outside them are settled.
            let end = rows[r].points - 1;
            (below[r * n + j], above[r * n + j]) = match (min >= *level, max >= *level) {
                (true, _) => (-1, 0),
                (_, true) => (0, end),
                _ => (end, end + 1),
            };
        }
    }
    let mut next = vec![0; rows.len()];
    let mut points = vec![0; rows.len()];
    let mut sums = vec![0; rows.len()];
    let mut now = vec![0; rows.len()];
    loop {
        let mut open = false;
        for r in 0..rows.len() {
            let unclear = |j: usize| above[r * n + j] - below[r * n + j] > 1;
            while next[r] < n && !unclear(next[r]) {
                next[r] += 1;
            }
            if next[r] < n {
                open = true;
                let at = r * n + next[r];
                points[r] = below[at] + (above[at] - below[at]) / 2;
            } else {
                points[r] = 0;
            }
            sums[r] = rows[r].at(if falls(r) { rows[r].points - 1 - points[r] } else { points[r] });
        }
        if !open {
            break;
        }
        f(&sums, &mut now)?;
        for r in (0..rows.len()).filter(|&r| next[r] < n) {
            for (j, level) in levels.iter().enumerate().skip(next[r]) {
                let at = r * n + j;
                if now[r] >= *level {
                    above[at] = above[at].min(points[r]);
                } else {
                    below[at] = below[at].max(points[r]);
                }
            }
        }
    }
    Ok((0..rows.len()).map(|r| stairs(rows[r], falls(r), &above[r * n..][..n])).collect())
}

/// Finds the thresholds of all rows by evaluating every sum.
///
/// The inner error is the first row that is not monotone.
pub fn enumerate<E>(
    rows: &[Lattice],
    levels: &[i32],
    mut f: impl Rows<E>,
) -> Result<Result<Vec<Stairs>, NotMonotone>, E> {
    let n = levels.len();
    let max = rows.iter().map(|r| r.points).max().unwrap_or(0);
    let mut sums = vec![0; rows.len()];
    let mut now = vec![0; rows.len()];
    let mut before: Vec<i32> = Vec::new();
    // -1 if the row has decreased, 1 if it has increased; and for each level the first point at which its comparison changed.
    let mut direction = vec![0; rows.len()];
    let mut edges = vec![None; rows.len() * n];
    let mut first = Vec::new();
    for point in 0..max {
        for (sum, row) in sums.iter_mut().zip(rows) {
            *sum = row.at(point);
        }
        f(&sums, &mut now)?;
        if point == 0 {
            first = now.clone();
            before = now.clone();
        }
        for r in 0..rows.len() {
            let turn = (now[r] - before[r]).signum();
            if turn == 0 {
                continue;
            }
            if direction[r] == -turn {
                return Ok(Err(NotMonotone { row: r, again: (rows[r].at(point - 1), sums[r]) }));
            }
            direction[r] = turn;
            for (j, level) in levels.iter().enumerate() {
                if (now[r] >= *level) != (before[r] >= *level) {
                    edges[r * n + j] = Some(point);
                }
            }
        }
        before.copy_from_slice(&now);
    }
    Ok(Ok((0..rows.len())
        .map(|r| {
            let falls = direction[r] < 0;
            let end = rows[r].points;
            let above: Vec<i64> = (0..n)
                .map(|j| match edges[r * n + j] {
                    Some(edge) if falls => end - edge,
                    Some(edge) => edge,
                    None if first[r] >= levels[j] => 0,
                    None => end,
                })
                .collect();
            stairs(rows[r], falls, &above)
        })
        .collect()))
}

/// The values of a row that may rise and fall: the smallest sum with its value, then each sum at which the value changes, with the new
/// value.
pub type Changes = Vec<(i64, i32)>;

/// The changes of all rows, from every sum that they can give; the number of the first row that changes more than `most` times.
pub fn changes<E>(
    rows: &[Lattice],
    most: usize,
    mut f: impl Rows<E>,
) -> Result<Result<Vec<Changes>, usize>, E> {
    let points = rows.iter().map(|r| r.points).max().unwrap_or(0);
    let mut sums = vec![0; rows.len()];
    let mut now = vec![0; rows.len()];
    let mut found: Vec<Changes> = vec![Vec::new(); rows.len()];
    for point in 0..points {
        for (sum, row) in sums.iter_mut().zip(rows) {
            *sum = row.at(point);
        }
        f(&sums, &mut now)?;
        for (r, changes) in found.iter_mut().enumerate() {
            if changes.last().is_none_or(|last| last.1 != now[r]) {
                changes.push((sums[r].into(), now[r]));
            }
            if changes.len() > most + 1 {
                return Ok(Err(r));
            }
        }
    }
    Ok(Ok(found))
}

/// The thresholds of a row. `above` holds for each level the first point that reaches it, in the direction in which the row
/// increases.
fn stairs(row: Lattice, negate: bool, above: &[i64]) -> Stairs {
    let low = if negate { -row.high() } else { row.low };
    let high = low + (row.points - 1) * row.step;
    let threshold = |point: &i64| if *point == row.points { high + 1 } else { low + point * row.step };
    Stairs { thresholds: above.iter().map(|p| threshold(p) as i32).collect(), negate }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn value(stairs: &Stairs, levels: &[i32], least: i32, sum: i32) -> i32 {
        let y = if stairs.negate { -sum } else { sum };
        match stairs.thresholds.iter().filter(|t| y >= **t).count() {
            0 => least,
            n => levels[n - 1],
        }
    }

    #[test]
    fn both_ways_reproduce_every_staircase() {
        let levels = [0, 1, 2];
        let mut forms: Vec<(Lattice, [i64; 3], bool)> = Vec::new();
        for lattice in [
            Lattice { low: -5, step: 2, points: 6 },
            Lattice { low: 3, step: 1, points: 1 },
            Lattice { low: -9, step: 3, points: 8 },
        ] {
            let edges = lattice.low - 1..=lattice.high() + 1;
            for a in edges.clone() {
                for b in a..=*edges.end() {
                    for c in [b, b + 1, b + 4] {
                        forms.extend([(lattice, [a, b, c], false), (lattice, [a, b, c], true)]);
                    }
                }
            }
        }
        let rows: Vec<Lattice> = forms.iter().map(|f| f.0).collect();
        let of = |(row, edges, falls): &(Lattice, [i64; 3], bool), sum: i32| {
            let mirrored = row.low + row.high() - i64::from(sum);
            let y = if *falls { mirrored } else { i64::from(sum) };
            edges.iter().filter(|e| y >= **e).count() as i32 - 1
        };
        let mut calls = 0;
        let mut f = |sums: &[i32], out: &mut [i32]| {
            calls += 1;
            out.iter_mut().zip(sums).zip(&forms).for_each(|((out, sum), form)| *out = of(form, *sum));
            Ok::<(), Infallible>(())
        };
        let searched = search(&rows, &levels, &mut f).unwrap();
        assert!(calls as u64 <= search_calls(&rows, 3), "{calls}");
        let f = |sums: &[i32], out: &mut [i32]| {
            out.iter_mut().zip(sums).zip(&forms).for_each(|((out, sum), form)| *out = of(form, *sum));
            Ok::<(), Infallible>(())
        };
        let enumerated = enumerate(&rows, &levels, f).unwrap().unwrap();
        for ((form, s), e) in forms.iter().zip(&searched).zip(&enumerated) {
            assert!(s.thresholds.is_sorted() && e.thresholds.is_sorted());
            for point in 0..form.0.points {
                let sum = form.0.at(point);
                let wanted = of(form, sum);
                assert_eq!(
                    (value(s, &levels, -1, sum), value(e, &levels, -1, sum)),
                    (wanted, wanted),
                    "{form:?}"
                );
            }
        }
    }

    #[test]
    fn lattices_are_as_wide_as_the_weights_make_them() {
        assert_eq!(Lattice::of(&[1, -1, 1], (-1, 1), 2), Lattice { low: -3, step: 2, points: 4 });
        assert_eq!(Lattice::of(&[2, -4], (0, 3), 1), Lattice { low: -12, step: 2, points: 10 });
        assert_eq!(Lattice::of(&[0, 0], (0, 3), 1), Lattice { low: 0, step: 1, points: 1 });
        assert_eq!(Lattice::of(&[-3], (-8, 7), 1).high(), 24);
    }

    #[test]
    fn changes_are_all_sums_at_which_a_row_turns_or_steps() {
        let rows = [Lattice { low: -6, step: 2, points: 7 }, Lattice { low: 1, step: 1, points: 2 }];
        let f = |sums: &[i32], out: &mut [i32]| {
            (out[0], out[1]) = (sums[0].abs() / 4, 5);
            Ok::<(), Infallible>(())
        };
        let found = changes(&rows, 3, f).unwrap();
        assert_eq!(found, Ok(vec![vec![(-6, 1), (-2, 0), (4, 1)], vec![(1, 5)]]));
        assert_eq!(changes(&rows, 1, f).unwrap(), Err(0));
    }

    #[test]
    fn a_bump_is_no_staircase() {
        let rows = [Lattice { low: -6, step: 2, points: 7 }];
        let found = enumerate(&rows, &[1], |sums: &[i32], out: &mut [i32]| {
            out[0] = i32::from(sums[0] == 2);
            Ok::<(), Infallible>(())
        });
        assert_eq!(found.unwrap(), Err(NotMonotone { row: 0, again: (2, 4) }));
    }
}

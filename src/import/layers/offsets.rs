//! Search: an integer for every level of one stream, such that its sum with a multiple of another stream reproduces a function of
//! both.
//!
//! This is for branches that are no multiple of their stream, such as a Relu of it. For a factor q of the last stream, every pair
//! of integers a, a' bounds the difference of their values g from above: all that must stay below a threshold at a is smaller
//! than all that must reach it at a'. Such bounds have a solution unless they contradict one another around a cycle, and shortest
//! paths find it.

use crate::import::layers::factors::Table;

/// Maximum factor of the last stream.
const MAX_FACTOR: i64 = 64;
/// Maximum difference of two values: the levels of an activation.
const MAX_RANGE: i64 = 255;
/// Maximum number of channels times the cube of the integers of the first stream: 2^26.
const MAX_WORK: usize = 1 << 26;

/// Values of the first stream's integers, in the frame of the table.
#[derive(Debug)]
pub struct Offsets {
    /// The factor of the last stream.
    pub factor: i64,
    /// For each table, the value of each integer, rising or falling with it.
    pub values: Vec<Vec<i64>>,
    /// For each table, the thresholds of the sums.
    pub thresholds: Vec<Vec<i64>>,
}

/// Values for all tables with one factor of the last stream, the smallest that there is.
pub fn offsets(tables: &[Table]) -> Option<Offsets> {
    let integers = tables.first()?.others.len();
    let work = tables.len().saturating_mul(integers.saturating_pow(3));
    if work > MAX_WORK || tables.iter().any(|table| table.others.iter().any(|others| others.len() != 1)) {
        return None;
    }
    (1..=MAX_FACTOR).find_map(|factor| {
        let values: Vec<Vec<i64>> =
            tables.iter().map(|table| values(table, factor)).collect::<Option<_>>()?;
        let with = |(table, values): (&Table, &Vec<i64>)| {
            Table { others: values.iter().map(|v| vec![*v]).collect(), ..table.clone() }.exact(&[1, factor])
        };
        let thresholds = tables.iter().zip(&values).map(with).collect::<Option<_>>()?;
        Some(Offsets { factor, values, thresholds })
    })
}

/// The values for one channel; `None` if the bounds contradict one another or the values are too far apart.
fn values(table: &Table, factor: i64) -> Option<Vec<i64>> {
    let n = table.others.len();
    let (low, high, step) = (table.last.low, table.last.high(), table.last.step);
    // The larger the integer, the more or the fewer levels are reached.
    let total = |reached: &Vec<i32>| reached.iter().map(|t| i64::from(*t)).sum::<i64>();
    let rising = total(&table.reached[0]) >= total(&table.reached[n - 1]);
    let mut bound = vec![i64::MAX; n * n];
    for (a, below) in table.reached.iter().enumerate() {
        for (b, above) in table.reached.iter().enumerate() {
            let bounds = below.iter().zip(above).filter_map(|(below, above)| {
                let (below, above) = (i64::from(*below), i64::from(*above));
                let last = if below > high { high } else { below - step };
                (below > low && above <= high).then_some(factor * (above - last) - 1)
            });
            bound[a * n + b] = bounds.min().unwrap_or(i64::MAX);
        }
    }
    // The values rise or fall all the way.
    for a in 0..n.saturating_sub(1) {
        let at = if rising { a * n + a + 1 } else { (a + 1) * n + a };
        bound[at] = bound[at].min(0);
    }
    let mut values = vec![0i64; n];
    for round in 0..=n {
        let mut changed = false;
        for a in 0..n {
            for b in 0..n {
                let most = bound[a * n + b].saturating_add(values[b]);
                if bound[a * n + b] != i64::MAX && values[a] > most {
                    values[a] = most;
                    changed = true;
                }
            }
        }
        if !changed {
            let (least, most) = (values.iter().min()?, values.iter().max()?);
            return (most - least <= MAX_RANGE).then_some(values);
        }
        if round == n {
            break;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arith::threshold::Lattice;
    use crate::import::layers::factors::pair;

    #[test]
    fn a_relu_of_a_stream_has_values() {
        // The levels of 0.37 max(a, -0.6) + 0.5 b, for a and b from -4 to 3.
        let value = |a: i64, b: i64| 0.37 * (a as f64).max(-0.6) + 0.5 * b as f64;
        let first =
            |a: i64, level: i32| (-4..=3).find(|b| value(a, *b) >= f64::from(level)).unwrap_or(4) as i32;
        let table = Table {
            others: (-4..=3).map(|a| vec![a]).collect(),
            last: Lattice { low: -4, step: 1, points: 8 },
            reached: (-4..=3).map(|a| (-1..=2).map(|level| first(a, level)).collect()).collect(),
            negated: false,
        };
        assert_eq!(pair(std::slice::from_ref(&table)), None);
        let found = offsets(&[table]).unwrap();
        assert!(found.values[0].is_sorted() && found.values[0][0] == found.values[0][3], "{found:?}");
        for (a, b) in (-4..=3).flat_map(|a| (-4..=3).map(move |b| (a, b))) {
            let sum = found.values[0][(a + 4) as usize] + found.factor * b;
            for (level, t) in (-1..=2).zip(&found.thresholds[0]) {
                assert_eq!(sum >= *t, value(a, b) >= f64::from(level), "{a} {b} {level} {found:?}");
            }
        }
    }

    #[test]
    fn contradictions_have_none() {
        // Two levels whose boundaries run in opposite directions.
        let table = Table {
            others: vec![vec![0], vec![1]],
            last: Lattice { low: 0, step: 1, points: 9 },
            reached: vec![vec![2, 5], vec![1, 8]],
            negated: false,
        };
        assert!(offsets(&[table]).is_none());
    }
}

//! The statistics of drawn weights, over 1,000 seeds of the user: how often each weight takes each of its two
//! values, and whether two weights depend on each other.
//!
//! # What is expected
//!
//! A drawn weight takes one of two neighbouring values, so it is an event: that it takes the rarer one. Of
//! the rarer one, because an event that nearly always occurs tells little of a dependence. Its probability
//! follows from the stored integer. Two weights with words of their own occur together with the product of
//! their probabilities. Two exceptions are expected exactly, by enumeration: rows of a group share the word,
//! and with 5 bits and more some words of a sequence are not independent of each other
//! ([`words_that_depend_on_each_other`]).
//!
//! # The tests and their level
//!
//! - *Counts.* In so many independent runs, how often an event occurs is binomially distributed, and so is
//!   how often two occur together. With the counts of the single events, that of the two decides their
//!   correlation. Each count is held against the exact tails of its distribution, both sides together at
//!   [`COUNT_LEVEL`].
//! - *Sums of squares.* Small deviations of many weights show only together. The squares of the standardised
//!   counts (chi-square), and those of the correlations of all pairs of a relation, are added. The sum has a
//!   known mean and, with independent words, a known variance; it is held against the scaled chi-square
//!   distribution that has them, in Wilson and Hilferty's approximation, at [`SUM_DEVIATION`].
//!
//! Each of the two tests that judge the sampler makes at most [`COUNTS`] and [`SUMS`] such comparisons, so
//! with ideal random numbers it would fail with a probability of 5e-7 at most, and the two with 1e-6
//! (Bonferroni). As the seeds are fixed, a test passes always or never.

use std::collections::BTreeSet;

use stoxnor::arith::lfsr;
use stoxnor::arith::lfsr::Bits;
use stoxnor::arith::matrix::IntMatrix;
use stoxnor::arith::stochastic::{Law, Rounding, StochasticMatrix};

const COUNTS: usize = 1_000_000;
const COUNT_LEVEL: f64 = 2.5e-13;
const SUMS: usize = 125;
/// In standard deviations of the normal distribution: a level of 2e-9, both sides together.
const SUM_DEVIATION: f64 = 6.0;

const RUNS: usize = 1_000;
const ROWS: usize = 12;
const COLUMNS: usize = 12;

/// What is drawn in a run: offset of the user's seed, layer, member. The first differs from each other in one
/// of them.
const SOURCES: [(u64, u64, usize); 4] = [(0, 1, 0), (0, 1, 1), (0, 2, 0), (1, 1, 0)];

/// From below -1 to above 1, and different in the rows of a group.
fn weight(row: usize, column: usize) -> f32 {
    ((row * 29 + column * 13) % 47) as f32 / 20.0 - 1.15
}

/// What a comparison is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum About {
    /// Values other than a weight's two.
    Values,
    /// One weight's frequency.
    Frequency,
    /// Two rows of a group in the same column: they share a word.
    Word,
    /// Two words of a sequence of which one tells something of the other.
    Related,
    /// Two columns in the same group.
    Columns,
    /// Two groups of rows.
    Groups,
    Members,
    Layers,
    Users,
    /// Sources that differ in two of the three.
    Several,
}

/// A weight of a source, and the runs in which it took its rarer value.
struct Event {
    source: usize,
    row: usize,
    column: usize,
    code: i32,
    rare: i16,
    common: i16,
    /// Probability of the rarer value.
    p: f64,
    runs: [u64; RUNS.div_ceil(64)],
    count: usize,
}

impl Event {
    fn new(rounding: Rounding, source: usize, row: usize, column: usize) -> Self {
        let one = 1 << rounding.bits;
        let code = rounding.code(weight(row, column));
        let (low, high, above) = match rounding.law {
            Law::Binary => (-1, 1, code),
            Law::Ternary => (code.div_euclid(one), code.div_euclid(one) + 1, code.rem_euclid(one)),
        };
        let (rare, common, p) = if 2 * above <= one { (high, low, above) } else { (low, high, one - above) };
        Self {
            source,
            row,
            column,
            code,
            rare: rare as i16,
            common: common as i16,
            p: f64::from(p) / f64::from(one),
            runs: [0; _],
            count: 0,
        }
    }

    fn variance(&self) -> f64 {
        self.p * (1.0 - self.p)
    }

    /// Number of the word that decides.
    fn word(&self, share: usize) -> usize {
        self.row / share * COLUMNS + self.column
    }

    /// What a pair with a later event is about. `related` has the outcomes of dependent words by their
    /// distance.
    fn with(&self, other: &Self, share: usize, related: &[Option<Outcomes>]) -> About {
        match (self.source, other.source) {
            (a, b) if a == b => {
                let distance = self.word(share).abs_diff(other.word(share));
                if distance == 0 {
                    About::Word
                } else if related[distance].is_some() {
                    About::Related
                } else if self.row / share != other.row / share {
                    About::Groups
                } else {
                    About::Columns
                }
            }
            (0, 1) => About::Members,
            (0, 2) => About::Layers,
            (0, 3) => About::Users,
            _ => About::Several,
        }
    }

    /// Whether the event occurs for the number `u`.
    fn occurs(&self, rounding: Rounding, u: u32) -> bool {
        rounding.draw(self.code, u) == self.rare
    }
}

/// The pairs of numbers that two words take, all equally often.
type Outcomes = Vec<(u32, u32)>;

/// Those of two words so many words apart, if they are not all pairs of numbers. Over all seeds, the bits of
/// a sequence are linear functions of the seed: the pairs are the linear combinations of those that the seeds
/// of a single bit give.
fn dependent(bits: u32, distance: usize) -> Option<Outcomes> {
    let mut basis: Vec<u32> = Vec::new();
    for seed in (0..64).map(|i| 1 << i) {
        let mut sequence = Bits::new(seed);
        let first = sequence.number(bits);
        sequence.skip_bits((distance as u64 - 1) * u64::from(bits));
        let both = first << bits | sequence.number(bits);
        // What is left of it without the leading bits of those before.
        let rest = basis.iter().fold(both, |rest, b| rest.min(rest ^ b));
        if rest != 0 {
            basis.push(rest);
        }
    }
    if basis.len() == 2 * bits as usize {
        return None;
    }
    let pairs = basis.iter().fold(vec![0], |pairs, b| pairs.iter().flat_map(|p| [*p, p ^ b]).collect());
    Some(pairs.into_iter().map(|both| (both >> bits, both & ((1 << bits) - 1))).collect())
}

/// The distribution of counts in [`RUNS`] runs.
struct Binomial {
    log_factorial: Vec<f64>,
}

impl Binomial {
    fn new() -> Self {
        let log_factorial = (0..=RUNS).scan(0.0, |sum, n| {
            *sum += (n.max(1) as f64).ln();
            Some(*sum)
        });
        Self { log_factorial: log_factorial.collect() }
    }

    /// Probability of a count as far out as `count` on its side of the mean, doubled for the two sides.
    fn tails(&self, count: usize, p: f64) -> f64 {
        if p == 0.0 {
            return if count == 0 { 1.0 } else { 0.0 };
        }
        // The lower tail is the upper one of the opposite event.
        let (count, p) = if (count as f64) < p * RUNS as f64 { (RUNS - count, 1.0 - p) } else { (count, p) };
        let choose = self.log_factorial[RUNS] - self.log_factorial[count] - self.log_factorial[RUNS - count];
        let mut term = (choose + count as f64 * p.ln() + (RUNS - count) as f64 * (1.0 - p).ln()).exp();
        let mut tail = 0.0;
        for k in count..=RUNS {
            tail += term;
            if term < 1e-9 * tail {
                break;
            }
            term *= (RUNS - k) as f64 / (k + 1) as f64 * p / (1.0 - p);
        }
        (2.0 * tail).min(1.0)
    }
}

/// A sum of squares of standardised means over the runs, and what is known of it.
#[derive(Default)]
struct Squares {
    sum: f64,
    mean: f64,
    variance: f64,
}

impl Squares {
    /// Adds the square of a mean that deviates from its expectation by `deviation` standard deviations.
    /// `fourth` is the fourth moment of what the mean is of, standardised: (3 (n - 1) + fourth) / n is the
    /// square's second moment.
    fn add(&mut self, deviation: f64, fourth: f64) {
        self.sum += deviation * deviation;
        self.mean += 1.0;
        self.variance += 2.0 + (fourth - 3.0) / RUNS as f64;
    }

    /// How far the sum is from its mean, as a deviation of the standard normal distribution.
    fn deviation(&self) -> f64 {
        let freedom = 2.0 * self.mean * self.mean / self.variance;
        let ninth = 2.0 / (9.0 * freedom);
        ((self.sum / self.mean).cbrt() - (1.0 - ninth)) / ninth.sqrt()
    }
}

/// Fourth moment of an event's standardised indicator, given its variance.
fn fourth(variance: f64) -> f64 {
    1.0 / variance - 3.0
}

/// What was compared, and what was found outside its bounds.
struct Verdict {
    rejected: BTreeSet<About>,
    counts: usize,
    sums: usize,
    binomial: Binomial,
}

impl Verdict {
    /// Compares a count with the distribution for probability `p`.
    fn count(&mut self, about: About, count: usize, p: f64) {
        self.counts += 1;
        if self.binomial.tails(count, p) < COUNT_LEVEL {
            self.rejected.insert(about);
        }
    }

    fn sum(&mut self, about: About, squares: &Squares) {
        if squares.mean == 0.0 {
            return;
        }
        self.sums += 1;
        if squares.deviation().abs() > SUM_DEVIATION {
            self.rejected.insert(about);
        }
    }
}

/// Draws all sources in all runs and compares.
fn judge(rounding: Rounding, sampler: impl Fn(Rounding, u64, usize) -> IntMatrix) -> Verdict {
    let mut verdict = Verdict { rejected: BTreeSet::new(), counts: 0, sums: 0, binomial: Binomial::new() };
    let places =
        (0..SOURCES.len() * ROWS * COLUMNS).map(|i| (i / COLUMNS / ROWS, i / COLUMNS % ROWS, i % COLUMNS));
    let mut events: Vec<Event> = places.map(|(s, r, c)| Event::new(rounding, s, r, c)).collect();
    for run in 0..RUNS {
        for ((user, layer, member), events) in SOURCES.iter().zip(events.chunks_mut(ROWS * COLUMNS)) {
            // No user's seed in two runs: the runs are to be independent.
            let seed = 2 * run as u64 + 1 + user;
            let drawn = sampler(Rounding { seed, ..rounding }, *layer, *member);
            for e in events {
                let value = drawn.at(e.row, e.column);
                if value == e.rare {
                    e.runs[run / 64] |= 1 << (run % 64);
                    e.count += 1;
                } else if value != e.common {
                    verdict.rejected.insert(About::Values);
                }
            }
        }
    }
    frequencies(&mut verdict, &events, rounding);
    // A weight that is certain has no correlations.
    events.retain(|e| e.p > 0.0);
    // In the order of the words within a source: of a pair, the first has the earlier one.
    events.sort_by_key(|e| (e.source, e.word(rounding.share), e.row));
    pairs(&mut verdict, &events, rounding);
    verdict
}

fn frequencies(verdict: &mut Verdict, events: &[Event], rounding: Rounding) {
    let n = RUNS as f64;
    // The weights of one sum are to be independent: one row of each group.
    let mut squares: Vec<Squares> = (0..rounding.share).map(|_| Squares::default()).collect();
    for e in events {
        verdict.count(About::Frequency, e.count, e.p);
        if e.p > 0.0 {
            let deviation = (e.count as f64 - n * e.p) / (n * e.variance()).sqrt();
            squares[e.row % rounding.share].add(deviation, fourth(e.variance()));
        }
    }
    squares.iter().for_each(|s| verdict.sum(About::Frequency, s));
}

/// Probability that two events occur together.
fn together(a: &Event, b: &Event, rounding: Rounding, outcomes: Option<&Outcomes>) -> f64 {
    let Some(outcomes) = outcomes else { return a.p * b.p };
    let both = outcomes.iter().filter(|(u, v)| a.occurs(rounding, *u) && b.occurs(rounding, *v)).count();
    both as f64 / outcomes.len() as f64
}

/// The mean and the variance of the product of two events' standardised indicators, and its fourth moment
/// about the mean, standardised, given the probability that both occur. The mean is their correlation.
fn product(a: &Event, b: &Event, both: f64) -> (f64, f64, f64) {
    let scale = (a.variance() * b.variance()).sqrt();
    let (p, q) = (a.p, b.p);
    let outcomes = [
        (both, (1.0 - p) * (1.0 - q) / scale),
        (p - both, -(1.0 - p) * q / scale),
        (q - both, -p * (1.0 - q) / scale),
        (1.0 - p - q + both, p * q / scale),
    ];
    let mean = outcomes.iter().map(|(p, x)| p * x).sum::<f64>();
    let moment = |k| outcomes.iter().map(|(p, x)| p * (x - mean).powi(k)).sum::<f64>();
    (mean, moment(2), moment(4) / moment(2).powi(2))
}

fn pairs(verdict: &mut Verdict, events: &[Event], rounding: Rounding) {
    let n = RUNS as f64;
    let Rounding { bits, share, .. } = rounding;
    let same: Outcomes = (0..1 << bits).map(|u| (u, u)).collect();
    let related: Vec<_> = (0..ROWS * COLUMNS)
        .map(|distance| if distance == 0 { Some(same.clone()) } else { dependent(bits, distance) })
        .collect();
    for about in [
        About::Word,
        About::Related,
        About::Columns,
        About::Groups,
        About::Members,
        About::Layers,
        About::Users,
        About::Several,
    ] {
        let mut squares = Squares::default();
        let mut degrees = vec![0usize; events.len()];
        for (i, a) in events.iter().enumerate() {
            for (j, b) in events.iter().enumerate().skip(i + 1) {
                if a.with(b, share, &related) != about {
                    continue;
                }
                let both = a.runs.iter().zip(&b.runs).map(|(a, b)| (a & b).count_ones() as usize).sum();
                let first = a.word(share);
                let distance = b.word(share).abs_diff(first);
                let expected = matches!(about, About::Word | About::Related);
                let p = together(a, b, rounding, related[distance].as_ref().filter(|_| expected));
                verdict.count(about, both, p);
                // What is added is to be independent: one row of each group, one pair of a word, no word in two pairs.
                let added = match about {
                    About::Word => a.row % share == 0 && b.row == a.row + 1,
                    About::Related => a.row % share + b.row % share == 0 && first / distance % 2 == 0,
                    _ => a.row % share + b.row % share == 0,
                };
                let (mean, variance, fourth) = product(a, b, p);
                // Where only one product is possible, its mean has no deviations.
                if added && variance > 1e-9 {
                    let both = both as f64 - a.count as f64 * b.p - b.count as f64 * a.p + n * a.p * b.p;
                    let deviation = both / (n * (a.variance() * b.variance()).sqrt()) - mean;
                    squares.add(deviation * (n / variance).sqrt(), fourth);
                    if !expected {
                        degrees[i] += 1;
                        degrees[j] += 1;
                    }
                }
            }
        }
        // The squares of two pairs with a weight in common have the covariance (its fourth moment - 1) / n.
        for (e, degree) in events.iter().zip(&degrees) {
            let couples = degree * degree.saturating_sub(1);
            squares.variance += couples as f64 * (fourth(e.variance()) - 1.0) / n;
        }
        verdict.sum(about, &squares);
    }
}

/// The sampler that is tested.
fn specified(rounding: Rounding, layer: u64, member: usize) -> IntMatrix {
    StochasticMatrix::from_fn(rounding, layer, (ROWS, COLUMNS), weight).sample(member)
}

/// The member of ten thousand whose number is the user's seed, for one user: what an ensemble averages over.
fn members_of_one_user(rounding: Rounding, layer: u64, member: usize) -> IntMatrix {
    specified(Rounding { seed: 1, ..rounding }, layer, rounding.seed as usize + 10_000 * member)
}

fn passes(law: Law) {
    let (mut counts, mut sums) = (0, 0);
    for bits in [1, 2, 8] {
        for share in [1, 4] {
            let rounding = Rounding { law, bits, share, seed: 0 };
            for sampler in [specified, members_of_one_user] {
                let verdict = judge(rounding, sampler);
                assert!(verdict.rejected.is_empty(), "{rounding:?}: {:?}", verdict.rejected);
                counts += verdict.counts;
                sums += verdict.sums;
            }
        }
    }
    assert!(counts <= COUNTS && sums <= SUMS, "{counts}, {sums}");
}

#[test]
fn binary_weights_are_as_specified() {
    passes(Law::Binary);
}

#[test]
fn ternary_weights_are_as_specified() {
    passes(Law::Ternary);
}

/// Words of up to 4 bits are independent of each other in pairs, as far apart as is looked here. Longer ones
/// are not: the four taps lie within 5 bits, so a bit whose taps fall into one earlier word is the parity of
/// four bits of it. Of two words of 8 bits that are 8 words apart, the first decides half of the second, and
/// their weights are correlated a little.
#[test]
fn words_that_depend_on_each_other() {
    let distances = |bits| (1..2_000).filter(|d| dependent(bits, *d).is_some()).collect::<Vec<_>>();
    assert!((1..=4).all(|bits| distances(bits).is_empty()));
    assert_eq!(distances(8), [8]);
    // Four bits of the eight.
    assert_eq!(dependent(8, 8).unwrap().len(), 1 << 12);
    // The largest correlation, and the root of the mean square, of a weight that is +1 where u < p and another.
    let mut together = vec![[0; 257]; 257];
    for (u, v) in dependent(8, 8).unwrap() {
        together[u as usize + 1][v as usize + 1] += 1;
    }
    let (mut largest, mut squares) = (0.0f64, 0.0);
    for p in 1..256 {
        for q in 1..256 {
            together[p][q] += together[p - 1][q] + together[p][q - 1] - together[p - 1][q - 1];
            let [both, p, q] = [together[p][q] as f64 / 4096.0, p as f64 / 256.0, q as f64 / 256.0];
            let correlation = (both - p * q) / (p * (1.0 - p) * q * (1.0 - q)).sqrt();
            largest = largest.max(correlation.abs());
            squares += correlation * correlation;
        }
    }
    let root = (squares / 255.0f64.powi(2)).sqrt();
    assert!((largest - 0.2425).abs() < 1e-4 && (root - 0.0415).abs() < 1e-4, "{largest} {root}");
}

/// The numbers that the weights take, row by row, each from the bits behind the index that `first` gives.
fn numbers(rounding: Rounding, layer: u64, member: usize, first: impl Fn(usize, usize) -> usize) -> Vec<u32> {
    let bits = rounding.bits as usize;
    let seed = lfsr::seed(rounding.seed, layer, member as u64);
    let sequence: Vec<bool> = Bits::new(seed).take(ROWS * COLUMNS * bits).collect();
    let number = |at: usize| sequence[at..][..bits].iter().fold(0, |u, b| u << 1 | u32::from(*b));
    (0..ROWS * COLUMNS).map(|i| number(first(i / COLUMNS, i % COLUMNS))).collect()
}

/// A sampler by the formula, but for the index of a weight's first bit.
fn indexed(
    rounding: Rounding,
    layer: u64,
    member: usize,
    first: impl Fn(usize, usize) -> usize,
) -> IntMatrix {
    let numbers = numbers(rounding, layer, member, first);
    let code = |r, c| rounding.code(weight(r, c));
    IntMatrix::from_fn(ROWS, COLUMNS, |r, c| rounding.draw(code(r, c), numbers[r * COLUMNS + c]))
}

/// Each of these samplers is wrong in one thing, and found out in what it concerns.
#[test]
fn wrong_samplers_are_rejected() {
    use About::{Columns, Frequency, Groups, Layers, Members, Related, Several, Users, Word};
    let rejected = |law, bits, share, sampler: &dyn Fn(Rounding, u64, usize) -> IntMatrix| {
        judge(Rounding { law, bits, share, seed: 0 }, sampler).rejected.into_iter().collect::<Vec<_>>()
    };
    for law in [Law::Binary, Law::Ternary] {
        for bits in [1, 2, 8] {
            // Seeds that leave something out, or mix too little.
            assert_eq!(rejected(law, bits, 4, &|r, _, m| specified(r, 1, m)), [Layers]);
            assert_eq!(rejected(law, bits, 4, &|r, n, _| specified(r, n, 0)), [Members]);
            let pairs = |r: Rounding, n, m| specified(Rounding { seed: r.seed.div_ceil(2), ..r }, n, m);
            assert_eq!(rejected(law, bits, 4, &pairs), [Users]);
            let added = |r: Rounding, n, m| specified(Rounding { seed: r.seed + n, ..r }, 0, m);
            assert_eq!(rejected(law, bits, 4, &added), [Several]);
            // Every group starts at the first bit.
            let again = |r: Rounding, n, m| indexed(r, n, m, |_, c| c * r.bits as usize);
            assert!(rejected(law, bits, 4, &again).contains(&Groups));
            // Every row has words of its own.
            let apart = |r: Rounding, n, m| indexed(r, n, m, |row, c| (row * COLUMNS + c) * r.bits as usize);
            assert!(rejected(law, bits, 4, &apart).contains(&Word));
        }
        // Words that overlap.
        let overlapping = |r: Rounding, n, m| indexed(r, n, m, |row, c| row / r.share * COLUMNS + c);
        assert!(rejected(law, 2, 1, &overlapping).contains(&Columns));
        // Probabilities that are too small by half a step. A step of 8 bits is too small to be seen in so few runs.
        for bits in [1, 2] {
            let less = |r: Rounding, n, m| {
                let half = 0.5f32.powi(r.bits as i32 + i32::from(law == Law::Ternary));
                let smaller = |w: f32| match law {
                    Law::Binary => w - half,
                    Law::Ternary => (w.abs() - half).max(0.0).copysign(w),
                };
                let real = |row, c| smaller(weight(row, c).clamp(-1.0, 1.0));
                StochasticMatrix::from_fn(r, n, (ROWS, COLUMNS), real).sample(m)
            };
            assert!(rejected(law, bits, 1, &less).contains(&Frequency));
        }
        // Words that are independent of each other where those of the sequence are not.
        let independent = |r: Rounding, n, m| {
            IntMatrix::from_fn(ROWS, COLUMNS, |row, c| {
                let word = row / r.share * COLUMNS + c;
                let seed = lfsr::seed(lfsr::seed(r.seed, n, m as u64), word as u64, 0);
                r.draw(r.code(weight(row, c)), Bits::new(seed).number(r.bits))
            })
        };
        assert_eq!(rejected(law, 8, 1, &independent), [Related]);
        assert_eq!(rejected(law, 2, 1, &independent), []);
    }
    // The ternary law's other candidate: the same probabilities, but not together.
    for bits in [1, 2, 8] {
        let other = |r: Rounding, n, m| {
            let first = |row, c| (row / r.share * COLUMNS + c) * r.bits as usize;
            let numbers = numbers(r, n, m, first);
            IntMatrix::from_fn(ROWS, COLUMNS, |row, c| {
                let code = r.code(weight(row, c));
                if (numbers[row * COLUMNS + c] as i32) < code.abs() { code.signum() as i16 } else { 0 }
            })
        };
        assert!(rejected(Law::Ternary, bits, 4, &other).contains(&Word));
    }
}

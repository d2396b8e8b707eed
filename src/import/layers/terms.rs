//! Real numbers as a function of the integers of several streams: what a join computes before the next quantiser.

use crate::arith::threshold::{Lattice, Stairs, search_calls};
use crate::diagnostic::{ACTIVATION_UNSUPPORTED, Diagnostic, MODEL_TOO_LARGE, Result, THRESHOLD_INEXACT};
use crate::graph::operator::Role;
use crate::graph::step::{Operand, Step};
use crate::graph::tensor::{Data, Tensor};
use crate::import::layers::activation::{above_minimum, fits, stairs};
use crate::import::layers::factors::Table;
use crate::import::layers::grid::Grid;
use crate::network::Source;

/// Upper bound on elementary operations when finding the thresholds over several streams: 2^31.
const MAX_WORK: u64 = 1 << 31;
/// Cost of one application of an operator, in elements.
const OVERHEAD: u64 = 64;
/// Maximum number of elements that are evaluated at once: 2^20.
const MAX_BATCH: u64 = 1 << 20;
/// Upper bound on elements that are evaluated in batches: 2^24.
const MAX_BATCHED: u64 = 1 << 24;
/// Upper bound on combinations times channels times levels: 2^25.
const MAX_TABLE: u64 = 1 << 25;

/// A stream of integers.
#[derive(Debug, Clone, PartialEq)]
pub struct Term {
    /// Source of the stream, in the order of the joined tensor.
    pub source: Source,
    /// The integers of each channel.
    pub rows: Vec<Lattice>,
}

/// How the graph computes a tensor from streams, at one position.
#[derive(Debug, Clone)]
enum Value {
    /// A stream's integers, and the steps on them.
    Stream(usize, Vec<Step>),
    /// An operator on several tensors, and the steps on its result.
    Join(Step, Vec<Self>, Vec<Step>),
}

/// Real numbers as a function of the integers of several streams.
#[derive(Debug, Clone)]
pub struct Terms {
    /// The streams.
    pub streams: Vec<Term>,
    value: Value,
    /// Shape of the tensor at one position.
    pub one: Vec<usize>,
}

impl Terms {
    /// The results of `steps` on one stream.
    pub fn stream(term: Term, steps: Vec<Step>, one: Vec<usize>) -> Self {
        Self { streams: vec![term], value: Value::Stream(0, steps), one }
    }

    /// The result of the operator of `join` on `parts`, which have one shape.
    pub fn joined(join: &Step, parts: Vec<Self>) -> Self {
        let one = parts.first().map_or_else(Vec::new, |part| part.one.clone());
        let mut join = join.clone();
        join.shape.clone_from(&one);
        let mut streams = Vec::new();
        let mut values = Vec::new();
        for part in parts {
            values.push(part.value.moved(streams.len()));
            streams.extend(part.streams);
        }
        Self { streams, value: Value::Join(join, values, Vec::new()), one }
    }

    /// The results of `steps` on these numbers. `steps` are those of one position.
    pub fn then(mut self, steps: &[Step]) -> Self {
        match &mut self.value {
            Value::Stream(_, behind) | Value::Join(_, _, behind) => behind.extend_from_slice(steps),
        }
        self
    }

    /// The same streams with other steps: `f` gives them for each list of steps, in one order.
    pub fn with_steps(&self, f: &mut dyn FnMut(&[Step]) -> Option<Vec<Step>>) -> Option<Self> {
        Some(Self { value: self.value.with_steps(f)?, ..self.clone() })
    }

    /// All steps.
    pub fn steps(&self) -> Vec<&Step> {
        let mut all = Vec::new();
        self.value.collect(&mut all);
        all
    }

    /// The steps from the integers of the only stream.
    pub fn alone(&self) -> Vec<Step> {
        self.steps().into_iter().cloned().collect()
    }

    /// The same function for a single channel, if all channels are alike.
    pub fn of_one_channel(&self) -> Option<Self> {
        let alike = |step: &&Step| {
            matches!(step.operator.role, Role::Elementwise { .. } | Role::Quantiser(_))
                && step.constants().iter().flatten().all(|t| t.len() <= 1)
        };
        let equal = |term: &Term| term.rows.iter().all(|row| *row == term.rows[0]);
        if !self.steps().iter().all(alike) || !self.streams.iter().all(equal) {
            return None;
        }
        let mut single = self.clone();
        single.one = vec![1; self.one.len()];
        single.streams.iter_mut().for_each(|term| term.rows.truncate(1));
        single.value.shaped(&single.one);
        Some(single)
    }

    /// The value for one integer of each channel of each stream.
    pub fn at(&self, integers: &[Vec<i32>]) -> Result<Tensor> {
        self.value.at(integers, &self.one)
    }

    /// How the value grows with each stream, from the ends of the streams' ranges; `None` unless all channels are alike.
    pub fn slopes(&self) -> Option<Vec<f64>> {
        let single = self.of_one_channel()?;
        let ends: Vec<(i32, i32)> =
            single.streams.iter().map(|t| (t.rows[0].at(0), t.rows[0].at(i64::MAX))).collect();
        let value = |low: Option<usize>| -> Option<f64> {
            let end = |(i, (l, h)): (usize, &(i32, i32))| vec![if low == Some(i) { *l } else { *h }];
            let found = single.at(&ends.iter().enumerate().map(end).collect::<Vec<_>>()).ok()?;
            found.floats("a sum").ok()?.first().copied().map(f64::from)
        };
        let top = value(None)?;
        let slope = |(i, (low, high)): (usize, &(i32, i32))| {
            Some((top - value(Some(i))?) / (f64::from(*high) - f64::from(*low)).max(1.0))
        };
        ends.iter().enumerate().map(slope).collect()
    }

    /// `grid` restricted to the levels that occur, if these are fewer than an activation's maximum.
    ///
    /// # Errors
    /// If there are too many, or a value is no level.
    pub fn narrowed(&self, grid: &Grid) -> Result<Grid> {
        if fits(grid) {
            return Ok(*grid);
        }
        let (mut least, mut most) = (i64::MAX, i64::MIN);
        for corner in 0..1u32 << self.streams.len().min(8) {
            let end = |(i, term): (usize, &Term)| {
                let point = if corner >> i & 1 == 1 { i64::MAX } else { 0 };
                term.rows.iter().map(|row| row.at(point)).collect()
            };
            let found = self.at(&self.streams.iter().enumerate().map(end).collect::<Vec<_>>())?;
            for value in found.floats("a level")? {
                let Some(level) = grid.decode(*value) else { continue };
                (least, most) = (least.min(level), most.max(level));
            }
        }
        let found = Grid { least, most, ..*grid };
        if least <= most && fits(&found) {
            return Ok(found);
        }
        let message = format!("the activation behind it has the levels {} to {}", grid.least, grid.most);
        Err(Diagnostic::new(&ACTIVATION_UNSUPPORTED, message).help("quantise to 8 bits or fewer").into())
    }

    /// The number of the stream with the most integers: the last one of a [`Table`].
    pub fn last(&self) -> usize {
        let points = |term: &Term| term.rows.iter().map(|row| row.points).max().unwrap_or(1);
        (0..self.streams.len()).max_by_key(|i| (points(&self.streams[*i]), *i)).unwrap_or(0)
    }

    /// The thresholds of each channel for every combination of integers: the graph's own operators decide. The results are levels
    /// of `grid`, the thresholds those of stream `last`.
    ///
    /// # Errors
    /// If the function is not monotone in every stream, or there are too many combinations.
    pub fn tables(&self, grid: &Grid, last: usize) -> Result<Vec<Table>> {
        let rows = &self.streams[last].rows;
        let points: Vec<i64> = self
            .streams
            .iter()
            .enumerate()
            .map(|(i, t)| if i == last { 1 } else { t.rows.iter().map(|r| r.points).max().unwrap_or(1) })
            .collect();
        let combinations = points.iter().fold(1u64, |all, n| all.saturating_mul(*n as u64));
        let levels = above_minimum(grid);
        let most = rows.iter().map(|r| r.points).max().unwrap_or(1) as u64;
        let work = combinations
            .saturating_mul(most.min(search_calls(rows, levels.len())))
            .saturating_mul((self.steps().len() as u64 + 1) * (rows.len() as u64 + OVERHEAD));
        let table = combinations.saturating_mul((rows.len() * levels.len()) as u64);
        let at_once = self.is_batched() && most.saturating_mul(rows.len() as u64) <= MAX_BATCH;
        let batched = at_once && combinations.saturating_mul(most * rows.len() as u64) <= MAX_BATCHED;
        if !batched && work > MAX_WORK || table > MAX_TABLE {
            let message = format!(
                "its {} inputs have {combinations} combinations of integers times {most}, too many to find its thresholds over all of them",
                self.streams.len()
            );
            return Err(Diagnostic::new(&MODEL_TOO_LARGE, message)
                .help("give the quantisers of all its inputs one scale, or quantise its inputs to fewer bits")
                .into());
        }
        let mut found: Vec<Vec<Stairs>> = vec![Vec::new(); rows.len()];
        let mut others: Vec<Vec<Vec<i64>>> = vec![Vec::new(); rows.len()];
        for combination in 0..combinations {
            let mut rest = combination as i64;
            let mut integers: Vec<Vec<i32>> = Vec::new();
            for (term, n) in self.streams.iter().zip(&points) {
                integers.push(term.rows.iter().map(|row| row.at(rest % n)).collect());
                rest /= n;
            }
            let found_here = if batched {
                self.batch(last, &integers, most as i64, (grid, &levels))?
            } else {
                stairs(rows, &self.one, &self.value.path(last, &integers, &self.one)?, grid)?
            };
            for (row, stairs) in found_here.into_iter().enumerate() {
                found[row].push(stairs);
                let of = |i: usize| i64::from(integers[i][row]);
                others[row].push((0..self.streams.len()).filter(|i| *i != last).map(of).collect());
            }
        }
        found
            .into_iter()
            .zip(others)
            .zip(rows)
            .map(|((stairs, others), row)| table_of(stairs, others, *row))
            .collect()
    }
}

impl Terms {
    /// Whether several positions can be evaluated at once, side by side along the batch axis.
    fn is_batched(&self) -> bool {
        let local = |s: &&Step| matches!(s.operator.role, Role::Elementwise { .. } | Role::Quantiser(_));
        let fits =
            |s: &Step| s.constants().iter().flatten().all(|t| t.rank() < self.one.len() || t.shape[0] == 1);
        self.one.len() > 1 && self.one[0] == 1 && self.steps().iter().all(|s| local(s) && fits(s))
    }

    /// The thresholds of every row for one combination of the other streams, from all `most` integers of stream `last` at once.
    fn batch(
        &self,
        last: usize,
        integers: &[Vec<i32>],
        most: i64,
        (grid, levels): (&Grid, &[i32]),
    ) -> Result<Vec<Stairs>> {
        let rows = &self.streams[last].rows;
        let all: Vec<Vec<i32>> = integers
            .iter()
            .enumerate()
            .map(|(i, fixed)| match i == last {
                true => (0..most).flat_map(|point| rows.iter().map(move |row| row.at(point))).collect(),
                false => (0..most).flat_map(|_| fixed.iter().copied()).collect(),
            })
            .collect();
        let mut shape = self.one.clone();
        shape[0] = most as usize;
        let values = self.value.at(&all, &shape)?;
        let values = values.floats("the activation")?;
        let row_of = |(index, row): (usize, &Lattice)| {
            let own = (0..row.points).map(|point| {
                let at = point as usize * rows.len() + index;
                let value = values.get(at).copied().unwrap_or(f32::NAN);
                let level = grid.decode(value).filter(|v| (grid.least..=grid.most).contains(v));
                level.filter(|v| !grid.bipolar || *v != 0).map(|v| v as i32).ok_or_else(|| {
                    let message = format!(
                        "output {index} becomes {value}, none of the levels {} to {} times {}",
                        grid.least, grid.most, grid.scale
                    );
                    Diagnostic::new(&ACTIVATION_UNSUPPORTED, message)
                        .help("end the activation in a quantiser")
                })
            });
            let own: Vec<i32> = own.collect::<std::result::Result<_, _>>()?;
            stairs_of(own, *row, levels).ok_or_else(|| {
                Diagnostic::new(
                    &THRESHOLD_INEXACT,
                    format!("the activation of output {index} rises and falls"),
                )
                .help("the function between two layers must rise or fall with the sum, and stay finite")
                .into()
            })
        };
        rows.iter().enumerate().map(row_of).collect()
    }
}

/// The thresholds for the values at all points of `row`; `None` if the values rise and fall.
fn stairs_of(mut values: Vec<i32>, row: Lattice, levels: &[i32]) -> Option<Stairs> {
    let negate = values.first() > values.last();
    let row = if negate { Lattice { low: -row.high(), ..row } } else { row };
    if negate {
        values.reverse();
    }
    let threshold = |level: &i32| match values.partition_point(|v| v < level) {
        end if end == values.len() => row.high() as i32 + 1,
        point => row.at(point as i64),
    };
    values.is_sorted().then(|| Stairs { thresholds: levels.iter().map(threshold).collect(), negate })
}

/// The table of one channel.
fn table_of(stairs: Vec<Stairs>, mut others: Vec<Vec<i64>>, row: Lattice) -> Result<Table> {
    let constant = |s: &Stairs| {
        let (low, high) = if s.negate { (-row.high(), -row.low) } else { (row.low, row.high()) };
        s.thresholds.iter().all(|t| i64::from(*t) <= low || i64::from(*t) > high)
    };
    let mut directions = stairs.iter().filter(|s| !constant(s)).map(|s| s.negate);
    let negated = directions.next().unwrap_or(false);
    if directions.any(|other| other != negated) {
        return Err(Diagnostic::new(
            &THRESHOLD_INEXACT,
            "its result rises with one input or falls, depending on the other",
        )
        .help("quantise the inputs to one sign, unsigned for example")
        .into());
    }
    let last = if negated { Lattice { low: -row.high(), ..row } } else { row };
    let turned = |s: Stairs| -> Vec<i32> {
        if s.negate == negated {
            return s.thresholds;
        }
        // A constant: all integers reach a level, or none does.
        let own_high = if s.negate { -row.low } else { row.high() };
        let reached = |t: &i32| if i64::from(*t) > own_high { last.high() + 1 } else { last.low };
        s.thresholds.iter().map(|t| reached(t) as i32).collect()
    };
    let reached = stairs.into_iter().map(turned).collect();
    if negated {
        others.iter_mut().flatten().for_each(|a| *a = -*a);
    }
    Ok(Table { others, last, reached, negated })
}

impl Value {
    /// The same with all stream numbers increased by `by`.
    fn moved(self, by: usize) -> Self {
        match self {
            Self::Stream(i, steps) => Self::Stream(i + by, steps),
            Self::Join(join, parts, steps) => {
                Self::Join(join, parts.into_iter().map(|part| part.moved(by)).collect(), steps)
            }
        }
    }

    fn with_steps(&self, f: &mut dyn FnMut(&[Step]) -> Option<Vec<Step>>) -> Option<Self> {
        Some(match self {
            Self::Stream(i, steps) => Self::Stream(*i, f(steps)?),
            Self::Join(join, parts, steps) => {
                let parts = parts.iter().map(|part| part.with_steps(f)).collect::<Option<_>>()?;
                Self::Join(join.clone(), parts, f(steps)?)
            }
        })
    }

    fn collect<'a>(&'a self, all: &mut Vec<&'a Step>) {
        match self {
            Self::Stream(_, steps) => all.extend(steps),
            Self::Join(_, parts, steps) => {
                parts.iter().for_each(|part| part.collect(all));
                all.extend(steps);
            }
        }
    }

    fn shaped(&mut self, shape: &[usize]) {
        match self {
            Self::Stream(_, steps) => steps.iter_mut().for_each(|s| s.shape = shape.to_vec()),
            Self::Join(join, parts, steps) => {
                join.shape = shape.to_vec();
                parts.iter_mut().for_each(|part| part.shaped(shape));
                steps.iter_mut().for_each(|s| s.shape = shape.to_vec());
            }
        }
    }

    fn reads(&self, stream: usize) -> bool {
        match self {
            Self::Stream(i, _) => *i == stream,
            Self::Join(_, parts, _) => parts.iter().any(|part| part.reads(stream)),
        }
    }

    fn at(&self, integers: &[Vec<i32>], one: &[usize]) -> Result<Tensor> {
        let applied = |x: Tensor, steps: &[Step]| steps.iter().try_fold(x, |x, step| step.eval(&x));
        match self {
            Self::Stream(i, steps) => {
                let data = Data::Float(integers[*i].iter().map(|v| *v as f32).collect());
                applied(Tensor { shape: one.to_vec(), data }, steps)
            }
            Self::Join(join, parts, steps) => {
                let parts: Vec<Tensor> =
                    parts.iter().map(|part| part.at(integers, one)).collect::<Result<_>>()?;
                let inputs: Vec<&Tensor> = parts.iter().collect();
                let mut outputs =
                    (join.operator.eval)(&join.attributes, &inputs).map_err(|e| e.placed(&join.place))?;
                applied(outputs.swap_remove(join.output), steps)
            }
        }
    }

    /// The steps from the integers of stream `stream` to the value, for given integers of the others.
    fn path(&self, stream: usize, integers: &[Vec<i32>], one: &[usize]) -> Result<Vec<Step>> {
        match self {
            Self::Stream(_, steps) => Ok(steps.clone()),
            Self::Join(join, parts, steps) => {
                let mut path = Vec::new();
                let mut step = join.clone();
                step.operands.clear();
                for part in parts {
                    step.operands.push(if part.reads(stream) {
                        path = part.path(stream, integers, one)?;
                        Operand::Running
                    } else {
                        Operand::Constant(part.at(integers, one)?.into())
                    });
                }
                path.push(step);
                path.extend_from_slice(steps);
                Ok(path)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::layers::activation::tests::{quant, step};
    use crate::import::layers::factors::{pair, thresholds};

    fn scaled(scale: f32, low: i64, points: i64) -> Terms {
        let term = Term { source: Source::Input(0), rows: vec![Lattice { low, step: 1, points }; 4] };
        Terms::stream(term, vec![step("", "Mul", &[Tensor::scalar(scale)], &[1, 4])], vec![1, 4])
    }

    /// Finds factors for a join of two streams and checks them at all pairs.
    fn holds(join: &str, behind: &[Step], grid: Grid) -> [i64; 2] {
        let mut join = step("", join, &[], &[1, 4]);
        join.operands.push(Operand::Running);
        let terms = Terms::joined(&join, vec![scaled(0.113, -3, 8), scaled(0.31, 0, 16)]).then(behind);
        let single = terms.of_one_channel().expect("channels are alike");
        let tables = single.tables(&grid, single.last()).unwrap();
        let factors = pair(&tables).unwrap();
        let found = &thresholds(&tables, &factors).unwrap()[0];
        let sign = if tables[0].negated { -1 } else { 1 };
        for (a, b) in (-3..5).flat_map(|a| (0..16).map(move |b| (a, b))) {
            let value = terms.at(&[vec![a; 4], vec![b; 4]]).unwrap();
            let level = grid.decode(value.floats("").unwrap()[2]).unwrap();
            let sum = sign * (factors[0] * i64::from(a) + factors[1] * i64::from(b));
            let reached = found.iter().filter(|t| sum >= **t).count() as i64;
            assert_eq!(grid.least + reached, level, "{a} {b}");
        }
        factors
    }

    #[test]
    fn sums_of_unequal_scales_are_exact_at_all_pairs() {
        let grid = Grid { scale: 0.4, least: -4, most: 3, bipolar: false };
        let factors = holds("Add", &[quant(0.4, 0.0, 3, true)], grid);
        assert!(factors[0] > 0 && factors[1] > 0, "{factors:?}");
        let factors = holds("Sub", &[quant(0.4, 0.0, 3, true)], grid);
        assert!(factors[0].signum() != factors[1].signum(), "{factors:?}");
        // A decreasing activation.
        let negate = step("", "Neg", &[], &[1, 4]);
        holds("Add", &[negate, quant(0.4, 0.0, 3, true)], grid);
    }

    #[test]
    fn three_streams_follow_their_slopes() {
        let mut add = step("", "Add", &[], &[1, 4]);
        add.operands.push(Operand::Running);
        let two = Terms::joined(&add, vec![scaled(0.5, 0, 4), scaled(0.25, 0, 4)]);
        let three = Terms::joined(&add, vec![two, scaled(0.125, 0, 4)]);
        assert_eq!(three.slopes().unwrap(), [0.5, 0.25, 0.125]);
        assert_eq!(three.streams.len(), 3);
    }
}

//! Pass: counts the sums at which another executor may compute another level, because the value of a function such as `Sigmoid`, whose
//! last bits differ between executors, is beside a threshold.
//!
//! The graph's operators are evaluated once more, with the results of these functions moved up or down by the error that is assumed
//! ([`ERROR`](crate::graph::op::nearby::ERROR)). A sum is in doubt if its level then changes.

use crate::arith::threshold::{self, Lattice, Stairs};
use crate::diagnostic::{ACTIVATION_UNSUPPORTED, Diagnostic, Result};
use crate::graph::attributes::{Applied, Attribute, Attributes, Link};
use crate::graph::op;
use crate::graph::op::fused::PROGRAM;
use crate::graph::op::nearby::{is_inexact, nearby};
use crate::graph::operator::{CONFIGURED, numbers};
use crate::graph::step::Step;
use crate::graph::tensor::{Data, Tensor};
use crate::import::layers::activation::{Found, above_minimum, activation, is_searched};
use crate::import::layers::factors::Table;
use crate::import::layers::grid::Grid;
use crate::import::layers::terms::Terms;
use crate::import::layers::walk::Walk;
use crate::network::Doubt;

/// The functions that are moved independently of each other; further ones move with them.
const INDEPENDENT: usize = 3;

impl Walk<'_> {
    /// [`activation`]. The next layer gets its doubt.
    pub(crate) fn activation(
        &mut self,
        rows: &[Lattice],
        shape: &[usize],
        steps: &[Step],
        grid: &Grid,
    ) -> Result<Found> {
        let found = activation(rows, shape, steps, grid)?;
        self.doubt = doubt(rows, shape, steps, grid);
        Ok(found)
    }
}

/// The doubt of an activation. The parameters are those of [`activation`]; `None` if no sum is in doubt.
pub fn doubt(rows: &[Lattice], shape: &[usize], steps: &[Step], grid: &Grid) -> Option<Doubt> {
    let functions = functions(steps);
    let moved =
        patterns(&functions).map(|pattern| moved(steps, pattern, &mut 0)).collect::<Option<Vec<_>>>()?;
    let of = rows.iter().map(|row| row.points as u64).sum();
    // Beside a value there may be none that the rest of the graph takes. Then any sum may be in doubt.
    let sums = if moved.is_empty() { 0 } else { counted(rows, shape, steps, &moved, grid).unwrap_or(of) };
    told(functions, sums, of)
}

/// The doubt of a function of several streams, whose thresholds for stream `last` are `tables`. Each table stands for `copies` channels.
/// What is counted are combinations of the streams' integers.
pub fn of_terms(
    terms: &Terms,
    tables: &[Table],
    (grid, last): (&Grid, usize),
    copies: usize,
) -> Option<Doubt> {
    let functions: Vec<&'static str> =
        terms.steps().into_iter().flat_map(|step| functions(std::slice::from_ref(step))).collect();
    let combinations = |table: &Table| table.reached.len() as u64 * table.last.points as u64;
    let of = tables.iter().map(combinations).sum::<u64>() * copies as u64;
    let moved = patterns(&functions).map(|pattern| {
        let mut number = 0;
        let terms = terms.with_steps(&mut |steps| moved(steps, pattern, &mut number))?;
        terms.tables(grid, last).ok()
    });
    let moved: Vec<Option<Vec<Table>>> = moved.collect();
    let of_table = |(t, own): (usize, &Table)| -> Option<u64> {
        let others: Vec<&Table> = moved.iter().map(|m| m.as_ref().map(|m| &m[t])).collect::<Option<_>>()?;
        let alike = |other: &&Table| other.negated == own.negated && other.reached.len() == own.reached.len();
        if !others.iter().all(alike) {
            return None;
        }
        let point = |reached: i32| (i64::from(reached) - own.last.low + own.last.step - 1) / own.last.step;
        let of_combination = |c: usize| {
            let levels = own.reached[c].len();
            let each = (0..levels).flat_map(|j| others.iter().map(move |other| (j, other)));
            covered(each.flat_map(|(j, other)| {
                let range = |table: &Table| (point(table.reached[c][j]), own.last.points);
                between(range(own), range(other))
            }))
        };
        Some((0..own.reached.len()).map(of_combination).sum())
    };
    let counts: Option<Vec<u64>> = tables.iter().enumerate().map(of_table).collect();
    let sums = counts.map_or(of, |counts| counts.iter().sum::<u64>() * copies as u64);
    told(functions, if moved.is_empty() { 0 } else { sums }, of)
}

/// The functions of `steps` whose last bits differ between executors.
fn functions(steps: &[Step]) -> Vec<&'static str> {
    steps.iter().flat_map(names).filter(|name| is_inexact(name)).collect()
}

/// The patterns of [`moved`].
fn patterns(functions: &[&'static str]) -> std::ops::Range<u32> {
    if functions.is_empty() { 0..0 } else { 0..1 << functions.len().min(INDEPENDENT) }
}

fn told(functions: Vec<&'static str>, sums: u64, of: u64) -> Option<Doubt> {
    let mut operators: Vec<&'static str> = Vec::new();
    for name in functions {
        if !operators.contains(&name) {
            operators.push(name);
        }
    }
    (sums > 0).then_some(Doubt { operators, sums, of })
}

/// The operators of a step.
fn names(step: &Step) -> Vec<&'static str> {
    match step.attributes.get(PROGRAM) {
        Some(Attribute::Program(program)) => program.iter().map(|applied| applied.operator).collect(),
        _ => vec![step.operator.name],
    }
}

/// The number of sums whose level is not that of `steps` in one of `moved`.
fn counted(
    rows: &[Lattice],
    shape: &[usize],
    steps: &[Step],
    moved: &[Vec<Step>],
    grid: &Grid,
) -> Result<u64> {
    let levels = above_minimum(grid);
    if !is_searched(rows, levels.len(), steps) {
        return enumerated(rows, shape, steps, moved, grid);
    }
    let thresholds =
        |steps| threshold::search(rows, &levels, |sums, out| evaluate(shape, steps, grid, sums, out));
    let own = thresholds(steps)?;
    let others: Vec<Vec<Stairs>> = moved.iter().map(|steps| thresholds(steps)).collect::<Result<_>>()?;
    let of_row = |(r, row): (usize, &Lattice)| -> u64 {
        let each = (0..levels.len()).flat_map(|j| others.iter().map(move |other| (j, other)));
        covered(each.flat_map(|(j, other)| between(reached(row, &own[r], j), reached(row, &other[r], j))))
    };
    Ok(rows.iter().enumerate().map(of_row).sum())
}

fn enumerated(
    rows: &[Lattice],
    shape: &[usize],
    steps: &[Step],
    moved: &[Vec<Step>],
    grid: &Grid,
) -> Result<u64> {
    let points = rows.iter().map(|row| row.points).max().unwrap_or(0);
    let mut count = 0;
    let (mut own, mut other) = (vec![0; rows.len()], vec![0; rows.len()]);
    for point in 0..points {
        let sums: Vec<i32> = rows.iter().map(|row| row.at(point)).collect();
        evaluate(shape, steps, grid, &sums, &mut own)?;
        let mut differs = vec![false; rows.len()];
        for steps in moved {
            evaluate(shape, steps, grid, &sums, &mut other)?;
            differs.iter_mut().zip(own.iter().zip(&other)).for_each(|(d, (a, b))| *d |= a != b);
        }
        count += differs.iter().zip(rows).filter(|(differs, row)| **differs && point < row.points).count();
    }
    Ok(count as u64)
}

/// The points of `row` that reach level `j`: from a point up to, and without, another.
fn reached(row: &Lattice, stairs: &Stairs, j: usize) -> (i64, i64) {
    let low = if stairs.negate { -row.high() } else { row.low };
    // A level that no sum reaches has the maximum plus 1.
    let above = (i64::from(stairs.thresholds[j]) - low + row.step - 1) / row.step;
    if stairs.negate { (0, row.points - above) } else { (above, row.points) }
}

/// The number of points that are in any of the ranges.
fn covered(ranges: impl Iterator<Item = (i64, i64)>) -> u64 {
    let mut sorted: Vec<(i64, i64)> = ranges.collect();
    sorted.sort_unstable();
    let (mut count, mut known) = (0, i64::MIN);
    for (start, end) in sorted {
        count += (end - start.max(known)).max(0);
        known = known.max(end);
    }
    count as u64
}

/// The points that are in one of two ranges.
fn between(a: (i64, i64), b: (i64, i64)) -> Vec<(i64, i64)> {
    let parts = match (a.0 < a.1, b.0 < b.1) {
        (false, _) => vec![b],
        (_, false) => vec![a],
        _ => vec![(a.0.min(b.0), a.0.max(b.0)), (a.1.min(b.1), a.1.max(b.1))],
    };
    parts.into_iter().filter(|(start, end)| start < end).collect()
}

/// The levels of `steps` at one sum for each output. A value beyond the levels that occur is the nearest of them.
fn evaluate(shape: &[usize], steps: &[Step], grid: &Grid, sums: &[i32], out: &mut [i32]) -> Result<()> {
    let data = Data::Float(sums.iter().map(|&sum| sum as f32).collect());
    let x = steps.iter().try_fold(Tensor { shape: shape.to_vec(), data }, |x, step| step.eval(&x))?;
    for (value, out) in numbers(&x).floats("the activation")?.iter().zip(out) {
        let level = grid.decode(*value).ok_or_else(|| {
            Diagnostic::new(&ACTIVATION_UNSUPPORTED, format!("{value} is no multiple of {}", grid.scale))
        })?;
        *out = level.clamp(grid.least, grid.most) as i32;
    }
    Ok(())
}

/// The steps with moved results: function number i is moved up if bit i of `pattern` is set, else down. `number` counts the functions.
fn moved(steps: &[Step], pattern: u32, number: &mut usize) -> Option<Vec<Step>> {
    let mut up = || {
        *number += 1;
        pattern >> ((*number - 1) % INDEPENDENT) & 1 == 1
    };
    steps
        .iter()
        .map(|step| {
            let program = match step.attributes.get(PROGRAM) {
                Some(Attribute::Program(program)) => program.clone(),
                _ if is_inexact(step.operator.name) => vec![alone(step)?],
                _ => return Some(step.clone()),
            };
            let mut longer: Vec<Applied> = Vec::new();
            // Where the results of the operators are.
            let mut places: Vec<usize> = Vec::new();
            for mut applied in program {
                for link in &mut applied.inputs {
                    if let Link::Applied(part) = link {
                        *part = places[*part];
                    }
                }
                let (name, operand) = (applied.operator, applied.inputs.first().copied());
                longer.push(applied);
                if let Some(operand) = operand.filter(|_| is_inexact(name)) {
                    longer.push(nearby(name, operand, Link::Applied(longer.len() - 1), up()));
                }
                places.push(longer.len() - 1);
            }
            let mut step = step.clone();
            if step.attributes.get(PROGRAM).is_none() {
                step.operator = op::find(CONFIGURED, "Fused")?;
                step.output = 0;
                step.attributes = Attributes::new(step.attributes.opset);
            }
            step.attributes.insert(PROGRAM, Attribute::Program(longer));
            Some(step)
        })
        .collect()
}

/// A step as the operator of a program.
fn alone(step: &Step) -> Option<Applied> {
    Some(Applied {
        domain: step.operator.domains.first()?,
        operator: step.operator.name,
        attributes: step.attributes.clone(),
        inputs: (0..step.operands.len()).map(Link::Operand).collect(),
        output: step.output,
        eval: step.operator.eval,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::step::Operand;
    use crate::import::layers::activation::tests::{quant, step};
    use crate::import::layers::grid::grid;
    use crate::import::layers::terms::Term;
    use crate::network::Source;

    fn found(rows: &[Lattice; 4], steps: &[Step]) -> Option<Doubt> {
        let grid = grid(None, &[1, 4], steps).unwrap().expect("a quantiser");
        doubt(rows, &[1, 4], steps, &grid)
    }

    /// A product of each sum with a factor, and `bias`.
    fn affine(factor: f32, bias: [f32; 4]) -> Vec<Step> {
        let mul = step("", "Mul", &[Tensor::scalar(factor)], &[1, 4]);
        vec![mul, step("", "Add", &[Tensor::vector(bias.to_vec())], &[1, 4])]
    }

    fn through(mut before: Vec<Step>, name: &str, quantiser: Step) -> Vec<Step> {
        before.push(step("", name, &[], &[1, 4]));
        before.push(quantiser);
        before
    }

    #[test]
    fn sums_beside_a_threshold_are_counted() {
        // The levels of sigmoid(x) * 4 change at 1/8, 3/8, 5/8 and 7/8: at ln(5/3) of 5/8, for example.
        let edge = (5f32 / 3.0).ln();
        let row = Lattice { low: -40, step: 1, points: 81 };
        let steps = |bias| through(affine(0.25, bias), "Sigmoid", quant(0.25, 0.0, 3, false));
        // The edges are no multiples of 1/4, so only a bias puts a sum on one: in two rows once, in one at both 5/8 and 3/8.
        let doubt = found(&[row; 4], &steps([0.0, edge, -edge, 0.1])).expect("two sums");
        assert_eq!((doubt.sums, doubt.of, &doubt.operators[..]), (2, 324, &["Sigmoid"][..]));
        assert_eq!(found(&[row; 4], &steps([0.0, 0.5, 0.1, -0.1])), None);
        // All functions whose value is a level's edge at 0 are exact there.
        for name in ["Tanh", "Erf", "Sigmoid", "Elu"] {
            let sign = step("", "Sign", &[], &[1, 4]);
            let sum = step("", "Sub", &[Tensor::scalar(if name == "Sigmoid" { 0.5 } else { 0.0 })], &[1, 4]);
            let mut all = through(affine(0.25, [0.0; 4]), name, sum);
            all.push(sign);
            assert_eq!(found(&[row; 4], &all), None, "{name}");
        }
        // Without such a function nothing is in doubt, however near a sum is.
        let exact = through(affine(0.25, [0.125; 4]), "Relu", quant(0.25, 0.0, 3, false));
        assert_eq!(found(&[row; 4], &exact), None);
    }

    #[test]
    fn both_ways_count_the_same() {
        let edge = (5f32 / 3.0).ln();
        for (factor, points) in [(0.25, 81), (-0.25, 81), (1e-6, 4001), (-3e-7, 4001)] {
            let row = |by: i64| Lattice { low: -(points / 2) + by, step: 1, points: points - by };
            let rows = [row(0), row(1), row(2), row(30)];
            let steps = through(
                affine(factor, [edge, -edge, edge, edge + 1e-4]),
                "Sigmoid",
                quant(0.25, 0.0, 3, false),
            );
            let grid = grid(None, &[1, 4], &steps).unwrap().unwrap();
            let moved: Vec<Vec<Step>> =
                (0..2).map(|pattern| moved(&steps, pattern, &mut 0).unwrap()).collect();
            assert!(is_searched(&rows, above_minimum(&grid).len(), &steps), "the search is tested");
            let searched = counted(&rows, &[1, 4], &steps, &moved, &grid).unwrap();
            assert_eq!(searched, enumerated(&rows, &[1, 4], &steps, &moved, &grid).unwrap(), "{factor}");
            assert!(searched >= 3 && searched < 4 * points as u64, "{searched}");
        }
    }

    #[test]
    fn combinations_of_a_join_are_counted() {
        let of = |function: &str, factor: f32| {
            let stream = |index, points, steps| {
                let rows = vec![Lattice { low: 0, step: 1, points }; 4];
                Terms::stream(Term { source: Source::Input(index), rows }, steps, vec![1, 4])
            };
            let by = |factor: f32| step("", "Mul", &[Tensor::scalar(factor)], &[1, 4]);
            let parts = vec![
                stream(0, 8, vec![by(factor), step("", function, &[], &[1, 4])]),
                stream(1, 4, vec![by(0.25)]),
            ];
            let mut add = step("", "Add", &[], &[1, 4]);
            add.operands = vec![Operand::Running; 2];
            let quantiser = [quant(0.25, 0.0, 4, false)];
            let terms = Terms::joined(&add, parts).then(&quantiser);
            let grid = grid(None, &[1, 4], &quantiser).unwrap().unwrap();
            let terms = terms.of_one_channel().expect("all channels are alike");
            let tables = terms.tables(&grid, terms.last()).unwrap();
            of_terms(&terms, &tables, (&grid, terms.last()), 4)
        };
        // Sigmoid is 5/8, an edge, at ln(5/3): the integer 1 of the first stream with each of the second, in four channels.
        let doubt = of("Sigmoid", (5f32 / 3.0).ln()).expect("doubt");
        assert_eq!((doubt.sums, doubt.of, &doubt.operators[..]), (16, 128, &["Sigmoid"][..]));
        assert_eq!(of("Sigmoid", 0.7), None);
        assert_eq!(of("Relu", 0.625), None);
    }
}

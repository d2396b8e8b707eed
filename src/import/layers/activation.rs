//! Pass: turns everything between two matrix products into integer thresholds per output.
//!
//! The graph's own operators are evaluated at the possible sums, all outputs at once, so the thresholds are exact for every
//! value, ties included. If every step is known to be monotone, thresholds are found by binary search, else by enumeration.

use std::cmp::Ordering;

use crate::arith::activation::Activation;
use crate::arith::threshold;
use crate::arith::threshold::{Lattice, NotMonotone, Stairs};
use crate::diagnostic::{
    ACTIVATION_UNSUPPORTED, Diagnostic, Diagnostics, MODEL_TOO_LARGE, OPERATOR_UNSUPPORTED, Result,
    THRESHOLD_INEXACT,
};
use crate::frame::element::Element;
use crate::graph::attributes::Attribute;
use crate::graph::op::fused::PROGRAM;
use crate::graph::operator::Role;
use crate::graph::step::Step;
use crate::graph::tensor::{Data, Tensor};
use crate::import::layers::grid::Grid;

/// Upper bound on operator applications times elements when finding the thresholds of one layer: 2^31.
const MAX_WORK: u64 = 1 << 31;
/// Maximum number of levels of an activation.
const MAX_LEVELS: i64 = 1 << 8;
/// Maximum number of steps upwards, and of steps downwards, of an activation that rises and falls.
const MAX_STEPS: usize = (1 << 10) - 1;
/// Maximum bit width of an activation: 256 levels with a zero point may lie on both sides of 0.
const MAX_BITS: u32 = 9;

/// An activation that rises and falls: the number of its steps upwards up to a sum, less that of its steps downwards.
#[derive(Debug)]
pub struct Bumps {
    /// Steps upwards, and how far the first value is above the lowest.
    pub up: Activation,
    /// Steps downwards.
    pub down: Activation,
    /// The activation of their difference.
    pub difference: Activation,
}

/// The activation of a layer.
#[derive(Debug)]
pub enum Found {
    /// Thresholds, and for each row whether its weights must be negated (decreasing activation).
    Monotone(Activation, Vec<bool>),
    /// Two sets of thresholds.
    Bumps(Bumps),
}

impl Found {
    /// The thresholds of an activation where no other kind can be built.
    ///
    /// # Errors
    /// If the activation rises and falls.
    pub fn monotone(self, steps: &[Step]) -> Result<(Activation, Vec<bool>)> {
        match self {
            Self::Monotone(activation, negate) => Ok((activation, negate)),
            Self::Bumps(_) => {
                let found = inexact("the activation rises and falls".to_owned());
                Err(steps.first().map_or(found.clone(), |s| found.clone().placed(&s.place)))
            }
        }
    }

    /// The last activation: its values are those of the layer.
    pub fn last(&self) -> &Activation {
        match self {
            Self::Monotone(activation, _) => activation,
            Self::Bumps(bumps) => &bumps.difference,
        }
    }
}

/// Computes the activation of a layer, and for each row whether its weights must be negated (decreasing activation).
///
/// `rows` are the possible sums of each output. They enter `steps` as a tensor of shape `shape`. The results of `steps` are
/// levels of `grid`.
///
/// # Errors
/// If steps reorder elements, the activation is not monotone or has too many levels, or the search takes too many operations.
pub fn activation(rows: &[Lattice], shape: &[usize], steps: &[Step], grid: &Grid) -> Result<Found> {
    keeps_order(shape, steps)?;
    let mut f = |sums: &[i32], out: &mut [i32]| evaluate(shape, steps, grid, sums, out);
    let grid = &narrowed(rows, steps, grid, &mut f)?;
    match tried(rows, shape, steps, grid)? {
        Ok(stairs) => {
            let negate = stairs.iter().map(|s| s.negate).collect();
            Ok(Found::Monotone(staircase(grid, rows, stairs), negate))
        }
        Err(turn) => bumps(rows, steps, grid, f, turn).map(Found::Bumps),
    }
}

/// The thresholds of every row for the levels of `grid` above its minimum. Parameters as for [`activation`].
///
/// # Errors
/// If the activation is not monotone, or the search takes too many operations.
pub fn stairs(rows: &[Lattice], shape: &[usize], steps: &[Step], grid: &Grid) -> Result<Vec<Stairs>> {
    tried(rows, shape, steps, grid)?.map_err(|found| {
        let (from, to) = found.again;
        let message = format!(
            "the activation of output {} rises and falls: it turns back between the sums {from} and {to}",
            found.row
        );
        inexact(message).placed(&steps[0].place)
    })
}

/// [`stairs`], or where an output turns back.
fn tried(
    rows: &[Lattice],
    shape: &[usize],
    steps: &[Step],
    grid: &Grid,
) -> Result<std::result::Result<Vec<Stairs>, NotMonotone>> {
    let f = |sums: &[i32], out: &mut [i32]| evaluate(shape, steps, grid, sums, out);
    let levels = above_minimum(grid);
    let most = points(rows);
    let searched = threshold::search_calls(rows, levels.len());
    let search = is_searched(rows, levels.len(), steps);
    let work = if search { searched } else { most }
        .saturating_mul(rows.len() as u64)
        .saturating_mul(steps.iter().map(cost).sum());
    if work > MAX_WORK {
        let message = format!(
            "finding the {} thresholds of {} outputs over {most} sums takes {work} steps; the limit is {MAX_WORK}",
            levels.len(),
            rows.len()
        );
        return Err(Diagnostic::new(&MODEL_TOO_LARGE, message)
            .help("use fewer bits for the weights, the inputs or the activation")
            .into());
    }
    if search { threshold::search(rows, &levels, f).map(Ok) } else { threshold::enumerate(rows, &levels, f) }
}

fn points(rows: &[Lattice]) -> u64 {
    rows.iter().map(|r| r.points).max().unwrap_or(1) as u64
}

/// Whether the thresholds are found by binary search, else by enumeration.
pub fn is_searched(rows: &[Lattice], levels: usize, steps: &[Step]) -> bool {
    steps.iter().all(Step::is_monotone) && threshold::search_calls(rows, levels) < points(rows)
}

/// The thresholds of an activation that rises and falls.
///
/// # Errors
/// If a row has more than [`MAX_STEPS`] steps, upwards or downwards.
fn bumps(
    rows: &[Lattice],
    steps: &[Step],
    grid: &Grid,
    f: impl FnMut(&[i32], &mut [i32]) -> Result<()>,
    turn: NotMonotone,
) -> Result<Bumps> {
    let most = MAX_STEPS;
    let many = |row: usize| {
        let (from, to) = turn.again;
        let message = format!(
            "the activation of output {row} rises and falls, and has more than {most} steps upwards or downwards (that of output {} turns between the sums {from} and {to})",
            turn.row
        );
        inexact(message).placed(&steps[0].place)
    };
    let changes = threshold::changes(rows, 2 * most, f)?.map_err(many)?;
    let grain = grid.grain();
    let lowest = changes.iter().flatten().map(|c| i64::from(c.1)).min().unwrap_or(grid.least);
    let highest = changes.iter().flatten().map(|c| i64::from(c.1)).max().unwrap_or(grid.most);
    let (mut up, mut down) = (Vec::new(), Vec::new());
    for (row, changes) in changes.iter().enumerate() {
        let (mut rises, mut falls) = (Vec::new(), Vec::new());
        let mut before = lowest;
        for &(sum, value) in changes {
            let by = (i64::from(value) - before) / grain;
            let list = if by > 0 { &mut rises } else { &mut falls };
            list.extend(std::iter::repeat_n(sum as i32, by.unsigned_abs() as usize));
            before = value.into();
        }
        if rises.len().max(falls.len()) > most {
            return Err(many(row));
        }
        up.push(rises);
        down.push(falls);
    }
    let steps = |mut lists: Vec<Vec<i32>>| {
        let count = lists.iter().map(Vec::len).max().unwrap_or(0).max(1);
        // Thresholds that no sum reaches.
        lists.iter_mut().zip(rows).for_each(|(list, row)| list.resize(count, row.high() as i32 + 1));
        let bits = usize::BITS - count.leading_zeros();
        Activation::rising(Element::Unsigned(bits), 0, lists)
    };
    let found = Grid { least: lowest, most: highest, ..*grid };
    let identity: Vec<i32> = (1..=((highest - lowest) / grain) as i32).collect();
    Ok(Bumps {
        up: steps(up),
        down: steps(down),
        difference: Activation::rising(found.element(), lowest as i32, vec![identity; rows.len()]),
    })
}

/// The levels of `grid` above its minimum, in ascending order.
pub fn above_minimum(grid: &Grid) -> Vec<i32> {
    match grid.bipolar {
        true => vec![1],
        false => (grid.least + 1..=grid.most).map(|v| v as i32).collect(),
    }
}

/// Whether an activation can have the levels of `grid`.
pub fn fits(grid: &Grid) -> bool {
    grid.element().bits() <= MAX_BITS && grid.most - grid.least < MAX_LEVELS
}

/// [`narrowed`], for the steps behind a layer. Parameters as for [`activation`].
pub fn narrow(rows: &[Lattice], shape: &[usize], steps: &[Step], grid: &Grid) -> Result<Grid> {
    narrowed(rows, steps, grid, &mut |sums, out| evaluate(shape, steps, grid, sums, out))
}

/// `grid` restricted to the levels that occur. An error if these are still too many for an activation.
fn narrowed(
    rows: &[Lattice],
    steps: &[Step],
    grid: &Grid,
    f: &mut impl FnMut(&[i32], &mut [i32]) -> Result<()>,
) -> Result<Grid> {
    if fits(grid) {
        return Ok(*grid);
    }
    let mut found = *grid;
    if steps.iter().all(Step::is_monotone) {
        let (mut low, mut high) = (vec![0; rows.len()], vec![0; rows.len()]);
        f(&rows.iter().map(|r| r.low as i32).collect::<Vec<_>>(), &mut low)?;
        f(&rows.iter().map(|r| r.high() as i32).collect::<Vec<_>>(), &mut high)?;
        let all = || low.iter().chain(&high).map(|v| i64::from(*v));
        (found.least, found.most) = (all().min().unwrap_or(0), all().max().unwrap_or(0));
        if fits(&found) {
            return Ok(found);
        }
    }
    let message =
        format!("the activation has {} bits ({} to {})", found.element().bits(), found.least, found.most);
    Err(Diagnostic::new(&ACTIVATION_UNSUPPORTED, message)
        .at(steps.last().map_or_else(String::new, |s| s.place.clone()))
        .help(format!(
            "between two layers up to {MAX_LEVELS} values are supported, 0 to 255 for example, as every row of a layer stores a \
             threshold for each: quantise to 8 bits or fewer (activation_type QUInt8 or QInt8 in ONNX Runtime)"
        ))
        .into())
}

/// For each row, whether the steps after `before` are a decreasing function of its values. A MaxPool after `before` is then the
/// minimum of the results of `all`. `all` are all steps, `before` included; both have the same inputs as the steps of
/// [`activation`].
///
/// # Errors
/// If a step of `before` is not known to be monotone.
pub fn falls(rows: &[Lattice], shape: &[usize], before: &[Step], all: &[Step]) -> Result<Vec<bool>> {
    if let Some(step) = before.iter().find(|s| !s.is_monotone()) {
        let message = format!("a maximum stands behind {}, which need not rise or fall", step.operator.name);
        return Err(Diagnostic::new(&OPERATOR_UNSUPPORTED, message)
            .at(step.place.clone())
            .help("quantise before the maximum")
            .into());
    }
    let ends = |steps: &[Step]| -> Result<Vec<Ordering>> {
        let of = |end: fn(&Lattice) -> i64| {
            let sums = rows.iter().map(|r| end(r) as f32).collect();
            steps
                .iter()
                .try_fold(Tensor { shape: shape.to_vec(), data: Data::Float(sums) }, |x, s| s.eval(&x))
        };
        let (low, high) = (of(|r| r.low)?, of(|r| r.high())?);
        let (low, high) = (numbers(&low), numbers(&high));
        Ok(low.iter().zip(&high).map(|(l, h)| l.total_cmp(h)).collect())
    };
    let opposite = |(a, b): (&Ordering, &Ordering)| *a == b.reverse() && *a != Ordering::Equal;
    Ok(ends(before)?.iter().zip(&ends(all)?).map(opposite).collect())
}

fn numbers(x: &Tensor) -> Vec<f64> {
    match &x.data {
        Data::Float(v) => v.iter().map(|v| f64::from(*v)).collect(),
        Data::Int(v) => v.iter().map(|v| *v as f64).collect(),
    }
}

/// The activation of a layer, from the thresholds of its rows.
pub fn staircase(grid: &Grid, rows: &[Lattice], stairs: Vec<Stairs>) -> Activation {
    let mut thresholds: Vec<Vec<i32>> = stairs.iter().map(|s| s.thresholds.clone()).collect();
    // Levels -1, 0 and +1 without any sum at 0 are bipolar: a Sign whose input is never 0.
    if grid.bipolar || (grid.least, grid.most) == (-1, 1) && thresholds.iter().all(|t| t[0] == t[1]) {
        thresholds.iter_mut().for_each(|t| t.truncate(1));
        return Activation::rising(Element::Bipolar, -1, thresholds);
    }
    let element = grid.element();
    let mut min = grid.least;
    if grid.least == grid.most {
        // An activation needs at min one threshold: a second level is added that no sum reaches, or that all sums reach.
        let below = grid.least > element.range().0;
        for ((t, row), s) in thresholds.iter_mut().zip(rows).zip(&stairs) {
            let (low, high) = if s.negate { (-row.high(), -row.low) } else { (row.low, row.high()) };
            t.push(if below { low } else { high + 1 } as i32);
        }
        min -= i64::from(below);
    }
    Activation::rising(element, min as i32, thresholds)
}

fn inexact(message: String) -> Diagnostics {
    Diagnostic::new(&THRESHOLD_INEXACT, message)
        .help("the function between two layers must rise or fall with the sum, and stay finite")
        .into()
}

/// Elementary operations per element. MultiThreshold compares its thresholds one at a time.
fn cost(step: &Step) -> u64 {
    match step.operator.name {
        "MultiThreshold" => {
            step.constants().get(1).copied().flatten().map_or(1, |t| t.shape.get(1).map_or(1, |&n| n as u64))
        }
        _ => match step.attributes.get(PROGRAM) {
            Some(Attribute::Program(program)) => 4 * program.len() as u64,
            _ => 4,
        },
    }
}

/// Rejects steps that move elements: output c must depend on sum c only.
pub fn keeps_order(shape: &[usize], steps: &[Step]) -> Result<()> {
    let elements: usize = shape.iter().product();
    let ramp = Data::Int((0..elements as i64).collect());
    let mut now = Tensor { shape: shape.to_vec(), data: ramp.clone() };
    let mut first = None;
    for step in steps {
        let before = now.shape.clone();
        match step.operator.role {
            Role::Layout | Role::Select => now = step.eval(&now)?,
            _ => now.shape.clone_from(&step.shape),
        }
        if now.data != ramp || step.shape.iter().product::<usize>() != elements {
            first = first.or(Some((step, before)));
        }
        if step.shape.iter().product::<usize>() != elements {
            break;
        }
    }
    // Steps that move elements may move them back.
    match first {
        Some((step, before)) if now.data != ramp || now.shape.iter().product::<usize>() != elements => {
            let message = format!(
                "it reorders or repeats the {elements} outputs of a layer (shape {before:?} to {:?})",
                step.shape
            );
            Err(Diagnostic::new(&OPERATOR_UNSUPPORTED, message)
                .at(step.place.clone())
                .help("between two layers the order of the elements must stay")
                .into())
        }
        _ => Ok(()),
    }
}

/// Evaluates `steps` at one sum per output and writes the resulting integers to `out`.
fn evaluate(shape: &[usize], steps: &[Step], grid: &Grid, sums: &[i32], out: &mut [i32]) -> Result<()> {
    let mut x = Tensor { shape: shape.to_vec(), data: Data::Float(sums.iter().map(|&d| d as f32).collect()) };
    for step in steps {
        x = step.eval(&x)?;
        // Tensors of integers between two quantisers are always finite.
        let Data::Float(values) = &x.data else { continue };
        if let Some((c, v)) = values.iter().enumerate().find(|(_, v)| !v.is_finite()) {
            return Err(inexact(format!("output {c} becomes {v} at the sum {}", sums[c])).placed(&step.place));
        }
    }
    for (c, (v, out)) in x.floats("the activation")?.iter().zip(out).enumerate() {
        let integer = grid.decode(*v).filter(|i| (grid.least..=grid.most).contains(i));
        let Some(integer) = integer.filter(|i| !grid.bipolar || *i != 0) else {
            let message = format!(
                "output {c} becomes {v} at the sum {}, none of the levels {} to {} times {}",
                sums[c], grid.least, grid.most, grid.scale
            );
            return Err(Diagnostic::new(&ACTIVATION_UNSUPPORTED, message)
                .at(steps.last().map_or_else(String::new, |s| s.place.clone()))
                .help("end the activation in a quantiser")
                .into());
        };
        *out = integer as i32;
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::graph::attributes::Attributes;
    use crate::graph::op;
    use crate::graph::step::Operand;
    use crate::import::layers::grid::grid;

    pub fn step(domain: &str, name: &str, constants: &[Tensor], shape: &[usize]) -> Step {
        let constants = constants.iter().map(|t| Operand::Constant(Arc::new(t.clone())));
        Step {
            operator: op::find(domain, name).unwrap(),
            node: name.into(),
            place: format!("node {name}"),
            attributes: Attributes::new(9),
            operands: std::iter::once(Operand::Running).chain(constants).collect(),
            output: 0,
            shape: shape.to_vec(),
            codes: None,
        }
    }

    pub fn bipolar(scale: f32) -> Step {
        step("onnx.brevitas", "BipolarQuant", &[Tensor::scalar(scale)], &[1, 4])
    }

    pub fn quant(scale: f32, zero: f32, bits: i32, signed: bool) -> Step {
        rounded(scale, zero, bits, signed, "ROUND")
    }

    fn rounded(scale: f32, zero: f32, bits: i32, signed: bool, mode: &str) -> Step {
        let mut quant =
            step("onnx.brevitas", "Quant", &[scale, zero, bits as f32].map(Tensor::scalar), &[1, 4]);
        quant.attributes = Attributes::new(1)
            .with("signed", Attribute::Int(signed.into()))
            .with("narrow", Attribute::Int(0))
            .with("rounding_mode", Attribute::String(mode.into()));
        quant
    }

    /// Checks every sum of 4 equal rows against the steps themselves.
    fn holds(row: Lattice, steps: &[Step]) -> Result<Activation> {
        let grid = grid(None, &[1, 4], steps)?.expect("a quantiser");
        let (found, negate) = activation(&[row; 4], &[1, 4], steps, &grid)?.monotone(steps)?;
        for point in 0..row.points {
            let sum = (row.low + point * row.step) as i32;
            let mut wanted = [0; 4];
            evaluate(&[1, 4], steps, &grid, &[sum; 4], &mut wanted)?;
            for c in 0..4 {
                let y = if negate[c] { -sum } else { sum };
                assert_eq!(found.value(c, y), wanted[c], "channel {c} at {sum}");
            }
        }
        Ok(found)
    }

    /// The sums of `fan_in` products of -1 and +1.
    fn bits(fan_in: i64) -> Lattice {
        Lattice { low: -fan_in, step: 2, points: fan_in + 1 }
    }

    fn normalise(gamma: [f32; 4], beta: [f32; 4], mean: [f32; 4], variance: [f32; 4]) -> Step {
        let parameters = [gamma, beta, mean, variance].map(|p| Tensor::vector(p.to_vec()));
        step("", "BatchNormalization", &parameters, &[1, 4])
    }

    #[test]
    fn batch_normalisation_becomes_thresholds_for_gammas_of_any_sign() {
        let bn = normalise(
            [1.5, -0.7, 0.0, 0.0],
            [0.3, 0.1, 1.0, -1.0],
            [3.0, -2.5, 7.0, 7.0],
            [4.0, 9.0, 1.0, 1.0],
        );
        for fan_in in [1, 2, 7, 64] {
            let found = holds(bits(fan_in), &[bn.clone(), bipolar(1.0)]).unwrap();
            assert_eq!(found.thresholds[2], [-fan_in as i32], "always");
            assert_eq!(found.thresholds[3], [fan_in as i32 + 1], "never");
            let few = holds(bits(fan_in), &[bn.clone(), quant(0.25, 0.0, 3, true)]).unwrap();
            assert_eq!((few.element, few.least, few.steps()), (Element::Signed(3), -4, 7));
        }
        let wide = Lattice { low: -1_000_000, step: 1, points: 2_000_001 };
        let relu = step("", "Relu", &[], &[1, 4]);
        holds(wide, &[normalise([0.001; 4], [0.5; 4], [7.0; 4], [2.0; 4]), relu, quant(0.5, 0.0, 8, false)])
            .unwrap();
    }

    #[test]
    fn ties_come_out_as_every_mode_says() {
        let row = Lattice { low: -40, step: 1, points: 81 };
        let half = step("", "Mul", &[Tensor::scalar(0.25)], &[1, 4]);
        for mode in ["ROUND", "CEIL", "FLOOR", "UP", "DOWN", "HALF_UP", "HALF_DOWN"] {
            holds(row, &[half.clone(), rounded(0.5, 0.0, 4, true, mode)]).unwrap();
            holds(row, &[half.clone(), rounded(0.5, 1.0, 3, false, mode)]).unwrap();
        }
        // 0.5 and 1.5, 2.5 and 3.5 round to 0 and 2, 2 and 4.
        let found = holds(row, &[half, rounded(0.5, 0.0, 4, true, "ROUND")]).unwrap();
        assert_eq!(found.thresholds[0][8..12], [2, 3, 6, 7]);
    }

    #[test]
    fn quantisers_in_a_row_are_one() {
        let row = Lattice { low: -100, step: 1, points: 201 };
        let relu = step("", "Relu", &[], &[1, 4]);
        let found = holds(row, &[quant(2.0, 0.0, 8, true), relu, quant(3.0, 0.0, 2, false)]).unwrap();
        assert_eq!(found.element, Element::Unsigned(2));
        let trunc = step("onnx.brevitas", "Trunc", &[2.0, 0.0, 8.0, 3.0].map(Tensor::scalar), &[1, 4]);
        let found = holds(row, &[quant(2.0, 0.0, 8, true), trunc]).unwrap();
        assert_eq!((found.element, found.least), (Element::Signed(3), -4));
    }

    #[test]
    fn more_bits_than_eight_are_taken_where_eight_occur() {
        let row = Lattice { low: -100, step: 1, points: 201 };
        let found = holds(row, &[quant(1.0, 0.0, 12, true)]).unwrap();
        assert_eq!(found.element, Element::Signed(8));
        let text =
            holds(Lattice { points: 2000, ..row }, &[quant(1.0, 0.0, 12, true)]).unwrap_err().to_string();
        assert!(text.contains("12 bits (-100 to 1899)"), "{text}");
    }

    #[test]
    fn sign_has_two_levels_or_three() {
        let sign = step("", "Sign", &[], &[1, 4]);
        assert_eq!(holds(bits(3), std::slice::from_ref(&sign)).unwrap().element, Element::Bipolar);
        assert_eq!(holds(bits(4), &[sign]).unwrap().element, Element::Signed(2));
    }

    #[test]
    fn one_level_is_a_layer_too() {
        let never = step("", "Sub", &[Tensor::scalar(1e6)], &[1, 4]);
        holds(bits(4), &[never, quant(1.0, 0.0, 2, false)]).unwrap();
        let none = step("onnx.brevitas", "MultiThreshold", &[Tensor::zeros(&[1, 0]).unwrap()], &[1, 4]);
        assert_eq!(holds(bits(4), &[none]).unwrap().thresholds[0], [5]);
    }

    /// Checks every sum of 4 rows against the steps, for an activation that rises and falls.
    fn bumps_hold(row: Lattice, steps: &[Step]) -> Bumps {
        let grid = grid(None, &[1, 4], steps).unwrap().expect("a quantiser");
        let found = match activation(&[row; 4], &[1, 4], steps, &grid).unwrap() {
            Found::Bumps(bumps) => bumps,
            Found::Monotone(..) => panic!("it rises and falls"),
        };
        for part in [&found.up, &found.down, &found.difference] {
            part.assert_fits(4);
        }
        for point in 0..row.points {
            let sum = (row.low + point * row.step) as i32;
            let mut wanted = [0; 4];
            evaluate(&[1, 4], steps, &grid, &[sum; 4], &mut wanted).unwrap();
            for (c, wanted) in wanted.into_iter().enumerate() {
                let difference = found.up.value(c, sum) - found.down.value(c, sum);
                assert_eq!(found.difference.value(c, difference), wanted, "channel {c} at {sum}");
            }
        }
        found
    }

    #[test]
    fn activations_that_rise_and_fall_are_differences_of_thresholds() {
        let of = |name: &str| step("", name, &[], &[1, 4]);
        let by = |v: [f32; 4]| step("", "Mul", &[Tensor::vector(v.to_vec())], &[1, 4]);
        let row = Lattice { low: -40, step: 1, points: 81 };
        for name in ["HardSwish", "Gelu", "Mish", "Abs"] {
            // Rows that bump, one that is constant, and one that bumps elsewhere.
            let steps = [by([0.1, -0.1, 0.0, 0.25]), of(name), quant(0.0625, 0.0, 5, true)];
            let found = bumps_hold(row, &steps);
            assert!(found.down.steps() > 0 && found.difference.least < 1, "{name}");
        }
        let square = step("", "Pow", &[Tensor::scalar(2.0)], &[1, 4]);
        let less = step("", "Sub", &[Tensor::scalar(5.0)], &[1, 4]);
        let found = bumps_hold(bits(8), &[square, less, bipolar(1.0)]);
        assert_eq!(
            (found.difference.element, found.up.steps(), found.down.steps()),
            (Element::Bipolar, 2, 1)
        );
        // A saw of 8 bits takes more steps than thresholds are built for.
        let saw = step("", "Mod", &[Tensor::scalar(40.0)], &[1, 4]);
        let saw = Step { attributes: Attributes::new(13).with("fmod", Attribute::Int(1)), ..saw };
        let steps = [saw, quant(1.0, 0.0, 8, true)];
        let grid = grid(None, &[1, 4], &steps).unwrap().unwrap();
        let wide = Lattice { low: 0, step: 1, points: 3000 };
        let text = activation(&[wide; 4], &[1, 4], &steps, &grid).unwrap_err().to_string();
        assert!(text.contains("[threshold-inexact]") && text.contains("more than 1023 steps"), "{text}");
    }

    #[test]
    fn infinities_are_inexact() {
        let huge = step("", "Mul", &[Tensor::scalar(f32::MAX)], &[1, 4]);
        let text = holds(bits(8), &[huge, bipolar(1.0)]).unwrap_err().to_string();
        assert!(text.contains("[threshold-inexact]") && text.contains("inf"), "{text}");
        let nan = normalise([1.0; 4], [f32::NAN; 4], [0.0; 4], [1.0; 4]);
        assert!(holds(bits(8), &[nan, bipolar(1.0)]).is_err());
    }

    #[test]
    fn elements_keep_their_places() {
        let fold = step("", "Reshape", &[Tensor::integers(vec![2, 2])], &[2, 2]);
        let mut turn = step("", "Transpose", &[], &[2, 2]);
        turn.attributes = Attributes::new(9).with("perm", Attribute::Ints(vec![1, 0]));
        assert!(keeps_order(&[1, 4], std::slice::from_ref(&fold)).is_ok());
        assert!(keeps_order(&[1, 4], &[fold, turn]).is_err());
    }
}

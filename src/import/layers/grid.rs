//! Pass: finds the levels of a layer's input, as one scale times integers of one type.
//!
//! The levels of the last quantiser are propagated through the steps after it, by the graph's own operators.

use std::collections::BTreeSet;

use crate::arith::activation::Activation;
use crate::arith::threshold::Lattice;
use crate::diagnostic::{ACTIVATION_UNSUPPORTED, Diagnostic, Diagnostics, MODEL_TOO_LARGE, Result};
use crate::frame::element::Element;
use crate::graph::operator::{Levels, Role, Spacing};
use crate::graph::step::Step;
use crate::graph::tensor;
use crate::graph::tensor::{Data, Tensor, broadcast_indices};
use crate::import::runs::levels::rounds;

/// Upper bound on evaluated elements when propagating the levels of one activation: 2^28.
const MAX_WORK: usize = 1 << 28;

/// Relative tolerance of a level from an integer times the scale: a few float32 rounding errors.
const SLACK: f64 = 1.0 / (1 << 20) as f64;

/// The levels of a tensor: `scale` times integers from `least` to `most`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Grid {
    /// The scale of all elements, positive and finite.
    pub scale: f32,
    /// The minimum integer.
    pub least: i64,
    /// The maximum integer.
    pub most: i64,
    /// Whether the integers are -1 and +1 only.
    pub bipolar: bool,
}

impl Grid {
    /// The narrowest element type that holds all integers.
    pub fn element(&self) -> Element {
        if self.bipolar {
            return Element::Bipolar;
        }
        match Element::signed(self.least, self.most) {
            Element::Signed(bits) if self.least >= 0 => Element::Unsigned((bits - 1).max(1)),
            signed => signed,
        }
    }

    /// The grid with room for a second level, where all values are one: an activation has a threshold at least.
    fn with_several_levels(mut self) -> Self {
        if self.bipolar {
            (self.least, self.most) = (-1, 1);
        } else if self.least == self.most {
            (self.least, self.most) = (self.least.min(0), self.most.max(i64::from(self.least == 0)));
        }
        self
    }

    /// The distance between neighbouring integers.
    pub fn grain(&self) -> i64 {
        if self.bipolar { 2 } else { 1 }
    }

    /// Extends the range to a further value.
    ///
    /// # Errors
    /// If the value is no multiple of the scale.
    pub fn include(&mut self, value: f32) -> Result<()> {
        let Some(integer) = self.decode(value) else {
            let message =
                format!("it pads with {value}, no multiple of the scale {} of the levels", self.scale);
            return Err(Diagnostic::new(&ACTIVATION_UNSUPPORTED, message)
                .help("pad before the quantiser, or with a level of it")
                .into());
        };
        self.bipolar &= integer.abs() == 1;
        (self.least, self.most) = (self.least.min(integer), self.most.max(integer));
        Ok(())
    }

    /// Restricts the range to the values of `activation`.
    pub fn narrow(&mut self, activation: &Activation) {
        self.least = activation.least.into();
        self.bipolar = activation.element == Element::Bipolar;
        self.most = self.least + self.grain() * activation.steps() as i64;
    }

    /// The integer of a value; `None` if the value is no level.
    pub fn decode(&self, value: f32) -> Option<i64> {
        let exact = f64::from(value) / f64::from(self.scale);
        let integer = exact.round();
        let near = (exact - integer).abs() <= SLACK * integer.abs().max(1.0);
        (near && integer.abs() < (1u64 << 32) as f64).then_some(integer as i64)
    }
}

/// The levels of the results of `steps`. The input of the first step is a tensor of shape `before`: integers of type `start`, or
/// real numbers (`None`).
///
/// Returns `None` if `steps` have no quantiser and `start` is `None`.
pub fn grid(start: Option<Element>, before: &[usize], steps: &[Step]) -> Result<Option<Grid>> {
    for (at, step) in steps.iter().enumerate().rev() {
        let Role::Quantiser(quantiser) = step.operator.role else { continue };
        if step.position() != Some(0) {
            return Err(unfit("its parameters depend on the graph's input".to_owned()).placed(&step.place));
        }
        let levels =
            (quantiser.levels)(&step.attributes, &step.constants()).map_err(|e| e.placed(&step.place))?;
        if let Some(levels) = levels {
            // Steps that select or repeat elements change no value.
            let chooses = |s: &&Step| matches!(s.operator.role, Role::Select) && s.operator.name != "Pad";
            let behind: Vec<Step> = steps[at + 1..].iter().filter(|s| !chooses(s)).cloned().collect();
            return follow(&levels, &step.shape, &behind).map(Some).map_err(|e| e.placed(&step.place));
        }
    }
    let Some(element) = start else { return Ok(None) };
    let (min, max) = element.range();
    let step = if element == Element::Bipolar { 2 } else { 1 };
    let levels = Levels {
        first: min,
        step,
        count: ((max - min) / step + 1) as usize,
        scale: Some(Tensor::scalar(1.0)),
        value: Box::new(|code| Ok(Tensor::scalar(code))),
    };
    follow(&levels, before, steps).map(Some)
}

/// The levels of the results of `steps` whose input is the sums of `rows`: those at every sum that can occur; `None` if that takes too
/// many operations.
pub fn of_rows(rows: &[Lattice], shape: &[usize], steps: &[Step]) -> Result<Option<Grid>> {
    let points = rows.iter().map(|r| r.points).max().unwrap_or(0);
    let work = (points as u64).saturating_mul(rows.len() as u64).saturating_mul(steps.len() as u64 + 1);
    if work > MAX_WORK as u64 {
        return Ok(None);
    }
    let mut values = BTreeSet::new();
    for point in 0..points {
        let sums = rows.iter().map(|r| (r.low + point.min(r.points - 1) * r.step) as f32).collect();
        let x = Tensor { shape: shape.to_vec(), data: Data::Float(sums) };
        collect(&steps.iter().try_fold(x, |x, step| step.eval(&x))?, &mut values)?;
    }
    of_values(&values).map(Some)
}

/// The levels of the results of `steps` whose input is the sums of `row`; `None` if no step is a quantiser.
pub fn of_sums(row: &Lattice, shape: &[usize], steps: &[Step]) -> Result<Option<Grid>> {
    if !steps.iter().any(rounds) {
        return Ok(None);
    }
    let levels = Levels {
        first: row.low,
        step: row.step,
        count: row.points as usize,
        scale: Some(Tensor::scalar(1.0)),
        value: Box::new(|code| Ok(Tensor::scalar(code))),
    };
    follow(&levels, shape, steps).map(Some)
}

/// The levels of the results of `steps` whose input is the levels `start`.
pub fn follow_grid(start: &Grid, shape: &[usize], steps: &[Step]) -> Result<Grid> {
    let scale = start.scale;
    let levels = Levels {
        first: start.least,
        step: start.grain(),
        count: ((start.most - start.least) / start.grain() + 1) as usize,
        scale: Some(Tensor::scalar(scale)),
        value: Box::new(move |code| Ok(Tensor::scalar(code * scale))),
    };
    follow(&levels, shape, steps)
}

/// Propagates `levels` of a tensor of `shape` through `steps`.
fn follow(levels: &Levels, shape: &[usize], steps: &[Step]) -> Result<Grid> {
    // If all steps are layouts, no value changes.
    let steps = if steps.iter().all(|s| matches!(s.operator.role, Role::Layout)) { &[] } else { steps };
    let spread = |t: Tensor, shape: &[usize]| -> Result<Tensor> {
        if steps.is_empty() || t.shape == shape {
            return Ok(t);
        }
        if tensor::broadcast(&t.shape, shape)? != shape {
            return Err(unfit(format!("scales of shape {:?} for a tensor of shape {shape:?}", t.shape)));
        }
        let data = t.data.pick(broadcast_indices(&t.shape, shape));
        Ok(Tensor { shape: shape.to_vec(), data })
    };
    let apply = |t: Tensor| steps.iter().try_fold(spread(t, shape)?, |t, step| step.eval(&t));
    let elements =
        if steps.is_empty() { levels.scale.as_ref().map_or(1, Tensor::len) } else { shape.iter().product() };
    let work = levels.count.saturating_mul(elements).saturating_mul(steps.len() + 1);
    if work > MAX_WORK {
        let message = format!("{} levels of {elements} elements are more than can be followed", levels.count);
        return Err(Diagnostic::new(&MODEL_TOO_LARGE, message)
            .help("put the quantiser directly before the layer")
            .into());
    }
    let scale =
        levels.scale.clone().map(|scale| spacing(spread(scale, shape)?, steps)).transpose()?.flatten();
    let Some(spacing) = scale else {
        let mut values = BTreeSet::new();
        for code in levels.codes() {
            collect(&apply((levels.value)(code as f32)?)?, &mut values)?;
        }
        return of_values(&values);
    };
    let smallest = spacing
        .floats("the scale")?
        .iter()
        .map(|s| s.abs())
        .filter(|s| *s > 0.0)
        .fold(f32::INFINITY, f32::min);
    let nan = spacing.floats("the scale")?.iter().find(|s| !s.is_finite());
    if let Some(bad) = nan.copied().or((!smallest.is_normal()).then_some(0.0)) {
        return Err(unfit(format!("the activation has the scale {bad}")));
    }
    let mut reason = String::new();
    // Levels such as those of 2 x - 1 are multiples of half their distance.
    for scale in [smallest, smallest / 2.0] {
        let mut grid = Grid { scale, least: i64::MAX, most: i64::MIN, bipolar: true };
        let mut missed = None;
        for code in levels.codes() {
            let values = apply((levels.value)(code as f32)?)?;
            for value in values.floats("a level")? {
                let Some(integer) = grid.decode(*value) else {
                    missed = Some(*value);
                    break;
                };
                grid.bipolar &= integer.abs() == 1;
                grid.least = grid.least.min(integer);
                grid.most = grid.most.max(integer);
            }
            if missed.is_some() {
                break;
            }
        }
        match missed {
            None if grid.least <= grid.most => return Ok(grid.with_several_levels()),
            None => reason = "the activation is empty".to_owned(),
            Some(value) => {
                reason = format!(
                    "a level of the activation is {value}, no multiple of its scale {smallest}; the scale is the smallest distance of two levels of one element, and all elements must share it"
                );
            }
        }
    }
    Err(unfit(reason))
}

/// Maximum number of different values that are listed to find their scale.
const MAX_VALUES: usize = 1 << 16;

/// Adds the values of `tensor`, as bits.
fn collect(tensor: &Tensor, values: &mut BTreeSet<u32>) -> Result<()> {
    // -0 and +0 are one level.
    values.extend(tensor.floats("a level")?.iter().map(|v| (v + 0.0).to_bits()));
    if values.len() > MAX_VALUES {
        return Err(unfit(format!("the activation has more than {MAX_VALUES} values")));
    }
    Ok(())
}

/// The levels that are these values, given as bits: the largest scale of which all are multiples.
fn of_values(values: &BTreeSet<u32>) -> Result<Grid> {
    let mut values: Vec<f32> = values.iter().map(|bits| f32::from_bits(*bits)).collect();
    values.sort_by(f32::total_cmp);
    if let Some(bad) = values.iter().find(|v| !v.is_finite()) {
        return Err(unfit(format!("a level of the activation is {bad}")));
    }
    let largest = values.iter().fold(0f64, |m, v| m.max(f64::from(v.abs())));
    if values.is_empty() || largest == 0.0 {
        return Ok(Grid { scale: 1.0, least: 0, most: 0, bipolar: false });
    }
    let gaps = values.windows(2).map(|w| f64::from(w[1]) - f64::from(w[0]));
    let sizes = values.iter().map(|v| f64::from(v.abs()));
    let smallest = gaps.chain(sizes).filter(|d| *d > largest * SLACK).fold(f64::INFINITY, f64::min);
    for parts in 1..=MAX_PARTS {
        // The largest value tells the scale best.
        let scale = largest / (largest * f64::from(parts) / smallest).round();
        let code = |v: &f32| (f64::from(*v) / scale).round();
        let near = |v: &f32| (f64::from(*v) / scale - code(v)).abs() <= SLACK * code(v).abs().max(1.0);
        if !values.iter().all(near) {
            continue;
        }
        // The float32 of which most values are multiples, exactly.
        let hits = |s: &f32| values.iter().filter(|v| (code(v) as f32) * s == **v).count();
        let scales = values.iter().filter(|v| code(v) != 0.0).take(64).map(|v| v / code(v) as f32);
        let Some(scale) = scales.max_by_key(hits) else { continue };
        let grid = Grid { scale, least: code(&values[0]) as i64, most: 0, bipolar: false };
        let codes: Option<Vec<i64>> = values.iter().map(|v| grid.decode(*v)).collect();
        let Some(codes) = codes.filter(|_| scale.is_normal() && scale > 0.0) else { continue };
        let (least, most) = (codes[0], codes[codes.len() - 1]);
        return Ok(Grid { scale, least, most, bipolar: codes.iter().all(|c| c.abs() == 1) });
    }
    let some: Vec<String> = values.iter().take(4).map(f32::to_string).collect();
    Err(unfit(format!(
        "the {} levels of the activation ({}{}) are no multiples of one scale",
        values.len(),
        some.join(", "),
        if values.len() > 4 { " .." } else { "" }
    )))
}

/// Upper bound on the multiples of the scale that lie between two neighbouring levels.
const MAX_PARTS: u32 = 64;

/// The distance between levels after `steps`, from the distance `scale` before them; `None` if the levels are not equally spaced.
fn spacing(mut scale: Tensor, steps: &[Step]) -> Result<Option<Tensor>> {
    for step in steps {
        match step.operator.role {
            Role::Elementwise { spacing: Spacing::Kept, .. } => {}
            Role::Layout => scale = step.eval(&scale)?,
            Role::Elementwise { spacing: Spacing::Scaled, .. } => {
                let zero = Tensor { shape: scale.shape.clone(), data: Data::Float(vec![0.0; scale.len()]) };
                let (to, from) = (step.eval(&scale)?, step.eval(&zero)?);
                let pairs = to.floats("a scale")?.iter().zip(from.floats("a scale")?);
                scale = Tensor {
                    shape: to.shape.clone(),
                    data: Data::Float(pairs.map(|(t, f)| t - f).collect()),
                };
            }
            // A quantiser without levels of its own rounds to multiples of its scale operand.
            Role::Quantiser(_) => match step.constants().get(1).copied().flatten() {
                Some(own) if tensor::broadcast(&own.shape, &step.shape)? == step.shape => {
                    let data = own.data.pick(broadcast_indices(&own.shape, &step.shape));
                    scale = Tensor { shape: step.shape.clone(), data };
                }
                _ => return Ok(None),
            },
            _ => return Ok(None),
        }
    }
    Ok(Some(scale))
}

fn unfit(fact: String) -> Diagnostics {
    Diagnostic::new(&ACTIVATION_UNSUPPORTED, fact)
        .help("what feeds a layer must be integers times one scale for all elements; move per-channel factors and offsets before the quantiser")
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::layers::activation::tests::{bipolar, quant, step};

    fn found(steps: &[Step]) -> Result<Grid> {
        grid(None, &[1, 4], steps).map(|g| g.expect("a quantiser"))
    }

    #[test]
    fn quantisers_tell_their_integers() {
        let g = found(&[quant(0.25, 0.0, 3, true)]).unwrap();
        assert_eq!((g.scale, g.element()), (0.25, Element::Signed(3)));
        assert_eq!(found(&[quant(0.5, 0.0, 2, false)]).unwrap().element(), Element::Unsigned(2));
        let shifted = found(&[quant(0.5, 2.0, 2, false)]).unwrap();
        assert_eq!((shifted.least, shifted.most), (-2, 1));
        assert_eq!(found(&[bipolar(0.5)]).unwrap().element(), Element::Bipolar);
        assert_eq!(found(&[bipolar(-0.5)]).unwrap().scale, 0.5);
        assert!(found(&[bipolar(f32::NAN)]).is_err() && found(&[bipolar(0.0)]).is_err());
        assert!(grid(None, &[1, 4], &[]).unwrap().is_none());
    }

    #[test]
    fn what_follows_scales_and_shifts_the_levels() {
        let of = |name: &str, value: f32| step("", name, &[Tensor::scalar(value)], &[1, 4]);
        let unsigned = || quant(1.0, 0.0, 1, false);
        // 2 x - 1 of 0 and 1.
        let g = found(&[unsigned(), of("Mul", 2.0), of("Sub", 1.0)]).unwrap();
        assert_eq!((g.scale, g.element()), (1.0, Element::Bipolar));
        let g = found(&[quant(0.5, 0.0, 3, true), of("Mul", -2.0), of("Add", 3.0)]).unwrap();
        assert_eq!((g.scale, g.least, g.most), (1.0, 0, 7));
        let relu = found(&[quant(0.5, 0.0, 3, true), step("", "Relu", &[], &[1, 4])]).unwrap();
        assert_eq!(relu.element(), Element::Unsigned(2));
        assert!(found(&[quant(0.5, 0.0, 3, true), of("Add", 0.2)]).is_err());
        assert!(found(&[quant(0.5, 0.0, 3, true), of("Mul", 0.0)]).is_err());
        // Squares aren't equally spaced, but multiples of one scale.
        let g = found(&[quant(0.5, 0.0, 3, true), of("Pow", 2.0)]).unwrap();
        assert_eq!((g.scale, g.least, g.most), (0.25, 0, 16));
        assert!(found(&[quant(0.5, 0.0, 3, true), of("Pow", 0.5)]).is_err());
        // Levels of thirds, in float32: the scale is that of which most are multiples.
        let g = found(&[quant(1.0, 0.0, 4, false), of("Div", 15.0), step("", "Abs", &[], &[1, 4])]).unwrap();
        assert_eq!((g.scale, g.least, g.most), (1.0 / 15.0, 0, 15));
    }

    #[test]
    fn scales_of_their_own_are_multiples_of_the_smallest_or_refused() {
        let by = |v: [f32; 4]| step("", "Mul", &[Tensor::vector(v.to_vec())], &[1, 4]);
        let g = found(&[quant(1.0, 0.0, 2, false), by([1.0, 2.0, 4.0, 0.0])]).unwrap();
        assert_eq!((g.scale, g.most), (1.0, 12));
        let odd = found(&[quant(1.0, 0.0, 2, false), by([1.0, 1.3, 1.0, 1.0])]).unwrap_err();
        assert!(odd.to_string().contains("no multiple of its scale 1"), "{odd}");
    }

    #[test]
    fn annotated_integers_may_be_followed_too() {
        let steps = [
            step("", "Mul", &[Tensor::scalar(2.0)], &[1, 4]),
            step("", "Sub", &[Tensor::scalar(1.0)], &[1, 4]),
        ];
        let g = grid(Some(Element::Unsigned(1)), &[1, 4], &steps).unwrap().unwrap();
        assert_eq!(g.element(), Element::Bipolar);
        assert_eq!(grid(Some(Element::Unsigned(8)), &[1, 4], &[]).unwrap().unwrap().most, 255);
    }
}

//! Pass: everything between two matrix products becomes one integer threshold for each output.
//!
//! The graph's own operators are evaluated at dot products, all outputs at once, so that the thresholds are exact for
//! every value that can occur: by binary search where every step is known to be monotone, by enumeration elsewhere.

use super::op::{Levels, Role};
use crate::arith::threshold::{self, Threshold};
use crate::diagnostic::{
    ACTIVATION_UNSUPPORTED, Diagnostic, Diagnostics, MODEL_TOO_LARGE, OPERATOR_UNSUPPORTED, Result,
    THRESHOLD_INEXACT,
};
use crate::host::Step;
use crate::tensor::{Data, Tensor};

/// Most operator applications, times elements, that enumerating one layer may take: 2^30.
const MAX_WORK: usize = 1 << 30;

/// The levels of what `steps` give: -s and +s. `steps` hold a quantiser.
pub fn scale(steps: &[Step]) -> Result<f32> {
    let Some((at, quantiser)) = steps.iter().enumerate().rev().find_map(|(i, s)| match s.operator.role {
        Role::Quantiser(q) => Some((i, q)),
        _ => None,
    }) else {
        return Err(Diagnostic::new(&ACTIVATION_UNSUPPORTED, "there is no quantiser")
            .help("quantise to two levels (BipolarQuant, or MultiThreshold with one threshold)")
            .into());
    };
    let step = &steps[at];
    if step.position() != Some(0) {
        return Err(Diagnostic::new(&OPERATOR_UNSUPPORTED, "the parameters depend on the graph's input")
            .at(step.place.clone())
            .help("give the quantiser constant parameters: learned scales, not those of the data at hand")
            .into());
    }
    let Levels::Bipolar { scale } =
        (quantiser.levels)(&step.attributes, &step.constants()).map_err(|e| e.placed(&step.place))?;
    // What follows the quantiser may scale its levels.
    let mut levels = [-scale, scale].map(|v| Tensor {
        shape: step.shape.clone(),
        data: Data::Float(vec![v; step.shape.iter().product()]),
    });
    for step in &steps[at + 1..] {
        for level in &mut levels {
            *level = step.eval(level)?;
        }
    }
    let [low, high] = &levels;
    let (low, high) = (low.floats("the activation")?, high.floats("the activation")?);
    let s = high.first().map_or(0.0, |v| v.abs());
    let fits = |(l, h): (&f32, &f32)| *l == -*h && h.abs() == s;
    if !(s > 0.0 && s.is_finite() && low.iter().zip(high).all(fits)) {
        let odd = low.iter().zip(high).find(|&(l, h)| !fits((l, h))).or(low.first().zip(high.first()));
        let message = match odd {
            Some((l, h)) => format!("the activation has levels {l} and {h}"),
            None => "the activation is empty".to_owned(),
        };
        return Err(Diagnostic::new(&ACTIVATION_UNSUPPORTED, message)
            .at(steps.last().unwrap_or(step).place.clone())
            .help("two levels -s and +s are supported, with one finite s for all elements")
            .into());
    }
    Ok(s)
}

/// The thresholds of a layer with `fan_in` inputs, whose dot products enter `steps` as a tensor of shape `shape`.
///
/// `steps` ends in values of -`level` and +`level`, see [`scale`].
pub fn thresholds(fan_in: usize, shape: &[usize], steps: &[Step], level: f32) -> Result<Vec<Threshold>> {
    let channels: usize = shape.iter().product();
    keeps_order(shape, steps)?;
    let fan_in = i32::try_from(fan_in).map_err(|_| inexact(format!("{fan_in} inputs")))?;
    let mut active = |dots: &[i32], out: &mut [bool]| evaluate(shape, steps, level, dots, out);
    if steps.iter().all(monotone) {
        return threshold::search(fan_in, channels, active);
    }
    let work = (fan_in as usize + 1).saturating_mul(channels).saturating_mul(steps.len());
    if work > MAX_WORK {
        let message = format!(
            "finding the thresholds of {channels} outputs over {fan_in} inputs needs {work} steps; the limit is {MAX_WORK}"
        );
        return Err(Diagnostic::new(&MODEL_TOO_LARGE, message)
            .help("use BipolarQuant or MultiThreshold")
            .into());
    }
    threshold::enumerate(fan_in, channels, &mut active)?.map_err(|found| {
        let (from, to) = found.again;
        let message = format!(
            "the activation of output {} rises and falls: it changes a second time between the dot products {from} and {to}",
            found.channel
        );
        inexact(message).placed(&steps[0].place)
    })
}

fn inexact(message: String) -> Diagnostics {
    Diagnostic::new(&THRESHOLD_INEXACT, message)
        .help("the function between two layers must rise or fall with the dot product, and stay finite")
        .into()
}

/// Whether the step, as a function of the running tensor, rises or falls as long as everything is finite.
fn monotone(step: &Step) -> bool {
    match (step.operator.role, step.position()) {
        (Role::Elementwise { monotone }, Some(position)) => monotone.contains(&position),
        (Role::Quantiser(q), Some(0)) => q.monotone,
        (Role::Layout, Some(0)) => true,
        _ => false,
    }
}

/// Refuses steps that move elements: output c must depend on dot product c alone.
fn keeps_order(shape: &[usize], steps: &[Step]) -> Result<()> {
    let elements: usize = shape.iter().product();
    let ramp = || Data::Int((0..elements as i64).collect());
    let mut before = shape;
    for step in steps {
        let moved = match step.operator.role {
            Role::Layout => step.eval(&Tensor { shape: before.to_vec(), data: ramp() })?.data != ramp(),
            _ => step.shape.iter().product::<usize>() != elements,
        };
        if moved {
            let message = format!(
                "it reorders or repeats the {elements} outputs of a layer (shape {before:?} to {:?})",
                step.shape
            );
            return Err(Diagnostic::new(&OPERATOR_UNSUPPORTED, message)
                .at(step.place.clone())
                .help("between two layers the order of the elements must stay")
                .into());
        }
        before = &step.shape;
    }
    Ok(())
}

/// Sets, for each output, whether `steps` make +`level` of its dot product.
fn evaluate(shape: &[usize], steps: &[Step], level: f32, dots: &[i32], out: &mut [bool]) -> Result<()> {
    let mut x = Tensor { shape: shape.to_vec(), data: Data::Float(dots.iter().map(|&d| d as f32).collect()) };
    for step in steps {
        x = step.eval(&x)?;
        if let Some((c, v)) = x.floats("the activation")?.iter().enumerate().find(|(_, v)| !v.is_finite()) {
            return Err(
                inexact(format!("output {c} becomes {v} at the dot product {}", dots[c])).placed(&step.place)
            );
        }
    }
    for (c, (v, out)) in x.floats("the activation")?.iter().zip(out).enumerate() {
        if v.abs() != level {
            let message = format!(
                "output {c} becomes {v} at the dot product {}, neither {} nor {level}",
                dots[c], -level
            );
            return Err(Diagnostic::new(&ACTIVATION_UNSUPPORTED, message)
                .at(steps.last().map_or_else(String::new, |s| s.place.clone()))
                .help("two levels are supported; use BipolarQuant, which makes +1 of 0")
                .into());
        }
        *out = *v > 0.0;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::attributes::{Attribute, Attributes};
    use super::super::op;
    use super::*;
    use crate::host::Operand;

    fn step(domain: &str, name: &str, constants: &[Tensor], shape: &[usize]) -> Step {
        let constants = constants.iter().map(|t| Operand::Constant(Arc::new(t.clone())));
        Step {
            operator: op::find(domain, name).unwrap(),
            node: name.into(),
            place: format!("node {name}"),
            attributes: Attributes::new(9),
            operands: std::iter::once(Operand::Running).chain(constants).collect(),
            output: 0,
            shape: shape.to_vec(),
        }
    }

    fn bipolar(scale: f32) -> Step {
        step("onnx.brevitas", "BipolarQuant", &[Tensor::scalar(scale)], &[1, 4])
    }

    /// Checks every reachable dot product against the steps themselves.
    fn holds(fan_in: usize, steps: &[Step]) -> Result<Vec<Threshold>> {
        let level = scale(steps)?;
        let found = thresholds(fan_in, &[1, 4], steps, level)?;
        for dot in (-(fan_in as i32)..=fan_in as i32).step_by(2) {
            let mut wanted = [false; 4];
            evaluate(&[1, 4], steps, level, &[dot; 4], &mut wanted)?;
            for (c, t) in found.iter().enumerate() {
                assert_eq!(t.active(dot), wanted[c], "channel {c} at {dot}");
            }
        }
        Ok(found)
    }

    fn normalise(gamma: [f32; 4], beta: [f32; 4], mean: [f32; 4], variance: [f32; 4]) -> Step {
        let parameters = [gamma, beta, mean, variance].map(|p| Tensor::vector(p.to_vec()));
        step("", "BatchNormalization", &parameters, &[1, 4])
    }

    #[test]
    fn batch_normalisation_becomes_a_threshold_for_gammas_of_any_sign() {
        let bn = normalise(
            [1.5, -0.7, 0.0, 0.0],
            [0.3, 0.1, 1.0, -1.0],
            [3.0, -2.5, 7.0, 7.0],
            [4.0, 9.0, 1.0, 1.0],
        );
        for fan_in in [1, 2, 7, 64] {
            let found = holds(fan_in, &[bn.clone(), bipolar(1.0)]).unwrap();
            assert_eq!(found[2], Threshold { least: -(fan_in as i32), negate: false }, "always");
            assert_eq!(found[3], Threshold { least: fan_in as i32 + 1, negate: false }, "never");
        }
    }

    #[test]
    fn the_edge_itself_is_active() {
        let minus_two = step("", "Add", &[Tensor::vector(vec![-2.0, 2.0, 0.0, 1e-20])], &[1, 4]);
        let found = holds(8, &[minus_two, bipolar(-0.5)]).unwrap();
        assert!(found[0].negate && found[0].active(0) && !found[0].active(2));
    }

    #[test]
    fn sign_is_bipolar_only_where_zero_cannot_occur() {
        let sign = step("", "Sign", &[], &[1, 4]);
        holds(3, std::slice::from_ref(&sign)).unwrap();
        let text = holds(4, &[sign]).unwrap_err().to_string();
        assert!(text.contains("[activation-unsupported]") && text.contains("dot product 0"), "{text}");
    }

    #[test]
    fn bumps_and_infinities_are_inexact() {
        let square = step("", "Pow", &[Tensor::scalar(2.0)], &[1, 4]);
        let less = step("", "Sub", &[Tensor::scalar(5.0)], &[1, 4]);
        let text = holds(8, &[square, less, bipolar(1.0)]).unwrap_err().to_string();
        assert!(text.contains("[threshold-inexact]") && text.contains("second time"), "{text}");
        let huge = step("", "Mul", &[Tensor::scalar(f32::MAX)], &[1, 4]);
        let text = holds(8, &[huge, bipolar(1.0)]).unwrap_err().to_string();
        assert!(text.contains("[threshold-inexact]") && text.contains("inf"), "{text}");
        let nan = normalise([1.0; 4], [f32::NAN; 4], [0.0; 4], [1.0; 4]);
        assert!(holds(8, &[nan, bipolar(1.0)]).is_err());
    }

    #[test]
    fn what_follows_the_quantiser_scales_its_levels() {
        let double = step("", "Mul", &[Tensor::scalar(-2.0)], &[1, 4]);
        assert_eq!(scale(&[bipolar(0.5), double.clone()]).unwrap(), 1.0);
        assert!(holds(5, &[bipolar(0.5), double]).unwrap()[0].negate);
        let shift = step("", "Add", &[Tensor::scalar(1.0)], &[1, 4]);
        assert!(scale(&[bipolar(1.0), shift]).unwrap_err().to_string().contains("levels 0 and 2"));
        assert!(scale(&[bipolar(f32::NAN)]).is_err() && scale(&[bipolar(0.0)]).is_err());
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

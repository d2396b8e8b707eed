//! Pass: moves selections and padding to where a layer can take them.
//!
//! Selections that change nothing are dropped and padding in a row becomes one. Channels are selected before elementwise steps, pools and
//! products, so that the product computes only those that are needed. Padding goes behind elementwise steps, so that it is next to
//! the window that it is for. Every move is checked on the operators themselves: the results are the same float32 numbers.

use std::sync::Arc;

use crate::diagnostic::Result;
use crate::graph::attributes::{Attribute, Attributes};
use crate::graph::op::index::along;
use crate::graph::operator::Role;
use crate::graph::step::{Operand, Step};
use crate::graph::tensor::{Data, Tensor};
use crate::import::runs::chain::Chain;
use crate::import::runs::picks::Picks;
use crate::import::runs::steps::made;

/// The channel axis of images [N, C, ..] and vectors [N, C].
const CHANNELS: usize = 1;

/// Arranges the steps of a chain.
pub fn arrange(mut chain: Chain) -> Chain {
    if !chain.steps.iter().any(selects) {
        return chain;
    }
    drop_identities(&mut chain);
    let mut at = 0;
    while at < chain.steps.len() {
        if chain.steps[at].operator.name != "Pad" && selects(&chain.steps[at]) {
            rise(&mut chain, at);
        }
        at += 1;
    }
    for at in (0..chain.steps.len()).rev() {
        sink(&mut chain, at);
    }
    drop_identities(&mut chain);
    chain
}

fn selects(step: &Step) -> bool {
    ["Pad", "Slice", "Split", "Gather", "Expand"].contains(&step.operator.name)
}

fn drop_identities(chain: &mut Chain) {
    let is_identity = |at: &usize| {
        let (step, before) = (&chain.steps[*at], chain.shape_before(*at));
        selects(step)
            && step.shape == before
            && Picks::of(step, before).is_some_and(|picks| picks.is_identity(before))
    };
    let dropped: Vec<usize> = (0..chain.steps.len()).filter(is_identity).collect();
    dropped.into_iter().rev().for_each(|at| drop(chain.steps.remove(at)));
}

/// Moves the selection of channels at `at` towards the beginning of the chain, as far as it goes.
fn rise(chain: &mut Chain, mut at: usize) {
    while at > 0 {
        let before = chain.shape_before(at - 1).to_vec();
        let middle = chain.shape_before(at).to_vec();
        let (first, second) = (&chain.steps[at - 1], &chain.steps[at]);
        let Some(picks) = Picks::of(second, &middle).and_then(|p| p.only(CHANNELS, &middle)) else { return };
        match first.operator.role {
            Role::Product => {
                let Some(product) = fewer(first, &picks) else { return };
                let product = Step { shape: second.shape.clone(), ..product };
                if first.attributes.int("group", 1).is_ok_and(|groups| groups == 1) {
                    chain.steps.splice(at - 1..=at, [product]);
                    return;
                }
                // A depthwise product takes only the channels that it gives.
                let mut shape = before;
                shape[CHANNELS] = picks.len();
                let select = Step { shape, ..second.clone() };
                chain.steps.splice(at - 1..=at, [select, product]);
            }
            Role::Elementwise { .. } | Role::Quantiser(_) | Role::Pool | Role::Select => {
                let Some([select, step]) = exchanged(first, second, &before, &picks) else { return };
                chain.steps.splice(at - 1..=at, [select, step]);
            }
            _ => return,
        }
        at -= 1;
    }
}

/// A product with only the outputs `picks`; `None` if its weights are no constant of [outputs, ..] or [inputs, outputs], or are in groups
/// of several channels.
fn fewer(step: &Step, picks: &[usize]) -> Option<Step> {
    let Operand::Constant(weights) = step.operands.get(1)? else { return None };
    let axis = match step.operator.name {
        "Conv" => 0,
        "MatMul" if step.shape.len() == 2 && weights.rank() == 2 => 1,
        _ => return None,
    };
    let groups = step.attributes.int("group", 1).ok()?;
    let depthwise = weights.shape.get(1) == Some(&1) && usize::try_from(groups) == Ok(weights.shape[0]);
    if step.operands.len() > 2 || groups != 1 && !depthwise {
        return None;
    }
    let some = |t: &Tensor| Ok(picked(t, axis, picks));
    let mut product = step.clone();
    product.operands[1] = Operand::Constant(Arc::new(picked(weights, axis, picks)));
    product.codes = step.codes.as_deref().map(|codes| codes.moved(some)).transpose().ok()?.map(Arc::new);
    if groups != 1 {
        product.attributes = product.attributes.with("group", Attribute::Int(picks.len() as i64));
    }
    Some(product)
}

fn picked(t: &Tensor, axis: usize, picks: &[usize]) -> Tensor {
    let mut shape = t.shape.clone();
    shape[axis] = picks.len();
    Tensor { shape, data: along(t, axis, picks) }
}

/// `first` and the selection `second` of the channels `picks` in the other order; `None` if that is not the same.
fn exchanged(first: &Step, second: &Step, before: &[usize], picks: &[usize]) -> Option<[Step; 2]> {
    let channels = *before.get(CHANNELS)?;
    // Numbers of a list along another axis than the channels.
    let lists = ["QuantizeLinear", "DequantizeLinear"].contains(&first.operator.name)
        && first.attributes.int("axis", 1) != Ok(CHANNELS as i64);
    if lists
        || first.position() != Some(0) && !matches!(first.operator.role, Role::Elementwise { .. })
        || first.shape.get(CHANNELS) != Some(&channels)
    {
        return None;
    }
    let rank = first.shape.len();
    let operand = |operand: &Operand| {
        let Operand::Constant(t) = operand else { return operand.clone() };
        // Numbers for each channel: a list, rows of thresholds, or broadcast from the right.
        let axis = match first.operator.name {
            "BatchNormalization" | "QuantizeLinear" | "DequantizeLinear" | "MultiThreshold" => Some(0),
            _ => (CHANNELS + t.rank()).checked_sub(rank),
        };
        match axis.filter(|axis| channels > 1 && t.shape.get(*axis) == Some(&channels)) {
            Some(axis) => Operand::Constant(Arc::new(picked(t, axis, picks))),
            None => operand.clone(),
        }
    };
    let mut step = first.clone();
    step.operands = first.operands.iter().map(operand).collect();
    step.shape.clone_from(&second.shape);
    let mut select = second.clone();
    select.shape = before.to_vec();
    select.shape[CHANNELS] = picks.len();
    // A few numbers for each element tell whether the order matters.
    let elements: usize = before.iter().product();
    let same = |factor: f32| {
        let values = (0..elements).map(|i| ((i * 37 % 101) as f32 - 50.0) * factor).collect();
        let x = Tensor { shape: before.to_vec(), data: Data::Float(values) };
        let wanted = second.eval(&first.eval(&x).ok()?).ok()?;
        (step.eval(&select.eval(&x).ok()?).ok()? == wanted).then_some(())
    };
    [1.0, 0.0625, 3.7, 0.001].into_iter().try_for_each(same)?;
    Some([select, step])
}

/// Moves the padding at `at` behind elementwise steps, as far as its value stays one number, and joins it with the padding after it.
fn sink(chain: &mut Chain, mut at: usize) {
    while at + 1 < chain.steps.len() && chain.steps[at].operator.name == "Pad" {
        let before = chain.shape_before(at).to_vec();
        let Some((pads, value)) = spatial(&chain.steps[at], &before) else { return };
        let next = &chain.steps[at + 1];
        let made = match next.operator.role {
            Role::Select if next.operator.name == "Pad" => {
                let padded = chain.steps[at].shape.clone();
                let Some((more, other)) = spatial(next, &padded) else { return };
                let alike = |least: i64| pads.iter().chain(&more).flatten().all(|p| p.signum() * least >= 0);
                if !alike(-1) && (other != value || !alike(1)) {
                    return;
                }
                let both: Vec<[i64; 2]> =
                    pads.iter().zip(&more).map(|(a, b)| [a[0] + b[0], a[1] + b[1]]).collect();
                padding(next, &both, value, &next.shape).map(|pad| vec![pad])
            }
            Role::Elementwise { .. } | Role::Quantiser(_) => {
                let Some(value) = through(next, &before, value) else { return };
                let step = Step { shape: before.clone(), ..next.clone() };
                padding(&chain.steps[at], &pads, value, &next.shape).map(|pad| vec![step, pad])
            }
            _ => return,
        };
        let Ok(made) = made else { return };
        let moved = made.len() - 1;
        chain.steps.splice(at..=at + 1, made);
        at += moved;
    }
}

/// The padding of height and width, and its value, if a Pad does nothing else.
fn spatial(step: &Step, before: &[usize]) -> Option<(Vec<[i64; 2]>, f32)> {
    let picks = Picks::of(step, before)?;
    let pads = picks.pads(before)?;
    (pads.len() > 2 && pads[..2] == [[0, 0]; 2]).then_some((pads, picks.value))
}

/// What an elementwise step makes of `value` in every channel, if that is one number and all positions are alike.
fn through(step: &Step, before: &[usize], value: f32) -> Option<f32> {
    let one: Vec<usize> =
        before.iter().enumerate().map(|(a, e)| if a == CHANNELS { *e } else { 1 }).collect();
    let elements = one.iter().product();
    let found = step.eval(&Tensor { shape: one.clone(), data: Data::Float(vec![value; elements]) }).ok()?;
    let values = found.floats("the padding").ok()?;
    let first = *values.first()?;
    (found.shape == one && !first.is_nan() && values.iter().all(|v| v.to_bits() == first.to_bits()))
        .then_some(first)
}

/// A Pad step.
fn padding(of: &Step, pads: &[[i64; 2]], value: f32, shape: &[usize]) -> Result<Step> {
    let ends = |side: usize| pads.iter().map(move |p| p[side]);
    let pads = Tensor::integers(ends(0).chain(ends(1)).collect());
    let constants = [pads, Tensor::scalar(value)].map(|t| Operand::Constant(Arc::new(t)));
    let operands = std::iter::once(Operand::Running).chain(constants).collect();
    made(of, "Pad", operands, Attributes::new(13), shape)
}

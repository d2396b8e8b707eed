//! Threshold comparisons of activations.

use std::sync::Arc;

use crate::{Builder, Module, Net, Role};

/// 1 if `sum >= threshold`; both are unsigned and have the same width.
pub fn threshold(b: &mut Builder, sum: Net, threshold: Net) -> Net {
    let below = b.less(sum, threshold);
    b.not(below)
}

/// A module that counts how many of `steps` thresholds of `bits` bits the sum reaches. Ports `sum`, `thresholds`
/// (the first in the least significant bits), `count`; all are unsigned. With `falling` there is also a port `falls`: where it is
/// 1, the thresholds that are not reached are counted. It is combinational; with `cut` there is a register between comparing and
/// counting, which a port `run` moves.
pub fn threshold_count(steps: u32, bits: u32, falling: bool, cut: bool) -> Arc<Module> {
    let suffix = if falling { "_falling" } else { "" };
    let (stages, timing) =
        if cut { ("_r1", "Timing: one edge with run later.") } else { ("", "Combinational.") };
    let mut b = Builder::new(format!("threshold_count_{steps}x{bits}{suffix}{stages}"));
    b.doc(format!(
        "Activation: count = number of the {steps} thresholds with sum >= threshold, unsigned. {timing}"
    ));
    if falling {
        b.doc("Where falls is 1: of those with sum < threshold.");
    }
    let run = cut.then(|| b.input("run", 1, Role::Control));
    let sum = b.input("sum", bits, Role::Data);
    let thresholds = b.input("thresholds", steps * bits, Role::Data);
    let falls = falling.then(|| b.input("falls", 1, Role::Data));
    let reached: Vec<Net> = (0..steps)
        .map(|step| {
            let own = b.slice(thresholds, step * bits, bits);
            threshold(&mut b, sum, own)
        })
        .collect();
    let reached = b.concat(&reached);
    let mut counted = b.named("reached", reached);
    if let Some(falls) = falls {
        let falls = b.sign_extend(falls, steps);
        let turned = b.xor(counted, falls);
        counted = b.named("counted", turned);
    }
    if let Some(run) = run {
        counted = b.registered("counted", None, run, counted);
    }
    let count = b.popcount(counted);
    let count = b.named("count", count);
    b.output("count", count, Role::Data);
    b.finish()
}

//! The processing element of a binary matrix unit.

use std::sync::Arc;

use super::{accumulator, xnor_popcount};
use crate::{Builder, Module, Role};

/// A processing element of `simd` lanes: where `enable` is 1 it adds the number of agreeing lanes of `a` and `w` to its sum
/// of `bits` bits, or starts the sum with it where `first` is 1.
///
/// Without `accumulates` there is no `first`: every step is a sum of its own.
pub fn xnor_pe(simd: u32, bits: u32, accumulates: bool) -> Arc<Module> {
    let kind = if accumulates { "" } else { "_single" };
    let mut b = Builder::new(format!("xnor_pe_s{simd}_b{bits}{kind}"));
    b.doc(format!(
        "Processing element of {simd} lanes: sum = popcount(a xnor w), accumulated over the steps of a row."
    ));
    b.doc("Timing: where enable is 1 at an edge, sum contains the step after it; first starts a new sum.");
    let enable = b.input("enable", 1, Role::Control);
    let first = accumulates.then(|| b.input("first", 1, Role::Control));
    let a = b.input("a", simd, Role::Data);
    let w = b.input("w", simd, Role::Data);
    let unit = b.instance("u_popcount", &xnor_popcount(simd));
    b.connect(unit, "a", a);
    b.connect(unit, "w", w);
    let count = b.out(unit, "count");
    let sum = accumulator(&mut b, "sum", bits, enable, first, count);
    b.output("sum", sum, Role::Data);
    b.finish()
}

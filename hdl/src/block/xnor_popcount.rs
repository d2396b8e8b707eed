//! The product of two bipolar vectors.

use std::sync::Arc;

use crate::{Builder, Module, Role};

/// Number of lanes in which `a` and `w` agree: for bipolar vectors the dot product is 2 * count - lanes. Combinational.
pub fn xnor_popcount(lanes: u32) -> Arc<Module> {
    let mut b = Builder::new(format!("xnor_popcount_{lanes}"));
    b.doc(format!("XNOR-popcount: count = number of the {lanes} lanes in which a and w agree."));
    b.doc("As bipolar vectors (1 is +1, 0 is -1): a . w = 2 * count - lanes. Combinational.");
    let a = b.input("a", lanes, Role::Data);
    let w = b.input("w", lanes, Role::Data);
    let equal = b.xnor(a, w);
    let equal = b.named("equal", equal);
    let count = b.popcount(equal);
    let count = b.named("count", count);
    b.output("count", count, Role::Data);
    b.finish()
}

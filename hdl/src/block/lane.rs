//! Products of bit vectors: the operation of a lane on one activation bit and one weight bit, and the popcount over all lanes.

use std::sync::Arc;

use crate::{Builder, Module, Role};

/// The operation of a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// 1 if `a` and `w` are equal. For bipolar vectors a . w = 2 * count - lanes.
    Xnor,
    /// 1 if `a` and `w` are equal and `active` is 1: weights of -1, 0 and +1.
    MaskedXnor,
    /// 1 if `a` and `w` are both 1: bit planes of unsigned or two's complement numbers.
    And,
}

impl Lane {
    /// The prefix of module names.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Xnor => "xnor",
            Self::MaskedXnor => "ternary",
            Self::And => "and",
        }
    }

    /// A combinational module that counts the lanes that are 1, modulo 2^`bits`. Ports `a`, `w`, `active` (masked lanes),
    /// `count`.
    pub fn popcount(self, lanes: u32, bits: u32) -> Arc<Module> {
        let natural = crate::bits_for(lanes.into());
        let cut = if bits < natural { format!("_b{bits}") } else { String::new() };
        let mut b = Builder::new(format!("{}_popcount_{lanes}{cut}", self.name()));
        let what = match self {
            Self::Xnor => "a and w agree",
            Self::MaskedXnor => "a and w agree and active is 1",
            Self::And => "a and w are 1",
        };
        b.doc(format!("{} of {lanes} lanes: count = number of lanes in which {what}.", self.name()));
        match self {
            Self::Xnor => {
                b.doc(format!("As bipolar vectors (1 is +1, 0 is -1): a . w = 2 * count - {lanes}."))
            }
            Self::MaskedXnor => {
                b.doc("For bipolar a and weights of -1, 0, +1: a . w = 2 * count - popcount(active).")
            }
            Self::And => b.doc("For planes of numbers, a . w = count."),
        }
        b.doc(if cut.is_empty() {
            "Combinational.".to_owned()
        } else {
            format!("Combinational, modulo 2^{bits}.")
        });
        let a = b.input("a", lanes, Role::Data);
        let w = b.input("w", lanes, Role::Data);
        let hits = match self {
            Self::Xnor => b.xnor(a, w),
            Self::MaskedXnor => {
                let active = b.input("active", lanes, Role::Data);
                let equal = b.xnor(a, w);
                b.and(equal, active)
            }
            Self::And => b.and(a, w),
        };
        let hits = b.named("hits", hits);
        let count = b.popcount_low(hits, bits);
        let count = b.named("count", count);
        b.output("count", count, Role::Data);
        b.finish()
    }
}

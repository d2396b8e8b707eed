//! Products of bit vectors: the operation of a lane on one activation bit and one weight bit, and the popcount over all lanes.

use std::sync::Arc;

use crate::{Builder, Module, Net, Role};

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
        let mut b = Builder::new(self.name_of(lanes, bits));
        self.document(&mut b, lanes);
        b.doc(format!("Combinational{}.", modulo(lanes, bits)));
        let hits = self.hits(&mut b, lanes);
        let count = b.popcount_low(hits, bits);
        let count = b.named("count", count);
        b.output("count", count, Role::Data);
        b.finish()
    }

    /// [`popcount`](Self::popcount) with registers in its tree of adders: [`popcount_stages`] of them, one behind every
    /// [`LEVELS`] levels. A further port `run` moves them.
    pub fn popcount_in_stages(self, lanes: u32, bits: u32) -> Arc<Module> {
        let stages = popcount_stages(lanes);
        let mut b = Builder::new(format!("{}_r{stages}", self.name_of(lanes, bits)));
        self.document(&mut b, lanes);
        let edges = if stages == 1 { "one edge".to_owned() } else { format!("{stages} edges") };
        b.doc(format!("Timing: {edges} with run later{}.", modulo(lanes, bits)));
        let run = b.input("run", 1, Role::Control);
        let hits = self.hits(&mut b, lanes);
        let group = 1 << LEVELS;
        // The bits are counted in groups, then the counts are added in groups, a group between two registers.
        let mut terms: Vec<(Net, u64)> = (0..lanes)
            .step_by(group)
            .enumerate()
            .map(|(g, low)| {
                let own = group.min((lanes - low) as usize) as u32;
                let of = b.slice(hits, low, own);
                let of = b.named(format!("hits_{g}"), of);
                (b.popcount_low(of, bits), own.into())
            })
            .collect();
        for stage in 0..stages {
            let kept = |(g, (net, most)): (usize, &(Net, u64))| {
                (b.registered(&format!("count_{stage}_{g}"), None, run, *net), *most)
            };
            let kept: Vec<(Net, u64)> = terms.iter().enumerate().map(kept).collect();
            terms = kept.chunks(group).map(|terms| added(&mut b, terms, bits)).collect();
        }
        let count = b.named("count", terms[0].0);
        b.output("count", count, Role::Data);
        b.finish()
    }

    fn name_of(self, lanes: u32, bits: u32) -> String {
        let cut = if bits < crate::bits_for(lanes.into()) { format!("_b{bits}") } else { String::new() };
        format!("{}_popcount_{lanes}{cut}", self.name())
    }

    fn document(self, b: &mut Builder, lanes: u32) {
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
    }

    /// The ports of the operands, and the lanes that are 1.
    fn hits(self, b: &mut Builder, lanes: u32) -> Net {
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
        b.named("hits", hits)
    }
}

/// Levels of adders between two registers of a popcount in stages.
pub const LEVELS: u32 = 3;

/// Registers between the bits and the count of [`Lane::popcount_in_stages`]: one behind every [`LEVELS`] levels of adders but
/// the last.
pub fn popcount_stages(lanes: u32) -> u32 {
    let levels = lanes.next_power_of_two().trailing_zeros();
    levels.saturating_sub(1) / LEVELS
}

fn modulo(lanes: u32, bits: u32) -> String {
    if bits < crate::bits_for(lanes.into()) { format!(", modulo 2^{bits}") } else { String::new() }
}

/// The sum of `terms`, each with its maximum, modulo 2^`bits`: a balanced tree of adders.
fn added(b: &mut Builder, terms: &[(Net, u64)], bits: u32) -> (Net, u64) {
    match terms {
        [one] => *one,
        _ => {
            let (low, high) = terms.split_at(terms.len().next_power_of_two() / 2);
            let ((low, most), (high, more)) = (added(b, low, bits), added(b, high, bits));
            let width = crate::bits_for(most + more).min(bits);
            let (low, high) = (b.zero_extend(low, width), b.zero_extend(high, width));
            (b.add(low, high), most + more)
        }
    }
}

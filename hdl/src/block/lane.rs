//! Products of bit vectors: the operation of a lane on one activation bit and one weight bit, and the popcount over all lanes.

use std::sync::Arc;

use crate::{Builder, Module, Net, Role};

/// The registers of a popcount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Registers {
    /// So many in its tree of adders, with so many levels between two of them.
    Inside { stages: u32, levels: u32 },
    /// So many behind it: of a model whose cells have theirs inside.
    Behind(u32),
}

/// The operation of a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// 1 if `a` and `w` are equal. For bipolar vectors a . w = 2 * count - lanes.
    Xnor,
    /// 1 if `a` and `w` are equal and `active` is 1: weights of -1, 0 and +1.
    MaskedXnor,
    /// As [`Xnor`](Self::Xnor), counted by running parities: half as many bits are added, and the parities of the activations are
    /// shared ([`running_parity`]).
    Parity,
    /// 1 if `a` and `w` differ. Weights stored as their complements count as [`Xnor`](Self::Xnor)'s do.
    Xor,
    /// 1 if `a` is 1: a count that does not depend on weights.
    One,
    /// 1 if `a` and `w` are both 1: bit planes of unsigned or two's complement numbers.
    And,
}

impl Lane {
    /// The prefix of module names.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Xnor => "xnor",
            Self::Xor => "xor",
            Self::Parity => "parity",
            Self::One => "one",
            Self::MaskedXnor => "ternary",
            Self::And => "and",
        }
    }

    /// A combinational module that counts the lanes that are 1, modulo 2^`bits`. Ports `a`, `w`, `count`; `active` (masked lanes);
    /// `t` (running parities, then `a` has the first lane of each pair).
    pub fn popcount(self, lanes: u32, bits: u32) -> Arc<Module> {
        self.popcount_in_stages(lanes, bits, 0)
    }

    /// [`popcount`](Self::popcount) with registers in its tree of adders: [`stages`](Self::stages) of them, one behind every `levels`
    /// levels. A further port `run` moves them.
    pub fn popcount_in_stages(self, lanes: u32, bits: u32, levels: u32) -> Arc<Module> {
        let stages = self.stages(lanes, levels);
        self.counting(lanes, bits, Registers::Inside { stages, levels }, "").finish()
    }

    /// Registers between the lanes and the count of [`popcount_in_stages`](Self::popcount_in_stages); none for 0 levels.
    pub fn stages(self, lanes: u32, levels: u32) -> u32 {
        let all = self.counted(lanes).next_power_of_two().trailing_zeros();
        all.saturating_sub(1).checked_div(levels).unwrap_or(0)
    }

    /// Bits that are added.
    fn counted(self, lanes: u32) -> u32 {
        match self {
            Self::Parity => firsts(lanes) + firsts(lanes).div_ceil(SEGMENT) - 1,
            _ => lanes,
        }
    }

    /// A popcount, with `kind` at the end of its name.
    pub(super) fn counting(self, lanes: u32, bits: u32, registers: Registers, kind: &str) -> Builder {
        let (stages, levels) = match registers {
            Registers::Inside { stages, levels } => (stages, levels),
            Registers::Behind(stages) => (stages, LEVELS),
        };
        let whole = bits >= crate::bits_for(lanes.into());
        let cut = if whole { String::new() } else { format!("_b{bits}") };
        let staged = match (stages, levels) {
            (0, _) => String::new(),
            (_, LEVELS) => format!("_r{stages}"),
            _ => format!("_r{stages}_l{levels}"),
        };
        let mut b = Builder::new(format!("{}_popcount_{lanes}{cut}{staged}{kind}", self.name()));
        self.document(&mut b, lanes);
        let modulo = if whole { String::new() } else { format!(", modulo 2^{bits}") };
        b.doc(match stages {
            0 => format!("Combinational{modulo}."),
            1 => format!("Timing: one edge with run later{modulo}."),
            n => format!("Timing: {n} edges with run later{modulo}."),
        });
        let run = (stages > 0).then(|| b.input("run", 1, Role::Control));
        let (hits, mut odd) = self.hits(&mut b, lanes);
        let bits = bits.min(crate::bits_for(lanes.into()));
        let each = if odd.is_some() { bits - 1 } else { bits };
        let mut count = match run {
            None => b.popcount_low(hits, each),
            Some(run) if matches!(registers, Registers::Inside { .. }) => {
                for stage in 0..stages {
                    odd = odd.map(|odd| b.registered(&format!("odd_{stage}"), None, run, odd));
                }
                in_stages(&mut b, hits, each, (stages, levels), run)
            }
            Some(run) => {
                let count = b.popcount_low(hits, each);
                (0..stages)
                    .fold(count, |count, stage| b.registered(&format!("count_{stage}"), None, run, count))
            }
        };
        if let Some(odd) = odd {
            let pairs = b.named("pairs", count);
            count = b.concat(&[odd, pairs]);
        }
        let count = b.named("count", count);
        b.output("count", count, Role::Data);
        b
    }

    /// What is true of a lane that is 1.
    pub(super) fn says(self) -> &'static str {
        match self {
            Self::Xnor | Self::Parity => "a and w agree",
            Self::Xor => "a and w differ",
            Self::MaskedXnor => "a and w agree and active is 1",
            Self::And => "a and w are 1",
            Self::One => "a is 1",
        }
    }

    /// The ports of a lane's operands.
    pub(super) fn operands(self) -> &'static [&'static str] {
        match self {
            Self::Xnor | Self::Xor | Self::And => &["a", "w"],
            Self::MaskedXnor => &["a", "w", "active"],
            Self::One => &["a"],
            Self::Parity => &["a", "t", "w"],
        }
    }

    /// The value of a lane, by its operands.
    pub(super) fn of(self, operands: &[bool]) -> bool {
        match (self, operands) {
            (Self::Xnor, [a, w]) => a == w,
            (Self::Xor, [a, w]) => a != w,
            (Self::And, [a, w]) => *a && *w,
            (Self::MaskedXnor, [a, w, active]) => a == w && *active,
            (Self::One, [a]) => *a,
            _ => unreachable!("no lane by itself"),
        }
    }

    /// The value of a lane, or of several side by side.
    pub(super) fn value(self, b: &mut Builder, operands: &[Net]) -> Net {
        match (self, operands) {
            (Self::Xnor, [a, w]) => b.xnor(*a, *w),
            (Self::Xor, [a, w]) => b.xor(*a, *w),
            (Self::And, [a, w]) => b.and(*a, *w),
            (Self::MaskedXnor, [a, w, active]) => {
                let equal = b.xnor(*a, *w);
                b.and(equal, *active)
            }
            (Self::One, [a]) => *a,
            _ => unreachable!("no lane by itself"),
        }
    }

    fn document(self, b: &mut Builder, lanes: u32) {
        b.doc(format!("{} of {lanes} lanes: count = number of lanes in which {}.", self.name(), self.says()));
        match self {
            Self::Xnor | Self::Parity => {
                b.doc(format!("As bipolar vectors (1 is +1, 0 is -1): a . w = 2 * count - {lanes}."))
            }
            Self::Xor => b.doc(format!(
                "As bipolar vectors (1 is +1, 0 is -1), w inverted: a . w = 2 * count - {lanes}."
            )),
            Self::MaskedXnor => {
                b.doc("For bipolar a and weights of -1, 0, +1: a . w = 2 * count - popcount(active).")
            }
            Self::And => b.doc("For planes of numbers, a . w = count."),
            Self::One => {}
        }
        if self == Self::Parity {
            let own = firsts(lanes);
            b.doc("By running parities: with y[i] the agreement of lane i, and p[k] = y[0] ^ ... ^ y[2k+1], the pair");
            b.doc("(y[2k], y[2k+1]) and p[k-1] are the operands of a full adder. Its carry counts twice, its sum is p[k].");
            if firsts(lanes) > SEGMENT {
                b.doc("Parities begin anew every 32 lanes; half adders join the parities of these segments.");
            }
            b.doc(format!("a[k] is lane 2k's activation, w[k] is not its weight (k < {own}), t[k] and w[{own} + k] are the"));
            b.doc("parities of the activations, and of the inverted weights, of the lanes 0 to 2k+1: p[k] = t[k] ^ w[..].");
        }
    }

    /// The ports of the operands, and the lanes that are 1. With running parities, the carries of all pairs, which count twice, and
    /// the parity of all lanes.
    fn hits(self, b: &mut Builder, lanes: u32) -> (Net, Option<Net>) {
        let a = b.input("a", if self == Self::Parity { firsts(lanes) } else { lanes }, Role::Data);
        let t = (self == Self::Parity).then(|| b.input("t", lanes / 2, Role::Data));
        if self == Self::One {
            return (a, None);
        }
        let w = b.input("w", lanes, Role::Data);
        if let Some(t) = t {
            let (carries, odd) = carries(b, (a, t, w), lanes);
            return (b.named("hits", carries), Some(odd));
        }
        let mut operands = vec![a, w];
        if self == Self::MaskedXnor {
            operands.push(b.input("active", lanes, Role::Data));
        }
        let hits = self.value(b, &operands);
        (b.named("hits", hits), None)
    }
}

/// The carries of the full adders of all pairs, and the parity of all lanes. A last lane without partner is a pair with 0. The
/// parities of the segments go through half adders, whose carries count twice too.
fn carries(b: &mut Builder, (a, t, w): (Net, Net, Net), lanes: u32) -> (Net, Net) {
    let (pairs, firsts) = (lanes / 2, lanes.div_ceil(2));
    let own = b.slice(w, 0, firsts);
    let agree = b.xor(a, own);
    let agree = b.named("firsts_agree", agree);
    let inverted = b.slice(w, firsts, pairs);
    let parities = b.xor(t, inverted);
    let parities = b.named("parities", parities);
    let zero = b.constant(1, 0);
    let mut here = parities;
    if firsts > pairs {
        let mut last = b.slice(agree, pairs, 1);
        if !pairs.is_multiple_of(SEGMENT) {
            let before = b.slice(parities, pairs - 1, 1);
            last = b.xor(before, last);
        }
        let all = b.concat(&[parities, last]);
        here = b.named("parities_here", all);
    }
    let mut before = Vec::new();
    for low in (0..firsts).step_by(SEGMENT as usize) {
        before.push(zero);
        let inside = SEGMENT.min(firsts - low) - 1;
        if inside > 0 {
            before.push(b.slice(parities, low, inside));
        }
    }
    let before = b.concat(&before);
    let before = b.named("parities_before", before);
    // The majority of both lanes and the parity before them.
    let differs = b.xor(before, here);
    let differs = b.named("turns", differs);
    let same = b.not(differs);
    let (of_before, of_first) = (b.and(differs, before), b.and(same, agree));
    let mut hits = vec![b.or(of_before, of_first)];
    let mut odd = b.slice(here, SEGMENT.min(firsts) - 1, 1);
    for low in (SEGMENT..firsts).step_by(SEGMENT as usize) {
        let segment = low / SEGMENT;
        let own = b.slice(here, (low + SEGMENT).min(firsts) - 1, 1);
        let (carry, sum) = (b.and(odd, own), b.xor(odd, own));
        hits.push(carry);
        odd = b.named(format!("odd_to_{segment}"), sum);
    }
    (b.concat(&hits), odd)
}

/// The running parities of `lanes` activations, shared by all processing elements: bit k of `t` is the parity of the lanes from the
/// beginning of their segment of 32 to lane 2k+1 of `a`. Combinational.
pub fn running_parity(lanes: u32) -> Arc<Module> {
    let mut b = Builder::new(format!("running_parity_{lanes}"));
    b.doc(format!(
        "Running parities of {lanes} lanes: t[k] = a[32 * (k / 16)] ^ ... ^ a[2k+1]. Combinational."
    ));
    let a = b.input("a", lanes / 2 * 2, Role::Data);
    let pairs: Vec<Net> = (0..lanes / 2)
        .map(|k| {
            let pair = b.slice(a, 2 * k, 2);
            let parity = b.reduce_xor(pair);
            b.named(format!("pair_{k}"), parity)
        })
        .collect();
    let segments = pairs.chunks(SEGMENT as usize).enumerate();
    let parities: Vec<Net> = segments.flat_map(|(s, own)| prefixes(&mut b, own, &s.to_string())).collect();
    let t = b.concat(&parities);
    let t = b.named("parities", t);
    b.output("t", t, Role::Data);
    b.finish()
}

/// The parities of all beginnings of `bits`: chains of four, and offsets of the chains by the same rule.
fn prefixes(b: &mut Builder, bits: &[Net], name: &str) -> Vec<Net> {
    let mut chains: Vec<Vec<Net>> = Vec::new();
    for (c, part) in bits.chunks(4).enumerate() {
        let mut chain = vec![part[0]];
        for (i, bit) in part.iter().enumerate().skip(1) {
            let before = chain[chain.len() - 1];
            let next = b.xor(before, *bit);
            chain.push(b.named(format!("chain_{name}_{c}_{i}"), next));
        }
        chains.push(chain);
    }
    if chains.len() == 1 {
        return chains.remove(0);
    }
    let ends: Vec<Net> = chains[..chains.len() - 1].iter().map(|chain| chain[chain.len() - 1]).collect();
    let offsets = prefixes(b, &ends, &format!("{name}_offset"));
    let mut all = chains[0].clone();
    for (chain, offset) in chains[1..].iter().zip(offsets) {
        for bit in chain {
            let parity = b.xor(*bit, offset);
            all.push(b.named(format!("begin_{name}_{}", all.len()), parity));
        }
    }
    all
}

/// The number of ones of `bits`, modulo 2^`width`: counted in groups, and the counts added in groups, a group between two registers.
fn in_stages(b: &mut Builder, bits: Net, width: u32, (stages, levels): (u32, u32), run: Net) -> Net {
    let (lanes, group) = (b.width(bits), 1 << levels);
    let mut terms: Vec<(Net, u64)> = (0..lanes)
        .step_by(group)
        .enumerate()
        .map(|(g, low)| {
            let own = (group as u32).min(lanes - low);
            let of = b.slice(bits, low, own);
            let of = b.named(format!("hits_{g}"), of);
            (b.popcount_low(of, width), own.into())
        })
        .collect();
    for stage in 0..stages {
        let kept = |(g, (net, most)): (usize, &(Net, u64))| {
            (b.registered(&format!("count_{stage}_{g}"), None, run, *net), *most)
        };
        let kept: Vec<(Net, u64)> = terms.iter().enumerate().map(kept).collect();
        terms = kept.chunks(group).map(|terms| added(b, terms, width)).collect();
    }
    terms[0].0
}

/// Pairs of lanes in a segment of running parities, which bounds the chain of XORs.
pub const SEGMENT: u32 = 16;

/// Number of pairs, with a last lane that has no partner: the lanes whose activation is used as it is.
fn firsts(lanes: u32) -> u32 {
    lanes.div_ceil(2)
}

/// Levels of adders between two registers of a popcount in stages, where few will do.
pub const LEVELS: u32 = 3;

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

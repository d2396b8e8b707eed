//! The processing element of a matrix unit, on bit planes.

use std::fmt::Write as _;
use std::sync::Arc;

use super::{Cells, LEVELS, Lane, accumulator};
use crate::{Builder, Module, Net, Role, bits_for};

/// The parameters of a processing element. A step adds the sum, over weight planes j and input planes k, of `weights[j] *
/// input[k] * count(w_j, a_k)`.
#[derive(Debug, Clone, Copy)]
pub struct ProcessingElement<'a> {
    /// The operation of a lane.
    pub lane: Lane,
    /// Number of lanes.
    pub simd: u32,
    /// Coefficients of the input planes: powers of two, or their negatives.
    pub input: &'a [i64],
    /// Coefficients of the weight planes; a single plane for XNOR lanes.
    pub weights: &'a [i64],
    /// Bits of the sum, which is computed modulo 2^bits.
    pub bits: u32,
    /// Whether a row has more than one step. If not, there is no port `first`, and every step is a sum of its own.
    pub accumulates: bool,
    /// Bits of a number that every step subtracts: a port `present`. Masked inputs of +1, -1 and 0 have twice the number of
    /// agreements, less the number of inputs that are not 0.
    pub present: Option<u32>,
    /// Whether a sum of several steps begins with a number of its own, a port `start`, and the only output is whether it is not
    /// negative, `reached`.
    pub starts: bool,
    /// Registers before the accumulator.
    pub cuts: PopcountCuts,
}

/// Where a processing element has registers between its operands and its accumulator, and the cells that count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PopcountCuts {
    /// Behind each popcount.
    pub counts: bool,
    /// Inside each popcount, behind so many levels ([`Lane::popcount_in_stages`]), and, with several planes, behind the sum of their
    /// counts; none for 0.
    pub levels: u32,
    /// The cells of each popcount.
    pub cells: Cells,
}

impl PopcountCuts {
    /// Edges from the operands of a step to its addend, for `lanes` lanes that are counted and steps that add up so many terms.
    pub fn latency(self, lane: Lane, lanes: u32, terms: usize) -> u32 {
        let planes = u32::from(self.levels > 0 && terms > 1);
        u32::from(self.counts) + self.cells.stages(lane, lanes, self.levels) + planes
    }

    /// The popcount of `lanes` lanes modulo 2^`bits`, with the registers inside it.
    pub fn module(self, lane: Lane, lanes: u32, bits: u32) -> Arc<Module> {
        self.cells.popcount(lane, lanes, bits, self.levels)
    }

    /// The count of a popcount [`module`](Self::module) with these operands, behind its register if there is one; names of the
    /// instance and of the register. `run` moves the registers.
    pub fn count(
        self,
        b: &mut Builder,
        (instance, register): (&str, &str),
        module: &Arc<Module>,
        operands: &[(&str, Net)],
        run: Option<Net>,
    ) -> Net {
        let unit = b.instance(instance, module);
        if let Some(run) = run.filter(|_| module.port("run").is_some()) {
            b.connect(unit, "run", run);
        }
        operands.iter().for_each(|(port, net)| b.connect(unit, port, *net));
        let count = b.out(unit, "count");
        match run {
            Some(run) if self.counts => b.registered(register, None, run, count),
            _ => count,
        }
    }
}

/// Maximum number of terms that a header lists.
const FORMULA_TERMS: usize = 4;

impl ProcessingElement<'_> {
    /// Edges from the operands of a step to its addend: those of `run`. `enable` and `first` come that much later.
    pub fn latency(&self) -> u32 {
        let PopcountCuts { counts, levels, .. } = self.cuts;
        if self.adds_numbers() {
            let inside = self.cuts.cells.product_stages(self.lane, self.simd, self.input);
            return u32::from(counts) + if levels > 0 { inside } else { 0 };
        }
        self.cuts.latency(self.lane, self.counted(), self.terms())
    }

    /// The lanes that are counted: all, or all but the last, which the sum of the steps adds.
    fn counted(&self) -> u32 {
        let plain = self.input == [1] && self.weights == [1] && self.present.is_none();
        self.simd - u32::from(plain && self.cuts.cells.leaves_one(self.lane, self.simd))
    }

    /// Whether the numbers of the input are added as they are ([`Cells::products`]), in place of the counts of their planes.
    fn adds_numbers(&self) -> bool {
        let number =
            |(k, c): (usize, &i64)| c.unsigned_abs() == 1 << k && (*c > 0 || k + 1 == self.input.len());
        self.cuts.cells.adds(self.lane, self.simd, self.input.len())
            && matches!(self.lane, Lane::Xor | Lane::Xnor | Lane::MaskedXnor)
            && self.weights == [1]
            && self.present.is_none()
            && self.input.iter().enumerate().all(number)
    }

    /// Numbers that a step adds up.
    fn terms(&self) -> usize {
        self.input.len() * self.weights.len() + usize::from(self.present.is_some())
    }

    /// Builds the module. Ports `run` (with cuts), `enable`, `first`, `start`, `a` (`a_0`, ... for several input planes), `w` (`w_0`, ...),
    /// `t` (running parities; one a plane), `active` (masked lanes), `present` (as late as the counts) and `sum`.
    pub fn build(&self) -> Arc<Module> {
        let &Self { lane, simd, input, weights, bits, accumulates, present, starts, cuts } = self;
        let mut b = Builder::new(self.name());
        b.doc(format!(
            "Processing element of {simd} lanes: sum of the steps of a row, modulo 2^{bits}; a step is"
        ));
        b.doc(self.formula());
        b.doc("Timing: where enable is 1 at an edge, sum contains the step after it.");
        match (accumulates, starts) {
            (true, true) => {
                b.doc("Where first is 1, a new sum begins with start. reached: it is not negative.")
            }
            (true, false) => b.doc("Where first is 1, a new sum begins."),
            (false, _) => b.doc("Every sum is one step."),
        }
        match self.latency() {
            0 => {}
            1 => b.doc("The operands of the step are those of one edge with run before."),
            n => b.doc(format!("The operands of the step are those of {n} edges with run before.")),
        }
        let run = (self.latency() > 0).then(|| b.input("run", 1, Role::Control));
        let enable = b.input("enable", 1, Role::Control);
        let first = accumulates.then(|| b.input("first", 1, Role::Control));
        let start = starts.then(|| b.input("start", bits, Role::Data));
        let parity = lane == Lane::Parity;
        let each = if parity { simd.div_ceil(2) } else { simd };
        let mut planes = |letter: &str, width: u32| -> Vec<Net> {
            (0..input.len()).map(|k| b.input(port(letter, k, input.len()), width, Role::Data)).collect()
        };
        let a = planes("a", each);
        let t = if parity { planes("t", simd / 2) } else { vec![] };
        let w: Vec<Net> =
            (0..weights.len()).map(|j| b.input(port("w", j, weights.len()), simd, Role::Data)).collect();
        let active = (lane == Lane::MaskedXnor).then(|| b.input("active", simd, Role::Data));
        let (mut plus, mut minus) = (Vec::new(), Vec::new());
        let counted = self.counted();
        let planes = if self.adds_numbers() { &[] } else { weights };
        for (j, c) in planes.iter().enumerate() {
            for (k, d) in input.iter().enumerate() {
                let shift = (c * d).unsigned_abs().trailing_zeros();
                // A multiple of 2^bits adds nothing to a sum modulo 2^bits.
                let Some(room) = bits.checked_sub(shift).filter(|room| *room > 0) else { continue };
                let index =
                    if input.len() * weights.len() == 1 { String::new() } else { format!("_{j}_{k}") };
                let mut ports = vec![("a", a[k]), ("w", w[j])];
                ports.extend(t.get(k).map(|t| ("t", *t)));
                ports.extend(active.map(|active| ("active", active)));
                if counted < simd {
                    ports.iter_mut().for_each(|(_, net)| *net = b.slice(*net, 0, counted));
                }
                let names = (&*format!("u_popcount{index}"), &*format!("count{index}"));
                let count = cuts.count(&mut b, names, &cuts.module(lane, counted, room), &ports, run);
                let shifted = if shift == 0 {
                    count
                } else {
                    let zeros = b.constant(shift, 0);
                    b.concat(&[zeros, count])
                };
                if c * d < 0 { &mut minus } else { &mut plus }.push(shifted);
            }
        }
        if let Some(width) = present {
            minus.push(b.input("present", width, Role::Data));
        }
        let step = if self.adds_numbers() {
            let module = cuts.cells.products(lane, simd, input, bits, cuts.levels > 0);
            let unit = b.instance("u_products", &module);
            run.iter().filter(|_| module.port("run").is_some()).for_each(|r| b.connect(unit, "run", *r));
            a.iter().enumerate().for_each(|(k, plane)| b.connect(unit, &format!("a_{k}"), *plane));
            b.connect(unit, "w", w[0]);
            active.iter().for_each(|active| b.connect(unit, "active", *active));
            let sum = b.out(unit, "sum");
            run.filter(|_| cuts.counts).map_or(sum, |run| b.registered("products", None, run, sum))
        } else {
            let step = self.total(&mut b, &plus, &minus);
            let added = run.filter(|_| cuts.levels > 0 && self.terms() > 1);
            added.map_or(step, |run| b.registered("addend", None, run, step))
        };
        // The last lane, as late as the count of the others.
        let last = (counted < simd).then(|| {
            let operands = [Some(a[0]), Some(w[0]), active].into_iter().flatten();
            let own: Vec<Net> = operands.map(|net| b.slice(net, counted, 1)).collect();
            let hit = lane.value(&mut b, &own);
            let hit = b.named("last_lane", hit);
            let late = |at, n: u32| b.registered(&format!("last_lane_{n}"), None, run.expect("latency"), at);
            (0..self.latency()).fold(hit, late)
        });
        let sum = match first.filter(|_| cuts.cells != Cells::Portable) {
            None => {
                let step = last.map_or(step, |last| {
                    let bits = bits_for(simd.into()).min(bits);
                    let (count, last) = (b.zero_extend(step, bits), b.zero_extend(last, bits));
                    let step = b.add(count, last);
                    b.named("step", step)
                });
                accumulator(&mut b, "sum", bits, enable, (first, start), step)
            }
            Some(first) => {
                let sum = b.register("sum", bits, None);
                let next =
                    b.instance("u_next", &cuts.cells.next_sum(bits, b.width(step), starts, last.is_some()));
                b.connect(next, "first", first);
                start.iter().for_each(|start| b.connect(next, "start", *start));
                b.connect(next, "sum", sum);
                b.connect(next, "addend", step);
                last.iter().for_each(|last| b.connect(next, "carry", *last));
                let next = b.out(next, "next");
                b.next_if(sum, enable, next);
                sum
            }
        };
        if starts {
            let negative = b.slice(sum, bits - 1, 1);
            let reached = b.not(negative);
            let reached = b.named("reached", reached);
            b.output("reached", reached, Role::Data);
        } else {
            b.output("sum", sum, Role::Data);
        }
        b.finish()
    }

    /// The sum of all terms. A single term keeps its own width; several terms have the width of the sum.
    fn total(&self, b: &mut Builder, plus: &[Net], minus: &[Net]) -> Net {
        if let ([one], []) = (plus, minus) {
            return *one;
        }
        let mut sum = |name: &str, terms: &[Net]| {
            let mut wide: Vec<Net> = terms.iter().map(|t| b.zero_extend(*t, self.bits)).collect();
            let mut total = wide.pop()?;
            while let Some(term) = wide.pop() {
                total = b.add(term, total);
            }
            Some(b.named(name, total))
        };
        let (plus, minus) = (sum("plus", plus), sum("minus", minus));
        match (plus, minus) {
            (Some(plus), None) => plus,
            (None, None) => b.constant(self.bits, 0),
            (plus, Some(minus)) => {
                let plus = plus.unwrap_or_else(|| b.constant(self.bits, 0));
                let step = b.sub(plus, minus);
                b.named("step", step)
            }
        }
    }

    /// The formula of one step in terms of ports, or of coefficients if it would be long.
    fn formula(&self) -> String {
        let &Self { input, weights, .. } = self;
        if input.len() * weights.len() > FORMULA_TERMS {
            return format!("sum of c[j] * d[k] * count(a_k, w_j), c = {weights:?}, d = {input:?}");
        }
        let mut formula = String::new();
        for (j, c) in weights.iter().enumerate() {
            for (k, d) in input.iter().enumerate() {
                let sign = match (c * d < 0, formula.is_empty()) {
                    (true, true) => "-",
                    (true, false) => " - ",
                    (false, true) => "",
                    (false, false) => " + ",
                };
                let factor = if (c * d).abs() == 1 { String::new() } else { format!("{} * ", (c * d).abs()) };
                let (a, w) = (port("a", k, input.len()), port("w", j, weights.len()));
                let _ = write!(formula, "{sign}{factor}count({a}, {w})");
            }
        }
        if self.present.is_some() {
            formula.push_str(" - present");
        }
        formula
    }

    fn name(&self) -> String {
        let planes = |letter: &str, coefficients: &[i64]| match coefficients {
            [1] => String::new(),
            list => format!("_{letter}{}{}", list.len(), if list.iter().any(|c| *c < 0) { "s" } else { "" }),
        };
        format!(
            "{}_pe_s{}{}{}_b{}{}{}{}{}{}{}",
            self.lane.name(),
            self.simd,
            planes("a", self.input),
            planes("w", self.weights),
            self.bits,
            if self.present.is_some() { "_masked" } else { "" },
            if self.starts { "_start" } else { "" },
            if self.accumulates { "" } else { "_single" },
            if self.cuts.counts { "_c" } else { "" },
            match self.cuts.levels {
                0 => String::new(),
                LEVELS => "_t".to_owned(),
                levels => format!("_t{levels}"),
            },
            self.cuts.cells.kind(),
        )
    }
}

/// A port's name, numbered if there are several.
fn port(letter: &str, index: usize, count: usize) -> String {
    if count == 1 { letter.to_owned() } else { format!("{letter}_{index}") }
}

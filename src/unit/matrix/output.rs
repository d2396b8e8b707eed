//! The output of a matrix unit or a channel unit: activations, or the sums themselves.

use stoxnor_hdl::block::{threshold, threshold_count};
use stoxnor_hdl::{Builder, Net, bits_for};

use crate::arith::activation::Activation;
use crate::arith::sampling::of_member;
use crate::frame::element::Element;
use crate::unit::folding::{Comparing, Cuts, Folding};
use crate::unit::matrix::search::{self, Search};
use crate::unit::matrix::table::Table;

/// The sums of rows as the hardware computes them. The true sum is y = gain * raw + the row's constant.
#[derive(Debug, Clone)]
pub struct RawSums {
    /// The minimum and maximum over all rows and members, including partial sums.
    pub range: (i64, i64),
    /// Bits of a raw sum: two's complement if the minimum is negative, else unsigned.
    pub bits: u32,
    /// Factor of the raw sum, 1 or 2.
    pub gain: i64,
    /// The constant for each member (one entry if all members share it) and row.
    pub constants: Vec<Vec<i64>>,
}

impl RawSums {
    /// Bits of a threshold, which may exceed the range by one.
    fn threshold_bits(&self) -> u32 {
        let (min, max) = self.range;
        width((min, max + 1)).max(self.bits)
    }

    fn signed(&self) -> bool {
        self.range.0 < 0
    }

    /// What is added to sums and thresholds, so that they are compared as unsigned numbers.
    fn offset(&self) -> i64 {
        if self.signed() { 1 << (self.threshold_bits() - 1) } else { 0 }
    }

    /// The raw sum of PE `p` as an unsigned number of the thresholds' width, with the [`offset`](Self::offset).
    fn code(&self, b: &mut Builder, p: usize, sum: Net) -> Net {
        let bits = self.threshold_bits();
        let sum = self.extend(b, p, sum, bits, false);
        if !self.signed() {
            return sum;
        }
        // Adding 2^(bits-1) inverts the top bit.
        let top = b.constant(bits, 1 << (bits - 1));
        let offset = b.xor(sum, top);
        b.named(format!("offset_sum_{p}"), offset)
    }

    /// The element type of sums from `min` to `max` that are computed from these. It has at min the bits of gain times a raw
    /// sum, so that no bit of a raw sum is unused.
    pub fn element(&self, (min, max): (i64, i64)) -> Element {
        let raw = self.bits + u32::from(self.gain == 2);
        Element::Signed(Element::signed(min, max).bits().max(raw))
    }

    /// Extends the raw sum of PE `p` to `bits` bits, by sign if it is signed. `double` multiplies it by 2.
    fn extend(&self, b: &mut Builder, p: usize, sum: Net, bits: u32, double: bool) -> Net {
        let sum = if double {
            let zero = b.constant(1, 0);
            let twice = b.concat(&[zero, sum]);
            if self.signed() && b.width(twice) < bits { b.named(format!("twice_{p}"), twice) } else { twice }
        } else {
            sum
        };
        if self.signed() { b.sign_extend(sum, bits) } else { b.zero_extend(sum, bits) }
    }
}

/// Bits of a register that holds every number of a range: unsigned if none is negative, else two's complement.
pub(crate) fn width((min, max): (i64, i64)) -> u32 {
    if min < 0 { Element::signed(min, max).bits() } else { bits_for(max.unsigned_abs()) }
}

/// What a unit's sums are compared with, or what is added to them.
#[derive(Debug)]
pub enum Numbers {
    /// The numbers of a row for each PE; none if there is no memory.
    Words(Vec<Net>),
    /// The search in the memories of thresholds, the address of those of the sums, and whether there are sums.
    Search(Search, Net, Net),
}

/// The output of a matrix unit.
#[derive(Debug, Clone, Copy)]
pub enum Output<'a> {
    /// An activation per row, the same for all members or one per member.
    Activations(&'a [Activation]),
    /// The sums of products, as elements of this type.
    Sums(Element),
}

impl Output<'_> {
    /// Element type of the output.
    pub fn element(&self) -> Element {
        match self {
            Self::Activations(activations) => activations[0].element,
            Self::Sums(element) => *element,
        }
    }

    /// The formula of element r of an output frame, for the module's header. `sum` is the formula of y\[r\].
    pub fn formula(&self, sum: &str) -> String {
        match self {
            Self::Activations([a, ..]) if a.element == Element::Bipolar => {
                format!("{sum}; element r of a frame is 1 (+1) where y[r] >= threshold[r], else 0 (-1).")
            }
            Self::Activations(a) => {
                let a = &a[0];
                let least = if a.least == 0 { String::new() } else { format!("{} + ", a.least) };
                format!("{sum}; element r of a frame is {least}number of thresholds t of r with y[r] >= t.")
            }
            Self::Sums(_) => format!("{sum}; element r of a frame is y[r]."),
        }
    }

    /// Whether an element is one comparison with a threshold.
    pub fn is_sign(&self) -> bool {
        matches!(self, Self::Activations([a, ..]) if a.element == Element::Bipolar)
    }

    /// The memory of what sums begin with, the negative thresholds, so that a sum is negative where its threshold is not reached. The
    /// numbers are two's complement, no wider than the widest of them.
    pub fn starts(&self, raw: &RawSums) -> Table {
        let mut table = self.thresholds(raw, |threshold| -threshold).expect("activations");
        let numbers = || table.members.iter().flatten().flatten().copied();
        let (least, most) = (numbers().min().unwrap_or(0), numbers().max().unwrap_or(0));
        (table.bits, table.starts) = (Element::signed(least, most).bits(), true);
        table
    }

    /// The memory of numbers per row and member; `None` if no memory is needed.
    pub fn table(&self, raw: &RawSums) -> Option<Table> {
        // Signed sums are compared as unsigned: 2^(bits-1) is added on both sides.
        self.thresholds(raw, |threshold| threshold + raw.offset())
    }

    /// [`table`](Self::table), with `code` of each threshold of a raw sum.
    fn thresholds(&self, raw: &RawSums, code: impl Fn(i64) -> i64) -> Option<Table> {
        let members = match self {
            Self::Activations(activations) => raw.constants.len().max(activations.len()),
            Self::Sums(_) => raw.constants.len(),
        };
        let constant = |m: usize, row: usize| of_member(&raw.constants, m)[row];
        let rows = 0..raw.constants[0].len();
        match self {
            Self::Activations(activations) => {
                let (gain, (min, max), bits) = (raw.gain, raw.range, raw.threshold_bits());
                // y >= t is raw >= ceil((t - constant) / gain), clamped to the range of raw sums and one beyond.
                let reached =
                    |m, row, t: &i32| (i64::from(*t) - constant(m, row) + gain - 1).div_euclid(gain);
                let numbers = |m: usize, row: usize| {
                    let thresholds = &of_member(activations, m).thresholds[row];
                    thresholds.iter().map(|t| code(reached(m, row, t).clamp(min, max + 1))).collect()
                };
                let table = (0..members).map(|m| rows.clone().map(|row| numbers(m, row)).collect()).collect();
                let falls: Vec<Vec<bool>> = (0..members)
                    .map(|m| rows.clone().map(|row| of_member(activations, m).falls(row)).collect())
                    .collect();
                let falls = falls.iter().flatten().any(|f| *f).then_some(falls);
                Some(Table::new("thresholds", bits, table, falls))
            }
            Self::Sums(_) => {
                let table: Vec<Vec<Vec<i64>>> =
                    (0..members).map(|m| rows.clone().map(|row| vec![constant(m, row)]).collect()).collect();
                let uniform = table.iter().flatten().all(|r| *r == table[0][0]);
                (!uniform).then(|| Table::new("constants", self.element().bits(), table, None))
            }
        }
    }

    /// The output beat of sums that began with the numbers of their rows ([`starts`](Self::starts)), of which `reached` says whether they are
    /// not negative. A number's bit behind its first `bits` turns a decreasing row over, one edge with `run` later.
    pub fn signs(b: &mut Builder, reached: &[Net], numbers: &[Net], bits: u32, run: Net) -> Net {
        let element = |(p, (reached, number)): (usize, (&Net, &Net))| {
            let element = if b.width(*number) > bits {
                let falls = b.slice(*number, bits, 1);
                let falls = b.registered(&format!("falls_{p}"), None, run, falls);
                b.xor(*reached, falls)
            } else {
                *reached
            };
            b.named(format!("element_{p}"), element)
        };
        let beat: Vec<Net> = reached.iter().zip(numbers).enumerate().map(element).collect();
        b.concat(&beat)
    }

    /// Whether levels are searched for. A single threshold is compared with at once.
    fn searches(&self, fold: Folding) -> bool {
        fold.thresholds == Comparing::Search && matches!(self, Self::Activations([a, ..]) if a.steps() > 1)
    }

    /// The search for levels in `table`, of a unit that has sums at most every `interval` edges; `None` if sums are compared with all
    /// thresholds at once.
    pub fn search(&self, raw: &RawSums, table: &Table, fold: Folding, interval: u64) -> Option<Search> {
        let never = (raw.range.1 + 1 + raw.offset()) as u64;
        self.searches(fold).then(|| Search::new(table.clone(), fold, interval, never))
    }

    /// Edges from the sums to the output beat: levels are searched for, or several thresholds are compared with, then counted.
    pub fn latency(&self, fold: Folding) -> u32 {
        match self {
            Self::Activations([a, ..]) if self.searches(fold) => search::latency(a.steps(), fold.cuts),
            Self::Activations([a, ..]) => {
                u32::from(fold.cuts.has(Cuts::Counts) && a.element != Element::Bipolar)
            }
            _ => 0,
        }
    }

    /// The output beat from one raw sum per PE, [`latency`](Self::latency) edges with `run` later.
    pub fn hardware(
        &self,
        b: &mut Builder,
        raw: &RawSums,
        sums: &[Net],
        numbers: Numbers,
        (unit, fold, run): (&str, Folding, Net),
    ) -> Net {
        let beat: Vec<Net> = match (self, numbers) {
            (Self::Activations([activation, ..]), Numbers::Search(search, at, start)) => {
                let codes: Vec<Net> = sums.iter().enumerate().map(|(p, sum)| raw.code(b, p, *sum)).collect();
                let levels = search.hardware(b, unit, &codes, at, (start, run));
                levels.into_iter().map(|level| value(b, activation, level)).collect()
            }
            (Self::Activations(activations), Numbers::Words(words)) => {
                let run = (self.latency(fold) > 0).then_some(run);
                sums.iter()
                    .zip(words)
                    .enumerate()
                    .map(|(p, (sum, numbers))| activate(b, raw, &activations[0], (p, run), *sum, numbers))
                    .collect()
            }
            (Self::Sums(_), Numbers::Words(constants)) => {
                let bits = self.element().bits();
                let constant = raw.constants[0][0];
                sums.iter()
                    .enumerate()
                    .map(|(p, sum)| {
                        let scaled = raw.extend(b, p, *sum, bits, raw.gain == 2);
                        match constants.get(p) {
                            Some(constant) => b.add(scaled, *constant),
                            None if constant == 0 => scaled,
                            None => {
                                let magnitude =
                                    b.constant(bits, constant.unsigned_abs() & (u64::MAX >> (64 - bits)));
                                if constant < 0 { b.sub(scaled, magnitude) } else { b.add(scaled, magnitude) }
                            }
                        }
                    })
                    .collect()
            }
            (_, Numbers::Search(..)) => unreachable!("sums without thresholds"),
        };
        let beat: Vec<Net> =
            beat.into_iter().enumerate().map(|(p, e)| b.named(format!("element_{p}"), e)).collect();
        b.concat(&beat)
    }
}

fn activate(
    b: &mut Builder,
    raw: &RawSums,
    activation: &Activation,
    (p, run): (usize, Option<Net>),
    sum: Net,
    numbers: Net,
) -> Net {
    let bits = raw.threshold_bits();
    let steps = activation.steps() as u32;
    let thresholds = b.slice(numbers, 0, steps * bits);
    let falls = (b.width(numbers) > steps * bits).then(|| b.slice(numbers, steps * bits, 1));
    let sum = raw.code(b, p, sum);
    if activation.element == Element::Bipolar {
        let reached = threshold(b, sum, thresholds);
        return falls.map_or(reached, |falls| b.xor(reached, falls));
    }
    let count = b.instance(
        &format!("u_activation_{p}"),
        &threshold_count(steps, bits, falls.is_some(), run.is_some()),
    );
    run.iter().for_each(|run| b.connect(count, "run", *run));
    b.connect(count, "sum", sum);
    b.connect(count, "thresholds", thresholds);
    falls.iter().for_each(|falls| b.connect(count, "falls", *falls));
    let count = b.out(count, "count");
    value(b, activation, count)
}

/// The element of a level.
fn value(b: &mut Builder, activation: &Activation, level: Net) -> Net {
    let element = activation.element.bits();
    let value = b.zero_extend(level, element);
    match activation.element.encode(activation.least) {
        0 => value,
        least => {
            let least = b.constant(element, least);
            b.add(value, least)
        }
    }
}

//! The channel unit, which layers share that process channels separately.
//!
//! A beat holds PE channels. Beats are ordered by position, then by channel group, then by tap: the order of a line buffer whose
//! channel groups are single channels. The taps are reduced to their sum or their maximum. Pipeline stages for a tap that is
//! accepted at edge t:
//!
//! | after edge | holds |
//! |---|---|
//! | t | the tap; if it is the only one, also the group's thresholds |
//! | t + 1 | the taps reduced so far; the group's thresholds. Omitted if there is one tap |
//! | t + 2 | the output beat, in the stream register |
//!
//! As in the matrix unit, the whole pipeline stalls while the stream register is full and a beat waits to enter it, or whenever it
//! is full. Nothing else stalls it.

use std::sync::Arc;

use stoxnor_hdl::block::counter;
use stoxnor_hdl::{Builder, Module, Net, Role, Stream, index_bits};

use crate::arith::activation::Activations;
use crate::arith::kernel::Sliding;
use crate::arith::pooled::{WindowSum, Zones, sum_range};
use crate::arith::product::computable;
use crate::diagnostic::Result;
use crate::frame::batch::Batch;
use crate::frame::element::Element;
use crate::schedule::{Matrix, Schedule};
use crate::unit::folding::{Cuts, Folding};
use crate::unit::matrix::{Numbers, Output, PipelineEnd, Position, RawSums, Search, Step, Table, width};
use crate::unit::resources::Resources;
use crate::unit::window::{LineBufferStage, WindowConsumer};

/// The reduction of a channel's taps.
#[derive(Debug, Clone, Copy)]
pub enum Reduce<'a> {
    /// The sum, followed by the activation if there is one.
    Sum(&'a Activations),
    /// The maximum. In channels whose entry is true it is the minimum; the list is empty if no entry is true.
    Most(&'a [bool]),
}

/// The parameters of a channel unit, including its line buffer if the kernel needs one.
#[derive(Debug, Clone, Copy)]
pub struct ChannelUnit<'a> {
    /// The module's name.
    pub name: &'a str,
    /// The kernel; every channel is a group of its own.
    pub kernel: &'a Sliding,
    /// Element type of the input frame.
    pub input: Element,
    /// Channels per beat (PE), and the pipeline registers; SIMD is not used.
    pub fold: Folding,
    /// User bits of the streams. If members differ there is one: it marks the frame of the last member.
    pub user: u32,
    /// The reduction of the taps.
    pub reduce: Reduce<'a>,
    /// The zones of the output that have activations of their own; `None` if there is one zone.
    pub zones: Option<&'a Zones>,
}

/// The sums of `taps` inputs as the hardware computes them. Masked bipolar inputs (+1, -1 or 0) are added as 2-bit two's
/// complement numbers. For plain bipolar inputs the hardware counts ones, and y is twice the count minus `taps`.
fn raw_sums(input: Element, masked: bool, taps: usize, rows: usize) -> RawSums {
    let count = taps as i64;
    let (range, gain, constant) = match (input, masked) {
        (Element::Bipolar, false) => ((0, count), 2, -count),
        _ => (sum_range(input, taps), 1, 0),
    };
    let operand = if masked { 2 } else { input.bits() };
    RawSums { range, bits: width(range).max(operand), gain, constants: vec![vec![constant; rows]] }
}

impl WindowSum {
    /// Element type of the output.
    ///
    /// # Errors
    /// If the sums do not fit 31 bits.
    pub fn element(&self, input: Element) -> Result<Element> {
        computable(sum_range(input, self.kernel().window.taps()))?;
        Ok(self.unit("", input, Folding::new(1, 1), 0).element())
    }

    /// The outputs of a batch in a member.
    pub fn fast(&self, frames: &Batch, member: usize) -> Batch {
        let of = |input| self.unit("", input, Folding::new(1, 1), 0).element();
        let activated = self.activations().of(member).map(|a| a.element);
        let element = activated.or_else(|| frames.element().map(of));
        frames.each(element, self.elements(), |frame| self.activated(self.sums(frame), member))
    }

    /// The channel unit for input elements of type `input`.
    pub fn unit<'a>(&'a self, name: &'a str, input: Element, fold: Folding, user: u32) -> ChannelUnit<'a> {
        let reduce = Reduce::Sum(self.activations());
        ChannelUnit { name, kernel: self.kernel(), input, fold, user, reduce, zones: self.zones() }
    }
}

impl ChannelUnit<'_> {
    fn channels(&self) -> usize {
        self.kernel.channels
    }

    fn taps(&self) -> usize {
        self.kernel.window.taps()
    }

    fn sums(&self) -> RawSums {
        let rows = self.channels() * self.zones.map_or(1, Zones::count);
        raw_sums(self.input, self.kernel.masked(), self.taps(), rows)
    }

    /// The output, if taps are summed.
    fn output<'a>(&self, activations: &'a Activations, raw: &RawSums) -> Output<'a> {
        match activations.list() {
            [] => Output::Sums(raw.element(sum_range(self.input, self.taps()))),
            list => Output::Activations(list),
        }
    }

    /// Element type of the output.
    pub fn element(&self) -> Element {
        match self.reduce {
            Reduce::Sum(activations) => self.output(activations, &self.sums()).element(),
            Reduce::Most(_) => self.input,
        }
    }

    /// The memory of numbers per channel: thresholds, constants, or flags of decreasing channels.
    fn table(&self) -> Option<Table> {
        match self.reduce {
            Reduce::Sum(activations) => {
                let raw = self.sums();
                self.output(activations, &raw).table(&raw)
            }
            Reduce::Most(falls) => {
                let falls = falls.iter().map(|f| vec![i64::from(*f)]).collect();
                self.turns().then(|| Table::new("falls", 1, vec![falls], None))
            }
        }
    }

    /// The search for levels; `None` if sums are compared with all thresholds at once, or there is no sum.
    fn search(&self, table: &Table) -> Option<Search> {
        let Reduce::Sum(activations) = self.reduce else { return None };
        let raw = self.sums();
        self.output(activations, &raw).search(&raw, table, self.fold, self.taps() as u64)
    }

    /// Whether some channels take the minimum of several taps.
    fn turns(&self) -> bool {
        matches!(self.reduce, Reduce::Most(falls) if self.taps() > 1 && falls.contains(&true))
    }

    /// The timing without the line buffer.
    fn timing(&self) -> Matrix {
        let steps = self.taps() as u64;
        let operands = (self.kernel.window.positions() * self.channels() / self.fold.pe) as u64;
        let stalls = self.fold.cuts.stalls();
        Matrix { operands, steps, latency: self.latency(), stalls, ..Matrix::default() }
    }

    /// Registers between the input register and the comparison of single taps, while the thresholds leave their memory.
    fn waits(&self) -> u32 {
        let summed = matches!(self.reduce, Reduce::Sum(_)) && self.taps() == 1;
        let read = || self.table().is_some_and(|table| self.search(&table).is_none());
        u32::from(summed && self.fold.cuts.has(Cuts::Words) && read())
    }

    /// Edges from a channel's last tap to the first edge at which its output beat is offered.
    pub fn latency(&self) -> u64 {
        let output = match self.reduce {
            Reduce::Sum(activations) => self.output(activations, &self.sums()).latency(self.fold),
            Reduce::Most(_) => 0,
        };
        u64::from(2 + u32::from(self.taps() > 1) + self.waits() + output)
    }

    fn front(&self) -> Option<LineBufferStage> {
        let fed = WindowConsumer { fold: Folding::new(self.fold.pe, 1), groups: self.fold.pe, folds: 1 };
        LineBufferStage::new(self.kernel, self.input, fed, self.timing(), self.user)
    }

    /// Builds the module, including the line buffer.
    pub fn hardware(&self) -> Arc<Module> {
        let Some(front) = self.front() else { return self.build() };
        let behind = format!("{}_reduce", self.name);
        let behind = ChannelUnit { name: &behind, ..*self }.build();
        let formula = self.kernel.formula("the taps of each channel are reduced");
        front.module(self.name, formula, &self.schedule(), &behind)
    }

    /// The schedule, including the line buffer.
    pub fn schedule(&self) -> Schedule {
        let own = Schedule::matrix(self.timing());
        match self.front() {
            Some(front) => front.schedule(&own),
            None => own,
        }
    }

    /// The resources, including the line buffer.
    pub fn resources(&self) -> Resources {
        Resources {
            lanes: self.fold.pe as u64,
            weight_bits: 0,
            threshold_bits: self.table().map_or(0, |table| {
                self.search(&table).map_or_else(|| table.total_bits(), |search| search.total_bits())
            }),
            buffer_bits: self.front().map_or(0, |front| front.bits()),
        }
    }

    /// Builds the module without the line buffer.
    fn build(&self) -> Arc<Module> {
        let (pe, taps, user) = (self.fold.pe, self.taps() as u64, self.user);
        let element = self.kernel.operand(self.input).bits();
        let table = self.table();
        let mut b = Builder::new(self.name);
        self.document(&mut b, table.as_ref());
        let s = b.stream_input("s", pe as u32 * element + u32::from(self.kernel.flagged()), user);
        let m_ready = b.input("m_ready", 1, Role::Control);
        let width = pe as u32 * self.element().bits();
        let end = PipelineEnd::new(&mut b, (width, user), self.fold.cuts.stalls(), m_ready);
        let PipelineEnd { run, may, .. } = end;
        b.output("s_ready", may, Role::Control);
        // Accepted beats are counted only if a counter needs it.
        let words = table.as_ref().map_or(1, |table| table.depth(pe));
        let take = if taps > 1 || words > 1 {
            let take = b.and(may, s.valid);
            b.named("take", take)
        } else {
            may
        };
        let tap = counter(&mut b, "tap", taps, take);
        let search = table.as_ref().and_then(|table| self.search(table));
        let (mut constants, mut searched) = (Vec::new(), None);
        if let Some(table) = table {
            let tap_end = tap.map(|(_, end)| end);
            let latency = self.waits() + u32::from(taps > 1 && matches!(self.reduce, Reduce::Sum(_)));
            let at = match self.zones {
                Some(zones) => self.zone(&mut b, s, take, tap_end, (zones, &table)),
                None => {
                    let step = self.step(&mut b, s, (run, take), tap_end, &table);
                    table.address(&mut b, pe, step)
                }
            };
            match search {
                None => constants = table.read(&mut b, (self.name, self.fold), at, run, latency),
                Some(search) => searched = Some((search, table.late(&mut b, pe, at, run, latency + 1))),
            }
        }

        let mut input = b.registered("input", None, run, s.data);
        let mut stage = advance(&mut b, "input", run, Stage { valid: s.valid, last: s.last, user: s.user });
        for _ in 0..self.waits() {
            input = b.registered("tap", None, run, input);
            stage = advance(&mut b, "tap", run, stage);
        }
        let accumulating = tap.map(|(q, end)| {
            let first = b.is(q, 0);
            let first = b.registered("first", None, run, first);
            let end = b.registered("end", None, run, end);
            let enable = b.and(run, stage.valid);
            let enable = b.named("accumulate", enable);
            let done = Stage { valid: b.and(stage.valid, end), ..stage };
            stage = advance(&mut b, "done", run, done);
            Accumulating { run, enable, first }
        });
        let data = match self.reduce {
            Reduce::Sum(activations) => {
                let raw = self.sums();
                let sums = self.summed(&mut b, input, accumulating, &raw);
                let output = self.output(activations, &raw);
                let numbers = match searched {
                    None => Numbers::Words(constants),
                    Some((search, at)) => Numbers::Search(search, at, stage.valid),
                };
                for edge in 0..output.latency(self.fold) {
                    let name = if edge == 0 { "reached".to_owned() } else { format!("reached_{edge}") };
                    stage = advance(&mut b, &name, run, stage);
                }
                output.hardware(&mut b, &raw, &sums, numbers, (self.name, self.fold, run))
            }
            Reduce::Most(_) => match accumulating {
                None => input,
                Some(at) => {
                    let outside = self.kernel.flagged().then(|| b.slice(input, pe as u32 * element, 1));
                    self.most(&mut b, input, at, &constants, outside)
                }
            },
        };
        let Stage { valid, last, user } = stage;
        end.finish(&mut b, Stream { data, valid, last, user });
        b.finish()
    }

    /// The element of each PE.
    fn lanes(&self, b: &mut Builder, input: Net) -> Vec<Net> {
        let bits = self.kernel.operand(self.input).bits();
        let lane = |p: u32| {
            let own = b.slice(input, p * bits, bits);
            if own == input { own } else { b.named(format!("tap_{p}"), own) }
        };
        (0..self.fold.pe as u32).map(lane).collect()
    }

    /// The control of the threshold memory: the number of the channel group, and of the position if members differ.
    fn step(
        &self,
        b: &mut Builder,
        s: Stream,
        (run, take): (Net, Net),
        tap_end: Option<Net>,
        table: &Table,
    ) -> Step {
        let groups = (self.channels() / self.fold.pe) as u64;
        let positions = if table.members.len() > 1 { self.kernel.window.positions() as u64 } else { 1 };
        let done = (groups > 1 || positions > 1).then(|| {
            let done = tap_end.map_or(take, |end| b.and(take, end));
            b.named("group_done", done)
        });
        let group = done.and_then(|done| counter(b, "group", groups, done));
        let position = done.filter(|_| positions > 1).map(|done| {
            let done = group.map_or(done, |(_, end)| b.and(done, end));
            let done = b.named("position_done", done);
            let (at, last) = counter(b, "position", positions, done).expect("several");
            Position { at, last }
        });
        Step {
            run,
            issue: take,
            first: None,
            end: tap_end,
            group: group.map(|(q, _)| q),
            loading: None,
            last_group: group.map(|(_, end)| end),
            position,
            last_member: s.user.filter(|_| self.user == 1),
        }
    }

    /// The address of the thresholds of the current channel group: those of the zone that the position lies in, of the member.
    fn zone(
        &self,
        b: &mut Builder,
        s: Stream,
        take: Net,
        tap_end: Option<Net>,
        (zones, table): (&Zones, &Table),
    ) -> Net {
        let groups = (self.channels() / self.fold.pe) as u64;
        let bits = index_bits(table.depth(self.fold.pe));
        let mut done = tap_end.map_or(take, |end| b.and(take, end));
        if tap_end.is_some() {
            done = b.named("group_done", done);
        }
        let mut at: Option<Net> = None;
        let plus = |b: &mut Builder, at: Option<Net>, more: Net| match at {
            Some(at) => b.add(at, more),
            None => more,
        };
        if let Some((group, end)) = counter(b, "group", groups, done) {
            at = Some(b.zero_extend(group, bits));
            done = b.and(done, end);
            done = b.named("position_done", done);
        }
        let differ = table.members.len() > 1;
        for (axis, name) in [(1, "column"), (0, "row")] {
            let runs = zones.runs(axis);
            // Rows are counted if they are in several zones, and columns for them.
            let behind = differ || axis == 1 && zones.runs(0).len() > 1;
            if runs.len() == 1 && !behind {
                continue;
            }
            let Some((q, end)) = counter(b, name, zones.size()[axis] as u64, done) else { continue };
            if runs.len() > 1 {
                let words = |zone: usize| zone as u64 * groups;
                let mut base = b.constant(bits, words(runs[0].1));
                for (first, zone) in &runs[1..] {
                    let first = b.constant(b.width(q), *first as u64);
                    let (before, own) = (b.less(q, first), b.constant(bits, words(*zone)));
                    base = b.mux(before, base, own);
                }
                let base = b.named(format!("{name}_base"), base);
                at = Some(plus(b, at, base));
            }
            if behind {
                done = b.and(done, end);
                done = b.named(format!("{name}_done"), done);
            }
        }
        if differ {
            // The words of a member follow those of the one before it.
            let q = b.register("member_base", bits, Some(0));
            let own = b.constant(bits, table.depth(self.fold.pe) / table.members.len() as u64);
            let (zero, next) = (b.constant(bits, 0), b.add(q, own));
            let back = s.user.expect("members differ");
            let next = b.mux(back, zero, next);
            b.next_if(q, done, next);
            at = Some(plus(b, at, q));
        }
        let at = at.expect("several zones");
        b.named("thresholds_at", at)
    }

    /// The sum of the taps of each lane.
    fn summed(
        &self,
        b: &mut Builder,
        input: Net,
        accumulating: Option<Accumulating>,
        raw: &RawSums,
    ) -> Vec<Net> {
        let lanes = self.lanes(b, input);
        let Some(at) = accumulating else { return lanes };
        let signed = raw.range.0 < 0;
        let sum = |(p, x): (usize, Net)| {
            let x = if signed { b.sign_extend(x, raw.bits) } else { b.zero_extend(x, raw.bits) };
            at.accumulator(b, &format!("sum_{p}"), raw.bits, |b, before| b.add(before, x))
        };
        lanes.into_iter().enumerate().map(sum).collect()
    }

    /// The maximum tap of each lane, or the minimum if its channel is decreasing.
    ///
    /// Codes are compared as unsigned numbers: two's complement codes have their top bit inverted, and all bits are inverted to
    /// find a minimum. Then 0 is the smallest code, which also stands for padding.
    fn most(
        &self,
        b: &mut Builder,
        input: Net,
        at: Accumulating,
        falls: &[Net],
        outside: Option<Net>,
    ) -> Net {
        let bits = self.input.bits();
        let turned = |b: &mut Builder, code: Net, falls: Option<Net>| {
            let top = matches!(self.input, Element::Signed(_)).then(|| b.constant(bits, 1 << (bits - 1)));
            let falls = falls.map(|f| b.sign_extend(f, bits));
            [top, falls].into_iter().flatten().fold(code, |code, mask| b.xor(code, mask))
        };
        let inside = outside.map(|outside| {
            let inside = b.not(outside);
            let inside = b.named("in_image", inside);
            let mask = b.sign_extend(inside, bits);
            if mask == inside { mask } else { b.named("mask", mask) }
        });
        let beat: Vec<Net> = self
            .lanes(b, input)
            .into_iter()
            .enumerate()
            .map(|(p, x)| {
                let x = turned(b, x, falls.get(p).copied());
                let x = inside.map_or(x, |inside| b.and(x, inside));
                let x = b.named(format!("code_{p}"), x);
                let most = at.accumulator(b, &format!("most_{p}"), bits, |b, before| match bits {
                    1 => b.or(before, x),
                    _ => {
                        let before = b.named(format!("before_{p}"), before);
                        let more = b.less(before, x);
                        b.mux(more, x, before)
                    }
                });
                let falls = falls.get(p).map(|f| b.registered(&format!("most_falls_{p}"), None, at.run, *f));
                let back = turned(b, most, falls);
                b.named(format!("element_{p}"), back)
            })
            .collect();
        b.concat(&beat)
    }

    fn document(&self, b: &mut Builder, table: Option<&Table>) {
        let (channels, taps) = (self.channels(), self.taps());
        let operand = self.kernel.operand(self.input);
        let Matrix { operands: groups, latency, .. } = self.timing();
        b.doc(format!(
            "{channels} channels of {operand} elements, {taps} taps t of each, channel by channel:"
        ));
        match self.reduce {
            Reduce::Sum(activations) => {
                let raw = self.sums();
                b.doc(self.output(activations, &raw).formula("y[r] = sum of x[t] of channel r"));
            }
            Reduce::Most(_) => {
                let least = if self.turns() { "; where the channel falls, the smallest" } else { "" };
                b.doc(format!("element r of a frame is the largest x[t] of channel r{least}."));
            }
        }
        if self.kernel.flagged() {
            b.doc("A tap counts nothing where the bit above it is 1: it is outside of the image.");
        }
        let positions = self.kernel.window.positions();
        if positions > 1 {
            b.doc(format!("A frame is {positions} positions, each an output frame of all channels."));
        }
        let beats = groups * taps as u64;
        b.doc(format!("PE {}: {beats} beats in, {groups} beats out, {beats} cycles a frame.", self.fold.pe));
        if let Some(table) = table {
            match self.search(table) {
                None => b.doc(table.layout(self.fold.pe)),
                Some(search) => search.layout().into_iter().for_each(|line| b.doc(line)),
            }
        }
        if let Some(zones) = self.zones {
            let axis = |axis: usize| {
                let from: Vec<String> =
                    zones.runs(axis).iter().map(|(at, zone)| format!("{zone} from {at}")).collect();
                from.join(", ")
            };
            b.doc(format!(
                "Row z * {channels} + c is channel c in zone z of the image, which the row ({}) and the column ({}) add up to.",
                axis(0),
                axis(1)
            ));
        }
        b.doc(format!(
            "Timing: the output of a channel group is offered {latency} edges after its last tap."
        ));
    }
}

/// Signals of the tap in the input register.
#[derive(Clone, Copy)]
struct Accumulating {
    /// The pipeline moves at the coming edge.
    run: Net,
    /// A tap is accumulated at the coming edge.
    enable: Net,
    /// The tap is the first one.
    first: Net,
}

impl Accumulating {
    /// A register `<name>_q` that loads `with(its value, or 0 at the first tap)`.
    fn accumulator(
        self,
        b: &mut Builder,
        name: &str,
        bits: u32,
        with: impl FnOnce(&mut Builder, Net) -> Net,
    ) -> Net {
        let q = b.register(name, bits, None);
        let zero = b.constant(bits, 0);
        let before = b.mux(self.first, zero, q);
        let next = with(b, before);
        b.next_if(q, self.enable, next);
        q
    }
}

/// What goes along with the data of a pipeline stage.
#[derive(Clone, Copy)]
struct Stage {
    valid: Net,
    last: Net,
    user: Option<Net>,
}

/// The stage one edge with `run` later.
fn advance(b: &mut Builder, name: &str, run: Net, Stage { valid, last, user }: Stage) -> Stage {
    Stage {
        valid: b.registered(&format!("{name}_valid"), Some(0), run, valid),
        last: b.registered(&format!("{name}_last"), None, run, last),
        user: user.map(|net| b.registered(&format!("{name}_user"), None, run, net)),
    }
}

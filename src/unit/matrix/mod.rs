//! The matrix unit: the multiplier of dense and convolution layers, with its forms, weight sources and outputs.
//!
//! An operand of `fan_in` elements arrives in beats of SIMD elements. Rows are computed PE at a time. The first row group uses
//! the operand as it arrives and stores it in a buffer; the other row groups read it from the buffer. A frame has one or more
//! operands ([`RowGroups`]): one per position of a kernel, and at each position one per channel group. Pipeline stages:
//!
//! | after edge | holds |
//! |---|---|
//! | t (the step is issued) | the operand, the word of the weight source |
//! | t + 1 | the sums of the processing elements; the group's thresholds |
//! | t + 2 | the output beat, in the stream register |
//!
//! [`Cuts`](crate::unit::folding::Cuts) put further registers between these; a slower weight source does too. The whole pipeline
//! stalls while the stream register is full and a beat waits to enter it, or whenever it is full
//! ([`Stalls`](crate::schedule::Stalls)). Nothing else stalls it, so control depends on valid and ready only.
//!
//! May use: `frame`, `arith`, `schedule`, `unit`. Used by: the channel unit, `layer`.

mod end;
mod fly;
mod form;
mod output;
mod product;
mod rom;
mod sampled;
mod search;
mod source;
mod table;

use std::sync::Arc;

use stoxnor_hdl::block::{counter, counter_begins, ram, rom, rom_dp16kd};
use stoxnor_hdl::{Builder, Image, Module, Net, Role, Stream};

use crate::arith::matrix::IntMatrix;
use crate::schedule::Matrix;
use crate::unit::folding::{Folding, Roms};

pub use end::PipelineEnd;
pub use fly::{Fly, Sampler};
pub use form::{Accumulate, BitPlanes, Form, Operands};
pub(crate) use output::width;
pub use output::{Numbers, Output, RawSums};
pub use product::Unit;
pub use rom::Rom;
pub use sampled::Sampled;
pub use search::Search;
pub use source::{Position, Step, WeightSource, Word};
pub use table::Table;

/// The row groups of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowGroups {
    /// Number of positions of a kernel: all rows are computed once per position.
    pub positions: usize,
    /// Number of neighbouring rows with the same operand: those of a channel group. It divides the rows. PE divides it, or is a
    /// multiple of it.
    pub group_rows: usize,
}

impl RowGroups {
    /// One position in which all `rows` rows use the same operand.
    pub fn once(rows: usize) -> Self {
        Self { positions: 1, group_rows: rows }
    }

    /// Channel groups that are computed in parallel.
    pub fn side(self, fold: Folding) -> usize {
        (fold.pe / self.group_rows).max(1)
    }

    /// Row groups that use the same operand, one after another.
    pub fn folds(self, fold: Folding) -> usize {
        (self.group_rows / fold.pe).max(1)
    }

    /// Operands per position.
    pub fn operands(self, fold: Folding, rows: usize) -> usize {
        rows / self.group_rows.max(fold.pe)
    }
}

/// The parameters of a matrix unit.
#[derive(Debug)]
pub struct MatrixUnit<'a> {
    /// The module's name.
    name: &'a str,
    /// The weights of each member, or one matrix if all members share it. They determine widths and constants.
    members: Vec<&'a IntMatrix>,
    /// PE and SIMD.
    fold: Folding,
    /// The row groups of a frame.
    passes: RowGroups,
    /// User bits of the streams.
    user: u32,
    /// The encoding of the weights, and the processing elements.
    form: &'a dyn Form,
    /// The source of weight words.
    source: &'a dyn WeightSource,
    /// The output of the unit.
    output: Output<'a>,
    /// The raw sums of its processing elements.
    raw: RawSums,
}

/// Signals of a step in a pipeline stage.
struct Stage {
    valid: Net,
    /// First step of a row group; `None` if there is one step per row group.
    first: Option<Net>,
    /// Last step of a row group; `None` if there is one step per row group.
    end: Option<Net>,
    /// `last`: the last step of a frame whose input had `last`.
    last: Net,
    user: Option<Net>,
}

impl<'a> MatrixUnit<'a> {
    /// A unit called `name` for the weights of each member (one matrix if all members share it). The streams have `user` user
    /// bits. If members differ there is one: it marks the frame of the last member.
    pub fn new(
        name: &'a str,
        members: Vec<&'a IntMatrix>,
        (fold, passes): (Folding, RowGroups),
        user: u32,
        form: &'a dyn Form,
        source: &'a dyn WeightSource,
        output: Output<'a>,
    ) -> Self {
        let raw = form.raw_sums(&members);
        Self { name, members, fold, passes, user, form, source, output, raw }
    }

    /// The unit with a bias added to each row's sum. The output type must have room for it.
    #[must_use]
    pub fn adding(mut self, biases: &[i32]) -> Self {
        for constants in &mut self.raw.constants {
            constants.iter_mut().zip(biases).for_each(|(constant, bias)| *constant += i64::from(*bias));
        }
        self
    }

    fn rows(&self) -> usize {
        self.members[0].rows()
    }

    fn fan_in(&self) -> usize {
        self.members[0].columns()
    }

    /// Whether sums begin with their negative thresholds, so that elements are their signs: one comparison for an element, and sums of
    /// several steps, whose adder can take the threshold.
    fn starts(&self) -> bool {
        self.output.is_sign() && self.fan_in() > self.fold.simd
    }

    /// The memory of thresholds or constants.
    fn table(&self) -> Option<Table> {
        if self.starts() { Some(self.output.starts(&self.raw)) } else { self.output.table(&self.raw) }
    }

    /// Bits of the sums that processing elements compute.
    fn sum_bits(&self) -> u32 {
        self.raw.bits + u32::from(self.starts())
    }

    /// The search for levels; `None` if sums are compared with all thresholds at once.
    fn search(&self, table: &Table) -> Option<Search> {
        self.output.search(&self.raw, table, self.fold, (self.fan_in() / self.fold.simd) as u64)
    }

    /// Bits of the memories of thresholds or constants.
    pub fn table_bits(&self) -> u64 {
        let Some(table) = self.table() else { return 0 };
        self.search(&table).map_or_else(|| table.total_bits(), |search| search.total_bits())
    }

    /// Bits of the weight memories.
    pub fn weight_bits(&self) -> u64 {
        self.source.memory_bits()
    }

    /// Edges from a row group's last step to its sums: through the weight source, the processing elements' registers, and the
    /// accumulator.
    fn summed(&self) -> u32 {
        self.source.latency() + self.form.latency(self.fold) + 1
    }

    /// Edges from a row group's last step to the first edge at which its output beat is offered.
    fn latency(&self) -> u64 {
        u64::from(self.summed() + self.output.latency(self.fold) + 1)
    }

    /// The timing of the unit.
    pub fn timing(&self) -> Matrix {
        let operands = self.passes.operands(self.fold, self.rows());
        Matrix {
            operands: (self.passes.positions * operands) as u64,
            folds: self.passes.folds(self.fold) as u64,
            steps: (self.fan_in() / self.fold.simd) as u64,
            latency: self.latency(),
            burst: 1,
            sampled: self.source.sampling(),
            stalls: self.fold.cuts.stalls(),
        }
    }

    /// Elements per input beat: SIMD per channel group that is computed in parallel.
    fn operand_lanes(&self) -> usize {
        self.fold.simd * self.passes.side(self.fold)
    }

    /// Builds the module.
    pub fn build(&self) -> Arc<Module> {
        let pe = self.fold.pe;
        let Matrix { folds, steps, .. } = self.timing();
        let operands = self.passes.operands(self.fold, self.rows()) as u64;
        let mut b = Builder::new(self.name);
        self.document(&mut b);
        let s = b.stream_input("s", self.operand_lanes() as u32 * self.form.input().bits(), self.user);
        let m_ready = b.input("m_ready", 1, Role::Control);

        let output_width = pe as u32 * self.output.element().bits();
        let end = PipelineEnd::new(&mut b, (output_width, self.user), self.fold.cuts.stalls(), m_ready);
        let PipelineEnd { run, may, .. } = end;

        // Issue: a step of the first row group needs an input beat; other row groups read the operand buffer.
        let issue = b.wire("issue", 1);
        let step = counter(&mut b, "step", steps, issue);
        let step_end = step.map(|(_, end)| end);
        let first = step.map(|step| counter_begins(&mut b, "step_first", step, issue));
        // Positions are counted only if something depends on the frame.
        let table = self.table();
        let frames = self.source.tells_frames() || table.as_ref().is_some_and(|t| t.members.len() > 1);
        let positions = self.passes.positions as u64;
        let group_done = (folds * operands > 1 || frames && positions > 1).then(|| {
            let done = step_end.map_or(issue, |end| b.and(issue, end));
            b.named("group_done", done)
        });
        let fold = group_done.and_then(|done| counter(&mut b, "fold", folds, done));
        // With one operand per position, the row groups are the folds.
        let group = match (group_done, folds, operands) {
            (_, _, 1) | (None, ..) => fold,
            (Some(done), ..) => counter(&mut b, "group", folds * operands, done),
        };
        // A flip-flop: the path to the input's ready begins here.
        let loading = fold.zip(group_done).map(|((_, end), done)| {
            let loading = b.register("loading", 1, Some(1));
            b.next_if(loading, done, end);
            loading
        });
        let position = group_done.filter(|_| frames && positions > 1).map(|done| {
            let done = group.map_or(done, |(_, end)| b.and(done, end));
            let done = b.named("position_done", done);
            let (at, last) = counter(&mut b, "position", positions, done).expect("several");
            Position { at, last }
        });
        let take = loading.map_or(issue, |loading| {
            let take = b.and(issue, loading);
            b.named("take", take)
        });
        let (last, user) = self.carried(&mut b, s, take, loading);
        let control = Step {
            run,
            issue,
            first,
            end: step_end,
            group: group.map(|(q, _)| q),
            loading: loading.filter(|_| operands == 1),
            last_group: group.map(|(_, end)| end),
            position,
            last_member: user.filter(|_| self.user == 1),
        };
        let Word { word: weights, ready: source_ready } = self.source.hardware(&mut b, control);
        let may = source_ready.map_or(may, |ready| {
            let may = b.and(may, ready);
            b.named("may_issue", may)
        });
        let (ready, can_issue) = match loading {
            None => (may, b.and(may, s.valid)),
            Some(loading) => {
                let ready = b.and(may, loading);
                let again = b.not(loading);
                let operand = b.or(again, s.valid);
                (ready, b.and(may, operand))
            }
        };
        b.drive(issue, can_issue);
        b.output("s_ready", ready, Role::Control);
        // Thresholds or constants come from a memory beside the weights: for a sum's first step, or for what it has become.
        let sign = self.starts();
        let number_bits = table.as_ref().map_or(0, |table| table.bits);
        let behind = self.summed() - 1 - u32::from(sign);
        let search = table.as_ref().and_then(|table| self.search(table));
        let mut constants = Vec::new();
        let mut searched = None;
        if let Some(table) = table {
            let at = table.address(&mut b, pe, control);
            match search {
                None => constants = table.read(&mut b, (self.name, self.fold), at, run, behind),
                Some(search) => searched = Some((search, table.late(&mut b, pe, at, run, behind + 1))),
            }
        }
        let stage = Stage {
            valid: issue,
            first,
            end: step_end,
            last: match fold {
                None => last,
                Some((_, end)) => b.and(end, last),
            },
            user,
        };
        let (operand, edges) = self.operand(&mut b, s, (run, take), step.map(|(q, _)| q), loading);
        let mut operand = self.form.prepare(&mut b, self, operand);
        let mut stage = self.advance(&mut b, "a", run, stage);
        for extra in 1..self.source.latency() {
            // The operand is delayed to match a slower weight source.
            if extra >= edges {
                operand = b.registered(&format!("operand_{extra}"), None, run, operand);
            }
            stage = self.advance(&mut b, &format!("a{extra}"), run, stage);
        }

        for cut in 0..self.form.latency(self.fold) {
            stage = self.advance(&mut b, &format!("cut{cut}"), run, stage);
        }
        let enable = b.and(run, stage.valid);
        let enable = b.named("accumulate", enable);
        let start = |(p, numbers): (usize, &Net)| {
            let own = b.slice(*numbers, 0, number_bits);
            let own = b.named(format!("start_{p}"), own);
            b.sign_extend(own, self.sum_bits())
        };
        let starts: Vec<Net> = if sign { constants.iter().enumerate().map(start).collect() } else { vec![] };
        let accumulate = Accumulate { run, enable, first: stage.first, starts: &starts };
        let sums = self.form.processing_elements(&mut b, self, Operands { operand, weights }, accumulate);
        let valid = stage.end.map_or(stage.valid, |end| b.and(stage.valid, end));
        let done = Stage { valid, first: None, end: None, ..stage };
        let mut done = self.advance(&mut b, "sum", run, done);
        let data = match sign {
            true => Output::signs(&mut b, &sums, &constants, number_bits, run),
            false => {
                let numbers = match searched {
                    None => Numbers::Words(constants),
                    Some((search, at)) => Numbers::Search(search, at, done.valid),
                };
                self.output.hardware(&mut b, &self.raw, &sums, numbers, (self.name, self.fold, run))
            }
        };
        for edge in 0..self.output.latency(self.fold) {
            let name = if edge == 0 { "reached".to_owned() } else { format!("reached_{edge}") };
            done = self.advance(&mut b, &name, run, done);
        }
        end.finish(&mut b, Stream { data, valid: done.valid, last: done.last, user: done.user });
        b.finish()
    }

    fn document(&self, b: &mut Builder) {
        let Folding { pe, simd, .. } = self.fold;
        let Matrix { operands, folds, steps, .. } = self.timing();
        let (kind, input) = (self.form.kind(), self.form.input());
        b.doc(format!("{} rows of fan-in {}, {kind} weights, {input} inputs:", self.rows(), self.fan_in()));
        b.doc(self.output.formula("y[r] = sum of w[r][c] * x[c]"));
        if self.passes.positions > 1 {
            b.doc(format!(
                "A frame is {} positions, each an output frame y of all rows.",
                self.passes.positions
            ));
        }
        let (shared, side) = (self.passes.group_rows, self.passes.side(self.fold));
        if shared < self.rows() {
            let beats = match side {
                1 => "one after another".to_owned(),
                _ => format!("{side} side by side, element by element of each"),
            };
            b.doc(format!("Rows {shared} by {shared} take operands x of their own, {beats}."));
        }
        b.doc(format!(
            "PE {pe}, SIMD {simd}: {} beats in, {} beats out, {} cycles a frame.",
            operands * steps,
            operands * folds,
            operands * folds * steps
        ));
        self.source.document(b);
        if let Some(table) = self.table() {
            match self.search(&table) {
                None => b.doc(table.layout(pe)),
                Some(search) => search.layout().into_iter().for_each(|line| b.doc(line)),
            }
        }
        b.doc(format!(
            "Timing: the output of a row group is offered {} edges after its last step.",
            self.latency()
        ));
    }

    /// `last` of the frame's final beat, held for its last row group; and the user bits of the current frame.
    fn carried(&self, b: &mut Builder, s: Stream, take: Net, loading: Option<Net>) -> (Net, Option<Net>) {
        let Some(loading) = loading else { return (s.last, s.user) };
        let last = b.registered("kept_last", None, take, s.last);
        let user = s.user.map(|user| {
            let kept = b.registered("kept_user", None, take, user);
            let user = b.mux(loading, user, kept);
            b.named("frame_user", user)
        });
        (last, user)
    }

    /// The operand of an issued step, and the edges from its issue: one, or two where the weight source has them too. Read from its
    /// buffer one edge later, an operand needs no choice between the buffer and the input; what a form computes from operands needs
    /// that edge itself. `run` moves the pipeline, and `take` accepts an input beat.
    fn operand(
        &self,
        b: &mut Builder,
        s: Stream,
        (run, take): (Net, Net),
        step: Option<Net>,
        loading: Option<Net>,
    ) -> (Net, u32) {
        let Some(loading) = loading else { return (b.registered("input", None, run, s.data), 1) };
        let Some(at) = step else { return (b.registered("operand", None, take, s.data), 1) };
        if self.source.latency() > 1 && !self.form.prepares() {
            let read_at = b.registered("operand_at", None, run, at);
            return (self.buffered(b, s, (run, take), [at, read_at]), 2);
        }
        let fresh = b.registered("input", None, run, s.data);
        let again = self.buffered(b, s, (run, take), [at; 2]);
        let is_fresh = b.registered("input_is_operand", None, run, loading);
        let operand = b.mux(is_fresh, fresh, again);
        (b.named("operand", operand), 1)
    }

    /// A word of the operand buffer, in which `take` stores the input beat; `at` are the addresses of writing and reading.
    fn buffered(&self, b: &mut Builder, s: Stream, (run, take): (Net, Net), at: [Net; 2]) -> Net {
        let depth = (self.fan_in() / self.fold.simd) as u32;
        let buffer = b.instance("u_operands", &ram(depth, b.width(s.data)));
        for (port, net) in [
            ("write_address", at[0]),
            ("write_enable", take),
            ("write_data", s.data),
            ("read_address", at[1]),
            ("read_enable", run),
        ] {
            b.connect(buffer, port, net);
        }
        b.out(buffer, "read_data")
    }

    /// The stage one edge later.
    fn advance(&self, b: &mut Builder, name: &str, run: Net, stage: Stage) -> Stage {
        Stage {
            valid: b.registered(&format!("{name}_valid"), Some(0), run, stage.valid),
            first: stage.first.map(|n| b.registered(&format!("{name}_first"), None, run, n)),
            end: stage.end.map(|n| b.registered(&format!("{name}_end"), None, run, n)),
            last: b.registered(&format!("{name}_last"), None, run, stage.last),
            user: stage.user.map(|n| b.registered(&format!("{name}_user"), None, run, n)),
        }
    }
}

/// A ROM of a unit.
pub(crate) struct Words<'a> {
    /// Name of the instance.
    pub name: &'a str,
    /// The parameter of the surrounding module that names its contents.
    pub parameter: &'a str,
    /// Its words, and the name of their file.
    pub image: Image,
    /// Name of a register behind the memory, if there is one: words come two edges after their addresses then.
    pub behind: Option<&'a str>,
}

impl Words<'_> {
    /// The words, read at `address` where `enable` is 1.
    pub(crate) fn read(self, b: &mut Builder, roms: Roms, address: Net, enable: Net) -> Net {
        let image = Arc::new(self.image);
        let placed = self.behind.filter(|_| roms == Roms::Ecp5).and_then(|_| rom_dp16kd(&image));
        let memory = match &placed {
            Some(rom) => b.instance(self.name, rom),
            None => {
                let file = b.parameter(self.parameter, Some(Arc::clone(&image)));
                let memory = b.instance(self.name, &rom(image.words.len() as u32, image.words[0].width()));
                b.bind(memory, "INIT_FILE", file);
                memory
            }
        };
        b.connect(memory, "address", address);
        b.connect(memory, "enable", enable);
        let word = b.out(memory, "data");
        match self.behind.filter(|_| placed.is_none()) {
            Some(name) => b.registered(name, None, enable, word),
            None => word,
        }
    }
}

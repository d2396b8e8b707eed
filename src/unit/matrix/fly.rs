//! Stochastic rounding in hardware, and weights that are rounded on the fly.

use stoxnor_hdl::block::{RoundingLane, counter_begins, lfsr, lfsr_window};
use stoxnor_hdl::{Bits, Builder, Image, Net, index_bits};

use crate::arith::lfsr::before;
use crate::arith::stochastic::{Law, Rounding, StochasticMatrix};
use crate::unit::folding::{Cuts, Folding};
use crate::unit::matrix::Words;
use crate::unit::matrix::source::{Step, WeightSource, Word, address, all};

/// The hardware that rounds the real weights of a layer.
#[derive(Debug, Clone, Copy)]
pub struct Sampler<'a> {
    /// Name of the layer, used for the memory images.
    pub name: &'a str,
    /// The real weights.
    pub matrix: &'a StochasticMatrix,
    /// max_members, the number of members that the hardware supports.
    pub members: usize,
    /// PE and SIMD.
    pub fold: Folding,
}

/// The control of a [`Sampler`]'s random words. Every net refers to the edge at which `advance` is 1.
pub(crate) struct Pace {
    /// The random words of the next step are requested.
    pub advance: Net,
    /// First step of a row group; `None` if there is one step per row group.
    pub first: Option<Net>,
    /// First row group of a frame, if frames have one start value; `None` if there is one row group.
    pub first_group: Option<Net>,
    /// Last step of a row group; `None` if there is one step per row group.
    pub end: Option<Net>,
    /// Last row group of a frame; `None` if there is one.
    pub last_group: Option<Net>,
    /// Control of the memory of LFSR start values; `None` if there is one start value.
    pub fetch: Option<Fetch>,
}

#[derive(Clone, Copy)]
pub(crate) struct Fetch {
    pub now: Net,
    pub first: Option<Net>,
    /// (again, leaves). `again`: the next start value is that of the frame's beginning again. `leaves`: the edge with `now` at
    /// which the frame ends.
    pub again: Option<(Net, Net)>,
    /// Whether a start value is used two edges after `now` or later, and the first one is fetched without it: the address of the
    /// memory is a register then.
    pub late: bool,
}

impl Sampler<'_> {
    pub(crate) fn rounding(&self) -> Rounding {
        self.matrix.rounding()
    }

    fn lane(&self) -> RoundingLane {
        match self.rounding().law {
            Law::Binary => RoundingLane::Binary,
            Law::Ternary => RoundingLane::Ternary,
        }
    }

    fn code_bits(&self) -> u32 {
        self.lane().code_bits(self.rounding().bits)
    }

    pub(crate) fn groups(&self) -> usize {
        self.matrix.rows() / self.fold.pe
    }

    pub(crate) fn steps(&self) -> usize {
        self.matrix.columns() / self.fold.simd
    }

    /// Random bits per step.
    fn leap(&self) -> u32 {
        self.fold.simd as u32 * self.rounding().bits
    }

    /// Rows of a row group that share random words; at most the whole row group.
    pub(crate) fn shared(&self) -> usize {
        self.rounding().share.min(self.fold.pe)
    }

    /// Number of LFSRs that run in parallel: one per group of rows that shares random bits.
    fn generators(&self) -> usize {
        self.fold.pe / self.shared()
    }

    /// Number of consecutive row groups that use the same random words.
    fn repeats(&self) -> usize {
        let share = self.rounding().share;
        if share >= self.matrix.rows() { self.groups() } else { (share / self.fold.pe).max(1) }
    }

    /// Start values per frame. It is one; with several LFSRs, one per row group, because each LFSR skips the bits of the others.
    pub(crate) fn starts(&self) -> usize {
        if self.generators() > 1 { self.groups() } else { 1 }
    }

    /// Bits of a rounded weight.
    pub(crate) fn weight_bits(&self) -> u32 {
        self.rounding().law.kind().bits()
    }

    /// The start values of the LFSRs: for each member and each start, the bits before its first random bit.
    fn start_words(&self) -> Vec<Bits> {
        let window = lfsr_window(self.leap());
        let mut words = Vec::new();
        for member in 0..self.members {
            for start in 0..self.starts() {
                let mut word = Bits::zero(window * self.generators() as u32);
                for generator in 0..self.generators() {
                    let share = start * self.generators() + generator;
                    let at = self.rounding().start(share, self.matrix.columns());
                    let bits = before(self.matrix.seed(member), at, window as usize);
                    for (i, bit) in bits.into_iter().enumerate() {
                        word.set((generator as u32 + 1) * window - 1 - i as u32, bit);
                    }
                }
                words.push(word);
            }
        }
        words
    }

    /// The stored numbers of `rows` rows from row `row` on, for the columns of a step.
    fn codes(&self, row: usize, rows: usize, step: usize) -> Bits {
        let simd = self.fold.simd;
        let bits = self.code_bits() as usize;
        let mut word = Bits::zero((rows * bits * simd) as u32);
        for p in 0..rows {
            for lane in 0..simd {
                let number = self.matrix.code(row + p, step * simd + lane);
                let code = self.lane().code(self.rounding().bits, number);
                for j in (0..bits).filter(|j| code >> j & 1 == 1) {
                    word.set(((p * bits + j) * simd + lane) as u32, true);
                }
            }
        }
        word
    }

    /// The memory of stored numbers, `rows` rows per word. The address advances at `step`, and returns to 0 at a step with
    /// `back`. `behind` names a register behind the memory, if there is one.
    pub(crate) fn numbers(
        &self,
        b: &mut Builder,
        rows: usize,
        enable: Net,
        step: Net,
        back: impl FnOnce(&mut Builder) -> Net,
        behind: Option<&str>,
    ) -> Net {
        let mut words = Vec::new();
        for group in 0..self.groups() {
            for step in 0..self.steps() {
                let at = |part: usize| group * self.fold.pe + part * rows;
                words.extend((0..self.fold.pe / rows).map(|part| self.codes(at(part), rows, step)));
            }
        }
        let address = address(b, "number_at", words.len() as u64, step, None, |b, _| back(b));
        let words = Words {
            name: "u_weights",
            parameter: "WEIGHTS_FILE",
            image: Image { file: format!("{}_weights.mem", self.name), words },
            behind,
        };
        words.read(b, self.fold.roms, address, enable)
    }

    /// The LFSRs. Returns the random words of each, one edge after `advance`.
    pub(crate) fn sequences(&self, b: &mut Builder, pace: &Pace) -> Vec<Net> {
        let starts = self.start_words();
        let window = lfsr_window(self.leap());
        let start = if starts.len() == 1 {
            let word = starts[0].clone();
            let parts: Vec<Net> = (0..word.width())
                .step_by(64)
                .map(|low| {
                    let width = 64.min(word.width() - low);
                    b.constant(width, word.extract(low, width))
                })
                .collect();
            let start = b.concat(&parts);
            b.named("start", start)
        } else {
            // The memory's output register holds the next start value; it is fetched when the previous one is used, or an edge later.
            let fetch = pace.fetch.expect("several starts are fetched");
            let last = starts.len() as u64 - 1;
            let bits = index_bits(starts.len() as u64);
            let at = b.register("start_at", bits, Some(if fetch.late { 0 } else { last }));
            let wraps = b.is(at, last);
            let wraps = fetch.first.map_or(wraps, |first| b.or(first, wraps));
            let (zero, one) = (b.constant(bits, 0), b.constant(bits, 1));
            let up = b.add(at, one);
            let mut next = b.mux(wraps, zero, up);
            if let Some((again, leaves)) = fetch.again {
                let next_frame = b.named("start_of_next", next);
                let base = b.registered("start_base", Some(0), leaves, next_frame);
                next = b.mux(again, base, next_frame);
            }
            let next = b.named("start_next", next);
            b.next_if(at, fetch.now, next);
            let words = Words {
                name: "u_starts",
                parameter: "STARTS_FILE",
                image: Image { file: format!("{}_starts.mem", self.name), words: starts },
                behind: None,
            };
            let (at, now) = if fetch.late {
                let pending = b.register("start_pending", 1, Some(1));
                b.next(pending, fetch.now);
                (at, pending)
            } else {
                (next, fetch.now)
            };
            words.read(b, self.fold.roms, at, now)
        };
        let (load, restore) = self.begins(b, pace);
        let module = lfsr(self.leap(), restore.is_some());
        (0..self.generators() as u32)
            .map(|g| {
                let name = if self.generators() == 1 { "u_lfsr".to_owned() } else { format!("u_lfsr_{g}") };
                let unit = b.instance(&name, &module);
                b.connect(unit, "enable", pace.advance);
                b.connect(unit, "load", load);
                let own = b.slice(start, g * window, window);
                b.connect(unit, "start", own);
                if let Some((keep, again)) = restore {
                    b.connect(unit, "keep", keep);
                    b.connect(unit, "again", again);
                }
                b.out(unit, "words")
            })
            .collect()
    }

    /// The control of the LFSRs: when they load a start value; and, if row groups repeat random words, when the state is saved
    /// and when it is restored.
    fn begins(&self, b: &mut Builder, pace: &Pace) -> (Net, Option<(Net, Net)>) {
        let always = |b: &mut Builder| b.constant(1, 1);
        let Some(frame) = pace.first_group else {
            let load = pace.first.unwrap_or_else(|| always(b));
            return (load, None);
        };
        let load = all(b, [Some(frame), pace.first]).expect("the row group is there");
        let load = b.named("frame_begins", load);
        if self.repeats() == 1 {
            return (load, None);
        }
        // Counts the row groups that share random words; the last set may be smaller.
        let done = pace.end.map_or(pace.advance, |end| {
            let done = b.and(pace.advance, end);
            b.named("words_done", done)
        });
        let repeats = self.repeats() as u64;
        let repeat = b.register("repeat", index_bits(repeats), Some(0));
        let mut end = b.is(repeat, repeats - 1);
        if let Some(last) = pace.last_group.filter(|_| !self.groups().is_multiple_of(self.repeats())) {
            end = b.or(end, last);
        }
        let end = b.named("words_end", end);
        let (zero, one) = (b.constant(b.width(repeat), 0), b.constant(b.width(repeat), 1));
        let up = b.add(repeat, one);
        let next = b.mux(end, zero, up);
        b.next_if(repeat, done, next);
        let fresh = counter_begins(b, "fresh_words", (repeat, end), done);
        let keep = all(b, [Some(fresh), pace.first]).expect("the repeat is there");
        let more = b.not(fresh);
        let again = all(b, [Some(more), pace.first]).expect("the repeat is there");
        (load, Some((keep, again)))
    }

    /// Total number of start values.
    pub(crate) fn all_starts(&self) -> usize {
        self.members * self.starts()
    }

    /// 1 at the first edge after reset, when the first start value is fetched.
    pub(crate) fn initial(b: &mut Builder) -> Net {
        let begun = b.register("begun", 1, Some(0));
        let one = b.constant(1, 1);
        b.next(begun, one);
        let initial = b.not(begun);
        b.named("after_reset", initial)
    }

    /// Rounds one row's stored numbers. Returns the weights in the encoding of a [`Form`](crate::unit::matrix::Form).
    pub(crate) fn round(&self, b: &mut Builder, name: &str, words: Net, code: Net) -> Net {
        let unit = b.instance(name, &self.lane().build(self.fold.simd as u32, self.rounding().bits));
        b.connect(unit, "words", words);
        b.connect(unit, "code", code);
        let w = b.out(unit, "w");
        match self.lane() {
            RoundingLane::Binary => w,
            RoundingLane::Ternary => {
                let active = b.out(unit, "active");
                b.concat(&[w, active])
            }
        }
    }

    pub(crate) fn document(&self, b: &mut Builder, rows: &str) {
        let Rounding { law, bits, share, .. } = self.rounding();
        b.doc(format!(
            "Weights are sampled: {law}, {bits} random bits each, {share} rows share them, {} members.",
            self.members
        ));
        b.doc(format!("Weight memory: {rows}"));
        b.doc("as the rounding units take it.");
        if self.all_starts() > 1 {
            let window = lfsr_window(self.leap());
            let of = match self.generators() {
                1 => format!("{window} bits"),
                n => format!("{n} times {window} bits, u_lfsr_0 in the lowest"),
            };
            let each = if self.starts() > 1 { "row group after row group, " } else { "" };
            b.doc(format!(
                "Starts: what the LFSRs follow, {of}, {each}member after member. The first one is"
            ));
            b.doc("fetched at the first edge after a reset: no step may be issued there, and a buffer in front sees to it.");
        }
    }

    pub(crate) fn start_bits(&self) -> u64 {
        let starts = self.all_starts();
        if starts == 1 {
            0
        } else {
            (starts * self.generators()) as u64 * u64::from(lfsr_window(self.leap()))
        }
    }

    pub(crate) fn number_bits(&self) -> u64 {
        (self.matrix.rows() * self.matrix.columns()) as u64 * u64::from(self.code_bits())
    }
}

/// A weight source that rounds on the fly: real weights are stored, and rounded whenever they are used.
#[derive(Debug)]
pub struct Fly<'a>(pub Sampler<'a>);

impl Fly<'_> {
    /// Edges from reading a number to its rounded weight. Rounding with one random bit is one gate per lane, which is merged into
    /// the lane after it. Otherwise it is a carry chain with a pipeline stage of its own, and so is the gate where popcounts have
    /// registers inside.
    fn rounded(&self) -> u32 {
        let merged = self.0.rounding().bits == 1 && !self.0.fold.cuts.has(Cuts::Trees);
        if merged { 1 } else { 2 }
    }
}

impl WeightSource for Fly<'_> {
    fn latency(&self) -> u32 {
        self.rounded() + u32::from(self.0.fold.cuts.has(Cuts::Words))
    }

    fn tells_frames(&self) -> bool {
        self.0.all_starts() > 1
    }

    fn document(&self, b: &mut Builder) {
        let Folding { pe, simd, .. } = self.0.fold;
        let steps = self.0.steps();
        self.0.document(
            b,
            &format!("word f * {steps} + s has the numbers of rows f * {pe} + p, columns s * {simd} + l,"),
        );
    }

    fn memory_bits(&self) -> u64 {
        self.0.number_bits() + self.0.start_bits()
    }

    /// The first step comes at least two edges after reset, because every sampled layer has a replay buffer or a FIFO at its
    /// input. The first start value is available by then.
    fn hardware(&self, b: &mut Builder, step: Step) -> Word {
        let s = &self.0;
        let position_end = |b: &mut Builder| step.position_end(b).unwrap_or(step.issue);
        let cut = s.fold.cuts.has(Cuts::Words);
        let behind = cut.then_some("numbers");
        let code = s.numbers(b, s.fold.pe, step.run, step.issue, position_end, behind);
        let several = s.starts() > 1;
        let fetch = (s.all_starts() > 1).then(|| {
            // With one start value per frame, the next one is fetched when the last position uses it.
            let group = if several { None } else { step.first_group(b) };
            let position = step.position.filter(|_| !several).map(|p| p.last);
            let taken = all(b, [Some(step.issue), step.first, group, position]).expect("issue is there");
            let late = s.steps() * if several { 1 } else { s.groups() } > 1;
            let taken = b.named("start_taken", taken);
            let now = if late {
                taken
            } else {
                let initial = Sampler::initial(b);
                let now = b.or(taken, initial);
                b.named("fetch_start", now)
            };
            let first = all(b, [step.last_group.filter(|_| several), step.last_member]);
            let again = step.position.filter(|_| several).map(|position| {
                let end = step.last_group;
                let more = b.not(position.last);
                let again = all(b, [end, Some(more)]).expect("the position is there");
                let leaves = all(b, [Some(taken), end, Some(position.last)]).expect("taken is there");
                (again, leaves)
            });
            Fetch { now, first, again, late }
        });
        let first_group = if s.starts() == 1 { step.first_group(b) } else { None };
        let pace = Pace {
            advance: step.issue,
            first: step.first,
            first_group,
            end: step.end,
            last_group: step.last_group,
            fetch,
        };
        let mut words = s.sequences(b, &pace);
        if cut {
            for (g, words) in words.iter_mut().enumerate() {
                *words = b.registered(&format!("random_{g}"), None, step.run, *words);
            }
        }
        let bits = s.code_bits() * s.fold.simd as u32;
        let rows: Vec<Net> = (0..s.fold.pe as u32)
            .map(|p| {
                let own = b.slice(code, p * bits, bits);
                s.round(b, &format!("u_rounding_{p}"), words[p as usize / s.shared()], own)
            })
            .collect();
        let mut word = b.concat(&rows);
        if rows.len() > 1 || s.weight_bits() > 1 {
            word = b.named("weights", word);
        }
        for _ in 1..self.rounded() {
            word = b.registered("weights", None, step.run, word);
        }
        Word { word, ready: None }
    }
}

//! Weights that are rounded in hardware: on the fly, or once a member into a memory.

use std::sync::Arc;

use stoxnor_hdl::block::{RoundingLane, counter, lfsr, lfsr_window, ram};
use stoxnor_hdl::{Bits, Builder, Image, InstanceId, Net, index_bits};

use super::source::{Step, WeightSource, Word, address, all};
use crate::arith::lfsr::before;
use crate::arith::stochastic::{Law, Rounding, StochasticMatrix};
use crate::fold::Folding;

/// What rounds the real weights of a layer.
#[derive(Debug, Clone, Copy)]
pub struct Sampler<'a> {
    /// Name of the layer, which the memory images are named after.
    pub name: &'a str,
    /// The real weights.
    pub matrix: &'a StochasticMatrix,
    /// Members that are built.
    pub members: usize,
    /// PE and SIMD.
    pub fold: Folding,
}

/// When a [`Sampler`] takes random words. Every net belongs to the edge at which `advance` is 1.
struct Pace {
    /// The words of the next step are wanted.
    advance: Net,
    /// First step of a row group; `None` where every step is.
    first: Option<Net>,
    /// Number of the row group in the frame; `None` where there is one.
    group: Option<Net>,
    /// The row group's last step; `None` where every step is.
    end: Option<Net>,
    /// Last row group of a frame; `None` where every one is.
    last_group: Option<Net>,
    /// Where starts stand in a memory: the next one is to be fetched, and whether it is that of the first member.
    fetch: Option<Fetch>,
}

#[derive(Clone, Copy)]
struct Fetch {
    now: Net,
    first: Option<Net>,
    /// The next one is that of the frame's beginning again; and the edge with `now` at which the frame is left.
    again: Option<(Net, Net)>,
}

impl Sampler<'_> {
    fn rounding(&self) -> Rounding {
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

    fn groups(&self) -> usize {
        self.matrix.rows() / self.fold.pe
    }

    fn steps(&self) -> usize {
        self.matrix.columns() / self.fold.simd
    }

    /// Random bits of a step.
    fn leap(&self) -> u32 {
        self.fold.simd as u32 * self.rounding().bits
    }

    /// Rows of a row group that share their words; all of them where more do.
    fn shared(&self) -> usize {
        self.rounding().share.min(self.fold.pe)
    }

    /// Sequences that run side by side: one for the rows of each share.
    fn generators(&self) -> usize {
        self.fold.pe / self.shared()
    }

    /// Row groups that take the same words one after another.
    fn repeats(&self) -> usize {
        let share = self.rounding().share;
        if share >= self.matrix.rows() { self.groups() } else { (share / self.fold.pe).max(1) }
    }

    /// Starts of a frame: one, or one for each row group where several sequences run and each jumps over those of the others.
    fn starts(&self) -> usize {
        if self.generators() > 1 { self.groups() } else { 1 }
    }

    /// Rounded bits of a weight.
    fn weight_bits(&self) -> u32 {
        self.rounding().law.kind().bits()
    }

    /// What each sequence follows at each start of each member.
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

    /// The stored numbers of `rows` rows from row `row` and a step's columns.
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

    /// The memory of stored numbers, `rows` rows a word; `step` goes on to the next word, `back` with it to the first.
    fn numbers(
        &self,
        b: &mut Builder,
        rows: usize,
        enable: Net,
        step: Net,
        back: impl FnOnce(&mut Builder) -> Net,
    ) -> Net {
        let mut words = Vec::new();
        for group in 0..self.groups() {
            for step in 0..self.steps() {
                let at = |part: usize| group * self.fold.pe + part * rows;
                words.extend((0..self.fold.pe / rows).map(|part| self.codes(at(part), rows, step)));
            }
        }
        let address = address(b, "number_at", words.len() as u64, step, None, |b, _| back(b));
        let image = Arc::new(Image { file: format!("{}_weights.mem", self.name), words });
        let memory = super::memory(b, "u_weights", "WEIGHTS_FILE", &image);
        b.connect(memory, "address", address);
        b.connect(memory, "enable", enable);
        b.out(memory, "data")
    }

    /// The sequences; returns the words of each, one edge after `advance`.
    fn sequences(&self, b: &mut Builder, pace: &Pace) -> Vec<Net> {
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
            // The start in the memory's register is the next one to be taken; it is fetched while the one before is.
            let fetch = pace.fetch.expect("several starts are fetched");
            let last = starts.len() as u64 - 1;
            let bits = index_bits(starts.len() as u64);
            let at = b.register("start_at", bits, Some(last));
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
            let image = Arc::new(Image { file: format!("{}_starts.mem", self.name), words: starts });
            let memory = super::memory(b, "u_starts", "STARTS_FILE", &image);
            b.connect(memory, "address", next);
            b.connect(memory, "enable", fetch.now);
            b.out(memory, "data")
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

    /// When a sequence begins at a start; and, where row groups repeat the words of others, when a beginning is kept and when it is
    /// gone back to.
    fn begins(&self, b: &mut Builder, pace: &Pace) -> (Net, Option<(Net, Net)>) {
        let always = |b: &mut Builder| b.constant(1, 1);
        let Some(group) = pace.group.filter(|_| self.starts() == 1) else {
            let load = pace.first.unwrap_or_else(|| always(b));
            return (load, None);
        };
        let frame = b.is(group, 0);
        let load = all(b, [Some(frame), pace.first]).expect("the group is there");
        let load = b.named("frame_begins", load);
        if self.repeats() == 1 {
            return (load, None);
        }
        // Counts the row groups that share words; the last of them may be fewer.
        let done = all(b, [Some(pace.advance), pace.end]).expect("advance is there");
        let repeats = self.repeats() as u64;
        let repeat = b.register("repeat", index_bits(repeats), Some(0));
        let mut end = b.is(repeat, repeats - 1);
        if let Some(last) = pace.last_group.filter(|_| !self.groups().is_multiple_of(self.repeats())) {
            end = b.or(end, last);
        }
        let (zero, one) = (b.constant(b.width(repeat), 0), b.constant(b.width(repeat), 1));
        let up = b.add(repeat, one);
        let next = b.mux(end, zero, up);
        b.next_if(repeat, done, next);
        let fresh = b.is(repeat, 0);
        let fresh = b.named("fresh_words", fresh);
        let keep = all(b, [Some(fresh), pace.first]).expect("the repeat is there");
        let more = b.not(fresh);
        let again = all(b, [Some(more), pace.first]).expect("the repeat is there");
        (load, Some((keep, again)))
    }

    /// Starts that the sequences ever begin at.
    fn all_starts(&self) -> usize {
        self.members * self.starts()
    }

    /// 1 at the first edge after a reset: then the first start is fetched, with the address before it.
    fn initial(b: &mut Builder) -> Net {
        let begun = b.register("begun", 1, Some(0));
        let one = b.constant(1, 1);
        b.next(begun, one);
        let initial = b.not(begun);
        b.named("after_reset", initial)
    }

    /// Rounds one row's numbers; returns its weights as the forms take them.
    fn round(&self, b: &mut Builder, name: &str, words: Net, code: Net) -> Net {
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

    fn document(&self, b: &mut Builder, rows: &str) {
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

    fn start_bits(&self) -> u64 {
        let starts = self.all_starts();
        if starts == 1 {
            0
        } else {
            (starts * self.generators()) as u64 * u64::from(lfsr_window(self.leap()))
        }
    }

    fn number_bits(&self) -> u64 {
        (self.matrix.rows() * self.matrix.columns()) as u64 * u64::from(self.code_bits())
    }
}

/// Weights that are rounded as they are used.
#[derive(Debug)]
pub struct Fly<'a>(pub Sampler<'a>);

impl WeightSource for Fly<'_> {
    /// One random bit is one gate a lane, which the lane behind it takes up; a chain of carries has an edge of its own.
    fn latency(&self) -> u32 {
        if self.0.rounding().bits == 1 { 1 } else { 2 }
    }

    fn tells_frames(&self) -> bool {
        self.0.all_starts() > 1
    }

    fn document(&self, b: &mut Builder) {
        let Folding { pe, simd } = self.0.fold;
        let steps = self.0.steps();
        self.0.document(
            b,
            &format!("word f * {steps} + s has the numbers of rows f * {pe} + p, columns s * {simd} + l,"),
        );
    }

    fn memory_bits(&self) -> u64 {
        self.0.number_bits() + self.0.start_bits()
    }

    /// The first step comes two edges after a reset or later, because a replay buffer or a FIFO stands before every sampled layer: the first start
    /// is there by then.
    fn hardware(&self, b: &mut Builder, step: Step) -> Word {
        let s = &self.0;
        let position_end = |b: &mut Builder| step.position_end(b).unwrap_or(step.issue);
        let code = s.numbers(b, s.fold.pe, step.run, step.issue, position_end);
        let several = s.starts() > 1;
        let fetch = (s.all_starts() > 1).then(|| {
            // One start a frame: the next one is fetched when the last position takes it.
            let group = if several { None } else { step.first_group(b) };
            let position = step.position.filter(|_| !several).map(|p| p.last);
            let taken = all(b, [Some(step.issue), step.first, group, position]).expect("issue is there");
            let initial = Sampler::initial(b);
            let now = b.or(taken, initial);
            let first = all(b, [step.last_group.filter(|_| several), step.last_member]);
            let again = step.position.filter(|_| several).map(|position| {
                let (taken, end) = (b.named("start_taken", taken), step.last_group);
                let more = b.not(position.last);
                let again = all(b, [end, Some(more)]).expect("the position is there");
                let leaves = all(b, [Some(taken), end, Some(position.last)]).expect("taken is there");
                (again, leaves)
            });
            Fetch { now: b.named("fetch_start", now), first, again }
        });
        let pace = Pace {
            advance: step.issue,
            first: step.first,
            group: step.group,
            end: step.end,
            last_group: step.last_group,
            fetch,
        };
        let words = s.sequences(b, &pace);
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
        for _ in 1..self.latency() {
            word = b.registered("weights", None, step.run, word);
        }
        Word { word, ready: None }
    }
}

/// Weights that are rounded once a member, a row's step a cycle, into one half of a memory while the other half is used.
#[derive(Debug)]
pub struct Sampled<'a>(pub Sampler<'a>);

impl Sampled<'_> {
    /// Edges from reading a number to writing what it is rounded to.
    fn depth(&self) -> u32 {
        if self.0.rounding().bits == 1 { 1 } else { 2 }
    }

    fn words(&self) -> u64 {
        (self.0.groups() * self.0.steps()) as u64
    }

    /// One half is being filled, beginning at the edge with `begin`; returns a net that is 1 once it is full.
    fn sampler(
        &self,
        b: &mut Builder,
        begin: Net,
        initial: Net,
        first: Option<Net>,
    ) -> (Vec<InstanceId>, Net) {
        let s = &self.0;
        let busy = b.register("sampling", 1, Some(0));
        let row = counter(b, "row", s.fold.pe as u64, busy);
        let row_end = row.map(|(_, end)| end);
        let word_done = row_end.map_or(busy, |end| b.and(busy, end));
        let word_done = b.named("word_sampled", word_done);
        let column = counter(b, "sample_step", s.steps() as u64, word_done);
        let step_end = column.map(|(_, end)| end);
        let group_done = step_end.map_or(word_done, |end| b.and(word_done, end));
        let group_done = b.named("group_sampled", group_done);
        let group = counter(b, "sample_group", s.groups() as u64, group_done);
        let last_group = group.map(|(_, end)| end);
        let done = last_group.map_or(group_done, |end| b.and(group_done, end));
        let done = b.named("all_sampled", done);
        let not_done = b.not(done);
        let goes_on = b.and(busy, not_done);
        let started = b.or(begin, initial);
        let started = b.named("sampling_begins", started);
        let next = b.or(started, goes_on);
        b.next(busy, next);

        let advance = match row {
            None => busy,
            Some((q, _)) => {
                let first = b.is(q, 0);
                let advance = b.and(busy, first);
                b.named("next_words", advance)
            }
        };
        let first_step = column.map(|(q, _)| {
            let first = b.is(q, 0);
            b.named("first_step_sampled", first)
        });
        let fetch = (s.all_starts() > 1).then(|| {
            let mut now = started;
            if let Some(last) = last_group.filter(|_| s.starts() > 1) {
                let more = b.not(last);
                let taken = all(b, [Some(advance), first_step, Some(more)]).expect("advance is there");
                now = b.or(now, taken);
                now = b.named("fetch_start", now);
            }
            let first = first.map(|first| b.and(begin, first));
            Fetch { now, first, again: None }
        });
        let numbers = s.numbers(b, 1, busy, busy, |_| done);
        let pace = Pace {
            advance,
            first: first_step,
            group: group.map(|(q, _)| q),
            end: step_end,
            last_group,
            fetch,
        };
        let words = s.sequences(b, &pace);

        // The number is in the memory's register, the words are in those of the sequences.
        let mut writes = delay(b, "number_read", Some(0), busy);
        let mut ends = delay(b, "last_read", Some(0), done);
        let mut at = row.map(|(q, _)| delay(b, "row_read", None, q));
        let words = self.of_row(b, &words, at);
        let mut word = s.round(b, "u_rounding", words, numbers);
        for _ in 1..self.depth() {
            word = delay(b, "rounded", None, word);
            writes = delay(b, "number_rounded", Some(0), writes);
            ends = delay(b, "last_rounded", Some(0), ends);
            at = at.map(|q| delay(b, "row_rounded", None, q));
        }
        word = b.named("member_word", word);
        let full = b.register("full", 1, Some(0));
        let unused = b.not(begin);
        let stays = b.and(full, unused);
        let next = b.or(ends, stays);
        b.next(full, next);
        (self.write(b, word, writes, at), full)
    }

    /// The words of the sequence that the row `at` takes.
    fn of_row(&self, b: &mut Builder, words: &[Net], at: Option<Net>) -> Net {
        let (Some(at), [rest @ .., last]) = (at, words) else { return words[0] };
        let shared = self.0.shared() as u64;
        let words = rest.iter().enumerate().rev().fold(*last, |later, (g, own)| {
            let end = b.constant(b.width(at), (g as u64 + 1) * shared);
            let here = b.less(at, end);
            b.mux(here, *own, later)
        });
        if rest.is_empty() { words } else { b.named("row_words", words) }
    }

    /// Two halves of memory, a part for each row of a word; `word` goes to the part of row `at` where `writes` is 1.
    fn write(&self, b: &mut Builder, word: Net, writes: Net, at: Option<Net>) -> Vec<InstanceId> {
        let pe = self.0.fold.pe as u64;
        let written = at.map_or(writes, |at| {
            let last = b.is(at, pe - 1);
            b.and(writes, last)
        });
        let written = b.named("word_written", written);
        let (address, _) = counter(b, "write_at", 2 * self.words(), written).expect("two halves");
        let part = ram(2 * self.words() as u32, b.width(word));
        (0..pe)
            .map(|p| {
                let memory = b.instance(&format!("u_member_{p}"), &part);
                let own = at.map_or(writes, |at| {
                    let here = b.is(at, p);
                    b.and(writes, here)
                });
                b.connect(memory, "write_address", address);
                b.connect(memory, "write_enable", own);
                b.connect(memory, "write_data", word);
                memory
            })
            .collect()
    }
}

impl WeightSource for Sampled<'_> {
    fn latency(&self) -> u32 {
        1
    }

    fn sampling(&self) -> Option<u64> {
        // From the edge that begins it: a number is read each edge, the last one written so many edges later, and then the
        // half is full.
        Some(self.words() * self.0.fold.pe as u64 + u64::from(self.depth()) + 1)
    }

    fn tells_frames(&self) -> bool {
        true
    }

    fn document(&self, b: &mut Builder) {
        let Folding { pe, simd } = self.0.fold;
        let steps = self.0.steps();
        self.0.document(b, &format!("word (f * {steps} + s) * {pe} + p has the numbers of row f * {pe} + p, columns s * {simd} + l,"));
        b.doc("Each member is sampled into one half of a memory while the other half is used.");
    }

    fn memory_bits(&self) -> u64 {
        let weights = (self.0.matrix.rows() * self.0.matrix.columns()) as u64;
        self.0.number_bits() + self.0.start_bits() + 2 * weights * u64::from(self.0.weight_bits())
    }

    fn hardware(&self, b: &mut Builder, step: Step) -> Word {
        let frame_begin = step.frame_begin(b);
        let begin = all(b, [Some(step.issue), frame_begin]).expect("issue is there");
        let begin = b.named("frame_begins_here", begin);
        let initial = Sampler::initial(b);
        let (parts, full) = self.sampler(b, begin, initial, step.last_member);
        // Half after half; every position reads the half of its frame.
        let again = step.position.map(|p| (step.position_end(b), p));
        let count = 2 * self.words();
        let address = address(b, "read_at", count, step.issue, again, |b, q| b.is(q, count - 1));
        let rows: Vec<Net> = parts
            .into_iter()
            .map(|memory| {
                b.connect(memory, "read_address", address);
                b.connect(memory, "read_enable", step.run);
                b.out(memory, "read_data")
            })
            .collect();
        let mut word = b.concat(&rows);
        if rows.len() > 1 {
            word = b.named("weights", word);
        }
        // A frame's first step is held back, not those behind it.
        let ready = match frame_begin {
            None => full,
            Some(begins) => {
                let going = b.not(begins);
                let ready = b.or(going, full);
                b.named("source_ready", ready)
            }
        };
        Word { word, ready: Some(ready) }
    }
}

/// A register that takes `net` at every edge.
fn delay(b: &mut Builder, name: &str, reset: Option<u64>, net: Net) -> Net {
    let q = b.register(name, b.width(net), reset);
    b.next(q, net);
    q
}

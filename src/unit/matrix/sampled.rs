//! A weight source that rounds the weights once per member.

use stoxnor_hdl::block::{counter, counter_begins, ram};
use stoxnor_hdl::{Builder, InstanceId, Net};

use crate::unit::folding::{Cuts, Folding};
use crate::unit::matrix::fly::{Fetch, Pace, Sampler};
use crate::unit::matrix::source::{Step, WeightSource, Word, address, all};

/// Weights that are rounded once per member into one half of a double buffer while the other half is used. Each cycle rounds one
/// step of one row.
#[derive(Debug)]
pub struct Sampled<'a>(pub Sampler<'a>);

impl Sampled<'_> {
    /// Edges from reading a stored number to writing its rounded weights.
    fn depth(&self) -> u32 {
        if self.0.rounding().bits == 1 { 1 } else { 2 }
    }

    fn words(&self) -> u64 {
        (self.0.groups() * self.0.steps()) as u64
    }

    /// Fills one half of the double buffer, from the edge with `begin` on. Returns the memories and a net that is 1 once the half
    /// is full.
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
            Some(row) => {
                let first = counter_begins(b, "row_first", row, busy);
                let advance = b.and(busy, first);
                b.named("next_words", advance)
            }
        };
        let first_step = column.map(|column| counter_begins(b, "first_step_sampled", column, word_done));
        let fetch = (s.all_starts() > 1).then(|| {
            let mut now = started;
            if let Some(last) = last_group.filter(|_| s.starts() > 1) {
                let more = b.not(last);
                let taken = all(b, [Some(advance), first_step, Some(more)]).expect("advance is there");
                now = b.or(now, taken);
                now = b.named("fetch_start", now);
            }
            let first = first.map(|first| b.and(begin, first));
            Fetch { now, first, again: None, late: false }
        });
        let numbers = s.numbers(b, 1, busy, busy, |_| done, None);
        let first_group = group
            .filter(|_| s.starts() == 1)
            .map(|group| counter_begins(b, "first_group_sampled", group, group_done));
        let pace = Pace { advance, first: first_step, first_group, end: step_end, last_group, fetch };
        let words = s.sequences(b, &pace);

        // The stored number is in the memory's output register, the random words are in the registers of the LFSRs.
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

    /// The random words of the LFSR that row `at` uses.
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

    /// The double buffer, one memory per row of a word. `word` is written to the memory of row `at` if `writes` is 1.
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
        1 + u32::from(self.0.fold.cuts.has(Cuts::Words))
    }

    fn sampling(&self) -> Option<u64> {
        // From the starting edge one number is read per edge. The last one is written `depth` edges later, and the half is full
        // one edge after that.
        Some(self.words() * self.0.fold.pe as u64 + u64::from(self.depth()) + 1)
    }

    fn tells_frames(&self) -> bool {
        true
    }

    fn document(&self, b: &mut Builder) {
        let Folding { pe, simd, .. } = self.0.fold;
        let steps = self.0.steps();
        self.0.document(b, &format!("word (f * {steps} + s) * {pe} + p has the numbers of row f * {pe} + p, columns s * {simd} + l,"));
        b.doc("Each member is sampled into one half of a memory while the other half is used.");
    }

    fn memory_bits(&self) -> u64 {
        let weights = (self.0.matrix.rows() * self.0.matrix.columns()) as u64;
        self.0.number_bits() + self.0.start_bits() + 2 * weights * u64::from(self.0.weight_bits())
    }

    fn hardware(&self, b: &mut Builder, step: Step) -> Word {
        let s = &self.0;
        let frame_begin = step.frame_begin(b);
        let begin = all(b, [Some(step.issue), frame_begin]).expect("issue is there");
        let begin = b.named("frame_begins_here", begin);
        let initial = Sampler::initial(b);
        let (parts, full) = self.sampler(b, begin, initial, step.last_member);
        // The halves alternate; every position reads the half of its frame.
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
        if s.fold.cuts.has(Cuts::Words) {
            word = b.registered("weights", None, step.run, word);
        }
        // Only the first step of a frame waits, not the steps after it.
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

/// A register that loads `net` at every edge.
fn delay(b: &mut Builder, name: &str, reset: Option<u64>, net: Net) -> Net {
    let q = b.register(name, b.width(net), reset);
    b.next(q, net);
    q
}

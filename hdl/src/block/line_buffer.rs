//! A ring buffer of words that are read in nested loops: line buffers of sliding windows, pixel repetition, and reordering.

use std::sync::Arc;

use super::{counter, counter_from, of_frames, some_after, up_and_down, user_suffix};
use crate::{Bits, Builder, Module, Net, Role, Stream, bits_for, index_bits};

/// One level of the nested loops that read a frame's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Loop {
    /// What the loop iterates over, used in names.
    pub name: &'static str,
    /// Number of iterations.
    pub count: u64,
    /// Word offset per iteration.
    pub words: u64,
    /// Row and column offset per iteration.
    pub pixels: [u64; 2],
}

impl Loop {
    /// A level that stays at its pixel.
    pub fn still(name: &'static str, count: u64, words: u64) -> Self {
        Self { name, count, words, pixels: [0; 2] }
    }
}

/// The image geometry of a frame, if positions outside of it are read too.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Border {
    /// Number of rows and columns of the image.
    pub extent: [u64; 2],
    /// Number of rows above and columns left of the image at which reading begins.
    pub before: [u64; 2],
    /// Words per pixel.
    pub words: u64,
    /// The padding outside of the image.
    pub padding: Padding,
}

/// The values read outside of an image.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Padding {
    /// A constant word.
    Word(Bits),
    /// Masked: every bit becomes a 2-bit two's complement number. Bit 1 is +1, bit 0 is -1, and padding is 0.
    Mask,
    /// Flagged: a bit above the word of each tap is 1 for padding; the word has no meaning then.
    Flag,
}

/// The parameters of a line buffer.
///
/// Frames of `frame` words are written consecutively into a ring of `depth` words. They are read in nested loops: the `inner`
/// loops (innermost first) at each position, then the positions along a row, then the rows. A word is read as soon as it is
/// available. Its place is freed once no later position of its frame needs it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LineBuffer {
    /// Bits per word.
    pub width: u32,
    /// Words of the ring, at least 2.
    pub depth: u64,
    /// Words per frame.
    pub frame: u64,
    /// Words at the start of a frame that are not read. Only without a border.
    pub skip: u64,
    /// The loops at one position, innermost first.
    pub inner: Vec<Loop>,
    /// The loop over the positions of a row, and the loop over the rows.
    pub outer: [Loop; 2],
    /// Offsets of the words that are read in parallel, each from its own copy of the ring. The first offset is 0.
    pub taps: Vec<Loop>,
    /// The image geometry; `None` without padding.
    pub border: Option<Border>,
    /// User bits, equal in all beats of a frame.
    pub user: u32,
}

/// The nested loops. Their counters are a step ahead: they tell of the step after the one that is read next, so that what belongs to
/// that one can be in registers.
struct Walk {
    /// The next step is read.
    read: Net,
    /// For each level with more than one iteration: its index in [`LineBuffer::loops`], and whether it is in its last iteration.
    ends: Vec<(usize, Net)>,
    /// The last step of a position; `None` if each has one.
    position_end: Option<Net>,
    /// The last step of a frame; `None` if each has one.
    frame_end: Option<Net>,
    /// Counters of the position in the row, and of the row.
    place: [Option<(Net, Net)>; 2],
}

impl Walk {
    /// What `ahead` tells of the step ahead, for the one that is read next; `first` is that of a frame's first step.
    fn held(&self, b: &mut Builder, name: &str, first: u64, ahead: Net) -> Net {
        if self.ends.is_empty() { ahead } else { b.registered(name, Some(first), self.read, ahead) }
    }
}

/// Whether a tap is outside of the image.
#[derive(Clone, Copy)]
struct Outside {
    /// In the step that is read next.
    now: Net,
    /// In the step after it.
    ahead: Net,
}

impl LineBuffer {
    /// All levels, innermost first.
    pub fn loops(&self) -> impl Iterator<Item = &Loop> {
        self.inner.iter().chain(&self.outer)
    }

    /// Bits per output beat.
    pub fn beat_width(&self) -> u32 {
        let word = match self.border.as_ref().map(|b| &b.padding) {
            None | Some(Padding::Word(_)) => self.width,
            Some(Padding::Mask) => 2 * self.width,
            Some(Padding::Flag) => self.width + 1,
        };
        word * self.taps.len() as u32
    }

    /// Output beats per frame.
    pub fn beats(&self) -> u64 {
        self.loops().map(|l| l.count).product()
    }

    /// Cycles per frame.
    pub fn interval(&self) -> u64 {
        self.frame.max(self.beats())
    }

    /// The offset of the first word that is read, relative to the frame's first word. It is negative if reading begins in
    /// padding.
    pub fn start(&self) -> i64 {
        self.border.as_ref().map_or(self.skip.cast_signed(), |b| {
            -((b.before[0] * b.extent[1] + b.before[1]) * b.words).cast_signed()
        })
    }

    /// Number of words of a frame that are free once position (`row`, `column`) has been read.
    pub fn freed(&self, row: u64, column: u64) -> u64 {
        let [columns, rows] = &self.outer;
        let of = |level: &Loop, axis: usize, at: u64, words: u64| match &self.border {
            None => at * level.words,
            Some(b) => (at * level.pixels[axis]).saturating_sub(b.before[axis]) * words,
        };
        let row_words = self.border.as_ref().map_or(0, |b| b.extent[1] * b.words);
        let column_words = self.border.as_ref().map_or(0, |b| b.words);
        let of_row = |row| of(rows, 0, row, row_words);
        if row + 1 == rows.count && column + 1 == columns.count {
            return self.frame;
        }
        if column + 1 == columns.count {
            return (of_row(row + 1) + self.skip).min(self.frame);
        }
        // The next row of positions starts at the left again.
        let next = of_row(row) + of(columns, 1, column + 1, column_words);
        // Words that are skipped are free once the first row is left, so that all rows free alike within themselves.
        let skip = if row == 0 { 0 } else { self.skip };
        (next.min(of_row(row + 1).max(of_row(row))) + skip).min(self.frame)
    }

    /// Increments of a sum over all levels of `of(level)` times the level's iteration. Entry i applies to a step in which the
    /// first i levels of `ends` wrap around and level i advances. The last entry applies to the step to the next frame, which
    /// adds `frame`.
    fn deltas(&self, ends: &[(usize, Net)], frame: i64, of: impl Fn(&Loop) -> u64) -> Vec<i64> {
        let loops: Vec<&Loop> = self.loops().collect();
        let mut below = 0;
        let mut deltas = Vec::new();
        for (at, _) in ends {
            let own = of(loops[*at]).cast_signed();
            deltas.push(own - below);
            below += own * (loops[*at].count - 1).cast_signed();
        }
        deltas.push(frame - below);
        deltas
    }

    /// The increment of the current step, modulo `modulus`, in `bits` bits.
    fn step(b: &mut Builder, ends: &[(usize, Net)], deltas: &[i64], modulus: i64, bits: u32) -> Net {
        let constant = |b: &mut Builder, d: i64| b.constant(bits, d.rem_euclid(modulus).cast_unsigned());
        let (last, rest) = deltas.split_last().expect("the step to the next frame");
        let mut net = constant(b, *last);
        // Outer levels whose increment equals that of the next frame need no multiplexer.
        let alike = rest.iter().rev().take_while(|d| *d == last).count();
        for ((_, end), delta) in ends.iter().zip(rest).rev().skip(alike) {
            let own = constant(b, *delta);
            net = b.mux(*end, net, own);
        }
        net
    }

    fn walk(&self, b: &mut Builder, read: Net) -> Walk {
        let mut walk = Walk { read, ends: Vec::new(), position_end: None, frame_end: None, place: [None; 2] };
        for (at, level) in self.loops().enumerate() {
            if at == self.inner.len() {
                walk.position_end = walk.frame_end;
            }
            if level.count == 1 {
                continue;
            }
            let step = walk.frame_end.map_or(read, |end| {
                let step = b.and(read, end);
                b.named(format!("{}_step", level.name), step)
            });
            let start = u64::from(walk.ends.is_empty());
            let (q, end) = counter_from(b, level.name, level.count, start, step).expect("several");
            if at >= self.inner.len() {
                walk.place[at - self.inner.len()] = Some((q, end));
            }
            walk.ends.push((at, end));
            walk.frame_end = Some(match walk.frame_end {
                None => end,
                Some(below) => {
                    let all = b.and(below, end);
                    b.named(format!("{}_done", level.name), all)
                }
            });
        }
        walk
    }

    /// `values[q]`, selected by comparisons of q with the ends of runs of equal values.
    fn piecewise(b: &mut Builder, q: Option<Net>, values: &[u64], bits: u32) -> Net {
        let mut net = b.constant(bits, values[values.len() - 1]);
        let Some(q) = q else { return net };
        for i in (1..values.len()).rev().filter(|i| values[i - 1] != values[*i]) {
            let (below, own) = (b.constant(b.width(q), i as u64), b.constant(bits, values[i - 1]));
            let here = b.less(q, below);
            net = b.mux(here, own, net);
        }
        net
    }

    /// Number of words that the step ahead frees.
    fn freeing(&self, b: &mut Builder, walk: &Walk, bits: u32) -> Net {
        let none = b.constant(bits, 0);
        let freed = self.freeing_position(b, walk, bits);
        walk.position_end.map_or(freed, |end| b.mux(end, freed, none))
    }

    /// Number of words that are freed at the end of the position.
    fn freeing_position(&self, b: &mut Builder, walk: &Walk, bits: u32) -> Net {
        let [columns, rows] = [self.outer[0].count, self.outer[1].count];
        let [column, row] = walk.place;
        // Along a row, words are freed only in rows that the next row of positions does not need.
        let before = |row: u64, column: u64| match (row, column) {
            (0, 0) => 0,
            (row, 0) => self.freed(row - 1, columns - 1),
            (row, column) => self.freed(row, column - 1),
        };
        let along = |row: u64| (0..columns.max(2) - 1).map(move |c| self.freed(row, c) - before(row, c));
        let ends: Vec<u64> = (0..rows).map(|r| self.freed(r, columns - 1) - before(r, columns - 1)).collect();
        let end = Self::piecewise(b, row.map(|(q, _)| q), &ends, bits);
        let Some((q, last)) = column else { return end };
        let none = b.constant(bits, 0);
        let frees = |r: &u64| along(*r).any(|f| f > 0);
        let Some(freeing) = (0..rows).find(frees) else { return b.mux(last, end, none) };
        let mut inside = Self::piecewise(b, Some(q), &along(freeing).collect::<Vec<_>>(), bits);
        let which: Vec<u64> = (0..rows).map(|r| u64::from(frees(&r))).collect();
        if which.contains(&0) {
            let which = Self::piecewise(b, row.map(|(q, _)| q), &which, 1);
            inside = b.mux(which, inside, none);
        }
        b.mux(last, end, inside)
    }

    /// For each tap whether it is outside of the image; `None` if it never is.
    fn outside(&self, b: &mut Builder, walk: &Walk) -> Vec<Option<Outside>> {
        let Some(border) = &self.border else { return vec![None; self.taps.len()] };
        let mut outside = vec![None; self.taps.len()];
        for (axis, name) in ["y", "x"].into_iter().enumerate() {
            let (before, extent) = (border.before[axis], border.extent[axis]);
            let reach = |l: &Loop| (l.count - 1) * l.pixels[axis];
            let max_reach = self.loops().map(reach).sum::<u64>()
                + self.taps.iter().map(|t| t.pixels[axis]).max().unwrap_or(0);
            if before == 0 && max_reach < extent {
                continue;
            }
            let bits = bits_for(max_reach.max(before + extent));
            let deltas = self.deltas(&walk.ends, 0, |l| l.pixels[axis]);
            let q = b.register(name, bits, Some(deltas[0].rem_euclid(1 << bits).cast_unsigned()));
            let step = Self::step(b, &walk.ends, &deltas, 1 << bits, bits);
            let next = b.add(q, step);
            b.next_if(q, walk.read, next);
            for (t, (tap, outside)) in self.taps.iter().zip(&mut outside).enumerate() {
                let mut at = q;
                if tap.pixels[axis] > 0 {
                    let further = b.constant(bits, tap.pixels[axis]);
                    let sum = b.add(q, further);
                    at = b.named(format!("{name}_{t}"), sum);
                }
                let mut beyond = None;
                if before > 0 {
                    let before = b.constant(bits, before);
                    beyond = Some(b.less(at, before));
                }
                if max_reach >= before + extent {
                    let last = b.constant(bits, before + extent - 1);
                    let after = b.less(last, at);
                    beyond = Some(beyond.map_or(after, |before| b.or(before, after)));
                }
                *outside = match (*outside, beyond) {
                    (Some(a), Some(c)) => Some(b.or(a, c)),
                    (a, c) => a.or(c),
                };
            }
        }
        // At a frame's first step.
        let begins_outside = |tap: &Loop| {
            (0..2).any(|axis| {
                let (at, before) = (tap.pixels[axis], border.before[axis]);
                at < before || at >= before + border.extent[axis]
            })
        };
        let of = |(t, outside): (usize, Option<Net>)| {
            let ahead = b.named(format!("outside_ahead_{t}"), outside?);
            let first = u64::from(begins_outside(&self.taps[t]));
            Some(Outside { now: walk.held(b, &format!("outside_{t}"), first, ahead), ahead })
        };
        outside.into_iter().enumerate().map(of).collect()
    }

    /// The address of each tap in its copy of the ring.
    fn addresses(&self, b: &mut Builder, walk: &Walk) -> Vec<Net> {
        let bits = index_bits(self.depth);
        let depth = self.depth.cast_signed();
        let deltas = self.deltas(&walk.ends, self.frame.cast_signed(), |l| l.words);
        let first = deltas[0].rem_euclid(depth);
        let step = Self::step(b, &walk.ends, &deltas, depth, bits);
        let step = walk.held(b, "step", first.cast_unsigned(), step);
        // The step less the depth, in two's complement: its sum with an address is negative where that with the step is below the depth.
        let wraps = !self.depth.is_power_of_two();
        let back = wraps.then(|| {
            let less = |delta: &i64| delta.rem_euclid(depth) - depth;
            let deltas: Vec<i64> = deltas.iter().map(less).collect();
            let back = Self::step(b, &walk.ends, &deltas, 2 << bits, bits + 1);
            walk.held(b, "step_back", deltas[0].rem_euclid(2 << bits).cast_unsigned(), back)
        });
        let of = |(t, tap): (usize, &Loop)| {
            let suffix = if t == 0 { String::new() } else { format!("_{t}") };
            let start = (self.start() + tap.words.cast_signed()).rem_euclid(depth);
            let at = b.register(&format!("read_at{suffix}"), bits, Some(start.cast_unsigned()));
            let mut next = b.add(at, step);
            if let Some(back) = back {
                let wide = b.zero_extend(at, bits + 1);
                let wrapped = b.add(wide, back);
                let wrapped = b.named(format!("wrapped{suffix}"), wrapped);
                let (below, low) = (b.slice(wrapped, bits, 1), b.slice(wrapped, 0, bits));
                next = b.mux(below, next, low);
            }
            b.next_if(at, walk.read, next);
            at
        };
        self.taps.iter().enumerate().map(of).collect()
    }

    /// Whether the step that is read next, after the coming edge, finds its words in the ring. `ahead` and `after` are the distances
    /// at the steps that are read next and after it, `floor` is the one of 0.
    fn words_there(
        &self,
        b: &mut Builder,
        walk: &Walk,
        (ahead, after, floor): (Net, Net, u64),
        write: Net,
        outside: &[Option<Outside>],
    ) -> Net {
        // Of taps that are never outside, the farthest decides.
        let inside = self.taps.iter().zip(outside).filter(|(_, outside)| outside.is_none());
        let farthest = inside.map(|(tap, _)| tap.words).max();
        let further = |tap: &Loop| farthest.is_none_or(|words| tap.words > words);
        let others = self.taps.iter().zip(outside);
        let others =
            others.filter_map(|(tap, outside)| Some((tap.words, Some((*outside)?))).filter(|_| further(tap)));
        let taps: Vec<_> = farthest.map(|words| (words, None)).into_iter().chain(others).collect();
        let mut all = |distance: Net, outside: &dyn Fn(Outside) -> Net| {
            let mut there = None;
            for (words, tap) in &taps {
                let min = b.constant(b.width(distance), floor + words);
                let missing = b.less(distance, min);
                let enough = b.not(missing);
                let one_less = b.is(distance, floor + words - 1);
                let arrives = b.and(write, one_less);
                let mut enough = b.or(enough, arrives);
                if let Some(tap) = tap {
                    enough = b.or(enough, outside(*tap));
                }
                there = Some(there.map_or(enough, |there| b.and(there, enough)));
            }
            there.expect("a tap")
        };
        let (stays, moves) = (all(ahead, &|tap| tap.now), all(after, &|tap| tap.ahead));
        b.mux(walk.read, moves, stays)
    }

    /// User bits of the frame being read, and whether part of it has been written after the coming edge.
    fn frames(&self, b: &mut Builder, s: Stream, write: Net, done: Net) -> (Option<Net>, Net) {
        // Maximum number of frames: those in the ring, and partly written ones.
        let max_frames = self.depth / self.frame + 2;
        let fresh = b.register("at_start", 1, Some(1));
        b.next_if(fresh, write, s.last);
        let begins = b.and(write, fresh);
        let begins = b.named("frame_begins", begins);
        let count = b.register("frames", bits_for(max_frames), Some(0));
        up_and_down(b, count, begins, done);
        let there = some_after(b, "frame_there", count, begins, done);
        let user = s.user.map(|user| of_frames(b, "user", max_frames, user, begins, done));
        (user, there)
    }

    /// Builds the module.
    ///
    /// # Panics
    /// If the depth is less than 2, the first tap is not at offset 0, or both `skip` and a border are given.
    pub fn build(&self, name: &str) -> Arc<Module> {
        assert!(self.depth >= 2, "a ring of {} words", self.depth);
        assert!(self.taps.first().is_some_and(|t| t.words == 0), "the first tap is the word itself");
        assert!(self.skip == 0 || self.border.is_none(), "words are skipped, or there is a border");
        let mut b = Builder::new(name);
        self.document(&mut b);
        let s = b.stream_input("s", self.width, self.user);
        let m_ready = b.input("m_ready", 1, Role::Control);

        // Distances are two's complement: reading may begin before a frame, and a position may be far ahead of the written words, the
        // one after it further still.
        let padded =
            self.border.as_ref().map_or(0, |b| (b.before[0] + b.extent[0] + 1) * b.extent[1] * b.words);
        let bits = bits_for(self.depth + 3 * self.frame + 2 * padded) + 1;
        let modulus = 1i64 << bits;
        let number = |v: i64| v.rem_euclid(modulus).cast_unsigned();

        let room = b.register("room", bits, Some(self.depth - 1));
        let full = b.slice(room, bits - 1, 1);
        let ready = b.not(full);
        let ready = b.named("s_ready", ready);
        let write = b.and(s.valid, ready);
        let write = b.named("write", write);
        let valid = b.register("valid", 1, Some(0));
        let available = b.register("available", 1, Some(0));
        let empty = b.not(valid);
        let free = b.or(empty, m_ready);
        let free = b.named("free", free);
        let read = b.and(available, free);
        let read = b.named("read", read);
        b.next_if(valid, free, available);

        let walk = self.walk(&mut b, read);
        let one = b.constant(1, 1);
        let last = walk.held(&mut b, "frame_end", 0, walk.frame_end.unwrap_or(one));
        let frame_done = b.and(read, last);
        let frame_done = b.named("frame_done", frame_done);
        let (user, frame_there) = self.frames(&mut b, s, write, frame_done);

        // Distances at the step that is read next, and at the one after it.
        let middle = modulus / 2;
        let deltas = self.deltas(&walk.ends, self.frame.cast_signed(), |l| l.words);
        let begin = middle - 1 - self.start();
        let ahead = b.register("ahead", bits, Some(number(begin)));
        let after = b.register("ahead_after", bits, Some(number(begin - deltas[0])));
        let outside = self.outside(&mut b, &walk);
        let floor = middle.cast_unsigned();
        let there = self.words_there(&mut b, &walk, (ahead, after, floor), write, &outside);
        let next = b.and(there, frame_there);
        b.next(available, next);
        let came = b.zero_extend(write, bits);
        let came = b.named("came", came);
        let moved = b.mux(read, after, ahead);
        let next = b.add(moved, came);
        b.next(ahead, next);
        let back: Vec<i64> = deltas.iter().map(|delta| -delta).collect();
        let back = Self::step(&mut b, &walk.ends, &back, modulus, bits);
        let zero = b.constant(bits, 0);
        let back = b.mux(read, back, zero);
        let next = b.add(after, back);
        let next = b.add(next, came);
        b.next(after, next);

        let freed = self.freeing(&mut b, &walk, bits);
        let first_freed = if walk.position_end.is_none() { self.freed(0, 0) } else { 0 };
        let freed = walk.held(&mut b, "freed", first_freed, freed);
        let freed = b.mux(read, freed, zero);
        let next = b.add(room, freed);
        let next = b.sub(next, came);
        b.next(room, next);

        let (write_at, _) = counter(&mut b, "write_at", self.depth, write).expect("two words or more");
        let addresses = self.addresses(&mut b, &walk);
        // Where nothing can be read, what the memories give is not offered: their enable is not what all else waits for.
        let words: Vec<Net> = addresses
            .into_iter()
            .zip(outside)
            .enumerate()
            .map(|(t, (at, outside))| {
                let suffix = if self.taps.len() == 1 { String::new() } else { format!("_{t}") };
                let depth = u32::try_from(self.depth).expect("a ring that a memory holds");
                let memory = b.memory(&format!("words{suffix}"), self.width, depth, None);
                b.write(memory, write_at, write, s.data);
                let word = b.read(memory, &format!("word{suffix}"), at, free);
                self.padded(&mut b, &suffix, word, outside.map(|o| (o.now, free)))
            })
            .collect();
        let data = b.concat(&words);
        let last = b.registered("last", None, free, last);
        let user = user.map(|user| b.registered("user", None, free, user));
        b.stream_output_forward("m", Stream { data, valid, last, user });
        b.output("s_ready", ready, Role::Control);
        b.finish()
    }

    /// A word, or the padding in its place.
    fn padded(&self, b: &mut Builder, suffix: &str, word: Net, outside: Option<(Net, Net)>) -> Net {
        let Some(border) = &self.border else { return word };
        let outside =
            outside.map(|(outside, free)| b.registered(&format!("padding{suffix}"), None, free, outside));
        match (&border.padding, outside) {
            (Padding::Word(_), None) => word,
            (Padding::Word(bits), Some(outside)) => {
                let parts: Vec<Net> = (0..bits.width())
                    .step_by(64)
                    .map(|low| {
                        let width = 64.min(bits.width() - low);
                        b.constant(width, bits.extract(low, width))
                    })
                    .collect();
                let padding = b.concat(&parts);
                b.mux(outside, padding, word)
            }
            (Padding::Flag, outside) => {
                let flag = outside.unwrap_or_else(|| b.constant(1, 0));
                b.concat(&[word, flag])
            }
            (Padding::Mask, outside) => {
                let inside = match outside {
                    Some(outside) => b.not(outside),
                    None => b.constant(1, 1),
                };
                let inside = b.named(format!("in_image{suffix}"), inside);
                let bits: Vec<Net> = (0..self.width)
                    .flat_map(|bit| {
                        let plus = b.slice(word, bit, 1);
                        let minus = b.not(plus);
                        [inside, b.and(inside, minus)]
                    })
                    .collect();
                b.concat(&bits)
            }
        }
    }

    fn document(&self, b: &mut Builder) {
        b.doc(format!(
            "Line buffer: a ring of {} words of {} bits, frames of {} words.",
            self.depth, self.width, self.frame
        ));
        let levels: Vec<String> = self
            .loops()
            .filter(|l| l.count > 1)
            .map(|l| format!("{} {} times {} words", l.name, l.count, l.words))
            .collect();
        let order = if levels.is_empty() { "word by word".to_owned() } else { levels.join(", ") };
        b.doc(format!("Read in nested loops, innermost first: {order}."));
        if self.skip > 0 {
            b.doc(format!("The first {} words of a frame are not read.", self.skip));
        }
        if self.taps.len() > 1 {
            let taps: Vec<String> = self.taps.iter().map(|t| t.words.to_string()).collect();
            b.doc(format!(
                "Side by side, the first in the least significant bits: words at +{}.",
                taps.join(", +")
            ));
        }
        if let Some(Border { extent: [h, w], before: [y, x], padding, .. }) = &self.border {
            b.doc(format!("The image has {h} rows and {w} columns; reading begins {y} rows above and {x} columns left of it."));
            b.doc(match padding {
                Padding::Word(_) => "Outside of it a constant word is read.",
                Padding::Mask => {
                    "Outside of it 0 is read: a bit 1 leaves as 01 (+1), 0 as 11 (-1), nothing as 00."
                }
                Padding::Flag => "The bit above each word is 1 where that is outside of it.",
            });
        }
        b.doc("room: free words less 1, two's complement. ahead: words from the one that is read next to the newest, less 1, plus half its range; ahead_after: from the one after it.");
        b.doc("The counters of the loops are a step ahead of read_at.");
        b.doc(
            "Timing: a word accepted at edge t can be read at edge t + 1 and is offered after it; full rate.",
        );
        if self.user > 0 {
            b.doc(format!("User bits{}: those of a frame's first beat.", user_suffix(self.user)));
        }
    }
}

//! A ring buffer of words that are read in nested loops: line buffers of sliding windows, pixel repetition, and reordering.

use std::sync::Arc;

use super::{counter, of_frames, up_and_down, user_suffix};
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

/// Signals of the nested loops.
struct Walk {
    /// For each level with more than one iteration: its index in [`LineBuffer::loops`], and whether it is in its last iteration.
    ends: Vec<(usize, Net)>,
    /// The last word of a position is read.
    position_done: Net,
    /// The last word of a frame is read.
    frame_done: Net,
    /// Counters of the position in the row, and of the row.
    place: [Option<(Net, Net)>; 2],
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
        let mut ends = Vec::new();
        let mut step = read;
        let mut place = [None; 2];
        let mut position_done = read;
        for (at, level) in self.loops().enumerate() {
            if at == self.inner.len() {
                position_done = step;
            }
            let Some((q, end)) = counter(b, level.name, level.count, step) else { continue };
            if at >= self.inner.len() {
                place[at - self.inner.len()] = Some((q, end));
            }
            ends.push((at, end));
            let next = b.and(step, end);
            step = b.named(format!("{}_done", level.name), next);
        }
        Walk { ends, position_done, frame_done: step, place }
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

    /// Number of words that are freed when the current position ends.
    fn freeing(&self, b: &mut Builder, walk: &Walk, bits: u32) -> Net {
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
        let frees = |r: &u64| along(*r).any(|f| f > 0);
        let Some(freeing) = (0..rows).find(frees) else {
            let none = b.constant(bits, 0);
            return b.mux(last, end, none);
        };
        let mut inside = Self::piecewise(b, Some(q), &along(freeing).collect::<Vec<_>>(), bits);
        let which: Vec<u64> = (0..rows).map(|r| u64::from(frees(&r))).collect();
        if which.contains(&0) {
            let which = Self::piecewise(b, row.map(|(q, _)| q), &which, 1);
            let none = b.constant(bits, 0);
            inside = b.mux(which, inside, none);
        }
        b.mux(last, end, inside)
    }

    /// For each tap a signal that says whether it is outside of the image; `None` if it never is.
    fn outside(&self, b: &mut Builder, walk: &Walk, read: Net) -> Vec<Option<Net>> {
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
            let q = b.register(name, bits, Some(0));
            let deltas = self.deltas(&walk.ends, 0, |l| l.pixels[axis]);
            let step = Self::step(b, &walk.ends, &deltas, 1 << bits, bits);
            let next = b.add(q, step);
            b.next_if(q, read, next);
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
        let name = |(t, o): (usize, Option<Net>)| o.map(|o| b.named(format!("outside_{t}"), o));
        outside.into_iter().enumerate().map(name).collect()
    }

    /// The address of each tap in its copy of the ring.
    fn addresses(&self, b: &mut Builder, walk: &Walk, read: Net) -> Vec<Net> {
        let depth = self.depth;
        let bits = index_bits(depth);
        let wrap = |b: &mut Builder, name: String, at: Net, step: Net| {
            if depth.is_power_of_two() {
                let sum = b.add(at, step);
                return b.named(name, sum);
            }
            let (wide, step) = (b.zero_extend(at, bits + 1), b.zero_extend(step, bits + 1));
            let sum = b.add(wide, step);
            let sum = b.named(format!("{name}_sum"), sum);
            let end = b.constant(bits + 1, depth);
            let below = b.less(sum, end);
            let (low, end) = (b.slice(sum, 0, bits), b.constant(bits, depth));
            let low = b.named(format!("{name}_low"), low);
            let over = b.sub(low, end);
            let at = b.mux(below, low, over);
            b.named(name, at)
        };
        let modulus = depth.cast_signed();
        let at = b.register("read_at", bits, Some(self.start().rem_euclid(modulus).cast_unsigned()));
        let deltas = self.deltas(&walk.ends, self.frame.cast_signed(), |l| l.words);
        let step = Self::step(b, &walk.ends, &deltas, modulus, bits);
        let next = wrap(b, "read_next".to_owned(), at, step);
        b.next_if(at, read, next);
        let of = |(t, tap): (usize, &Loop)| match tap.words % depth {
            0 => at,
            words => {
                let words = b.constant(bits, words);
                wrap(b, format!("read_at_{t}"), at, words)
            }
        };
        self.taps.iter().enumerate().map(of).collect()
    }

    /// User bits of the frame being read, and whether part of it has been written.
    fn frames(&self, b: &mut Builder, s: Stream, write: Net, done: Net) -> (Option<Net>, Net) {
        // Maximum number of frames: those in the ring, and partly written ones.
        let max_frames = self.depth / self.frame + 2;
        let fresh = b.register("at_start", 1, Some(1));
        b.next_if(fresh, write, s.last);
        let begins = b.and(write, fresh);
        let begins = b.named("frame_begins", begins);
        let count = b.register("frames", bits_for(max_frames), Some(0));
        up_and_down(b, count, begins, done);
        let there = b.reduce_or(count);
        let there = b.named("frame_there", there);
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

        // Distances are two's complement: reading may begin before a frame, and a position may be far ahead of the written words.
        let padded =
            self.border.as_ref().map_or(0, |b| (b.before[0] + b.extent[0] + 1) * b.extent[1] * b.words);
        let bits = bits_for(self.depth + 2 * self.frame + padded) + 1;
        let modulus = 1i64 << bits;
        let number = |b: &mut Builder, v: i64| b.constant(bits, v.rem_euclid(modulus).cast_unsigned());
        let at_least_0 = |b: &mut Builder, q: Net| {
            let sign = b.slice(q, bits - 1, 1);
            b.not(sign)
        };

        let room = b.register("room", bits, Some(self.depth - 1));
        let ready = at_least_0(&mut b, room);
        let ready = b.named("s_ready", ready);
        let write = b.and(s.valid, ready);
        let write = b.named("write", write);
        let valid = b.register("valid", 1, Some(0));
        let read = b.wire("read", 1);
        let walk = self.walk(&mut b, read);
        let (user, frame_there) = self.frames(&mut b, s, write, walk.frame_done);

        let middle = modulus / 2;
        let ahead =
            b.register("ahead", bits, Some((middle - 1 - self.start()).rem_euclid(modulus).cast_unsigned()));
        let outside = self.outside(&mut b, &walk, read);
        let mut available = frame_there;
        for (tap, outside) in self.taps.iter().zip(&outside) {
            let min = number(&mut b, middle + tap.words.cast_signed());
            let missing = b.less(ahead, min);
            let mut there = b.not(missing);
            if let Some(outside) = outside {
                there = b.or(there, *outside);
            }
            available = b.and(available, there);
        }
        let available = b.named("available", available);
        let empty = b.not(valid);
        let free = b.or(empty, m_ready);
        let free = b.named("free", free);
        let can_read = b.and(available, free);
        b.drive(read, can_read);
        b.next_if(valid, free, available);

        let (zero, one) = (number(&mut b, 0), number(&mut b, 1));
        let came = b.mux(write, one, zero);
        let came = b.named("came", came);
        let deltas = self.deltas(&walk.ends, self.frame.cast_signed(), |l| l.words);
        let step = Self::step(&mut b, &walk.ends, &deltas, modulus, bits);
        let gone = b.mux(read, step, zero);
        let sum = b.add(ahead, came);
        let next = b.sub(sum, gone);
        b.next(ahead, next);
        let freed = self.freeing(&mut b, &walk, bits);
        let freed = b.mux(walk.position_done, freed, zero);
        let sum = b.add(room, freed);
        let next = b.sub(sum, came);
        b.next(room, next);

        let (write_at, _) = counter(&mut b, "write_at", self.depth, write).expect("two words or more");
        let addresses = self.addresses(&mut b, &walk, read);
        let words: Vec<Net> = addresses
            .into_iter()
            .zip(outside)
            .enumerate()
            .map(|(t, (at, outside))| {
                let suffix = if self.taps.len() == 1 { String::new() } else { format!("_{t}") };
                let depth = u32::try_from(self.depth).expect("a ring that a memory holds");
                let memory = b.memory(&format!("words{suffix}"), self.width, depth, None);
                b.write(memory, write_at, write, s.data);
                let word = b.read(memory, &format!("word{suffix}"), at, read);
                self.padded(&mut b, &suffix, word, outside.map(|o| (o, read)))
            })
            .collect();
        let data = b.concat(&words);
        let last = b.registered("last", None, read, walk.frame_done);
        let user = user.map(|user| b.registered("user", None, read, user));
        b.stream_output_forward("m", Stream { data, valid, last, user });
        b.output("s_ready", ready, Role::Control);
        b.finish()
    }

    /// A word, or the padding in its place.
    fn padded(&self, b: &mut Builder, suffix: &str, word: Net, outside: Option<(Net, Net)>) -> Net {
        let Some(border) = &self.border else { return word };
        let outside =
            outside.map(|(outside, read)| b.registered(&format!("padding{suffix}"), None, read, outside));
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
        b.doc("room: free words less 1, two's complement. ahead: words from the one that is read to the newest, less 1, plus half its range.");
        b.doc(
            "Timing: a word accepted at edge t can be read at edge t + 1 and is offered after it; full rate.",
        );
        if self.user > 0 {
            b.doc(format!("User bits{}: those of a frame's first beat.", user_suffix(self.user)));
        }
    }
}

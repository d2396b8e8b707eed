//! The timing of a line buffer.

use std::collections::VecDeque;
use std::sync::Arc;

use stoxnor_hdl::block::{Border, LineBuffer, Loop};

use crate::schedule::{Process, Wire, Wires};

/// The timing of a line buffer.
#[derive(Debug)]
pub struct Ring {
    buffer: Arc<LineBuffer>,
    input: Wire,
    output: Wire,
    /// Word and pixel offsets of all iterations of the inner loops.
    inner: Vec<(u64, [u64; 2])>,
    written: u64,
    /// For each completed position that `freed` does not include yet: the number of words freed, and the edge of its last read.
    left: VecDeque<(u64, u64)>,
    /// The number of words freed, and the edge from which they are free.
    freed: (u64, u64),
    given: usize,
    /// The edge at which the last word was read.
    read: u64,
    /// The next word to be read.
    frame: u64,
    row: u64,
    column: u64,
    run: usize,
    /// The newest word of that step; `None` if it was not asked for yet.
    newest: Option<u64>,
}

impl Ring {
    /// A line buffer from reset on.
    pub fn new(buffer: Arc<LineBuffer>, input: Wire, output: Wire) -> Self {
        let inner = runs(&buffer.inner);
        Self {
            buffer,
            input,
            output,
            inner,
            written: 0,
            left: VecDeque::new(),
            freed: (0, 0),
            given: 0,
            read: 0,
            frame: 0,
            row: 0,
            column: 0,
            run: 0,
            newest: None,
        }
    }

    /// The maximum number of words between the oldest that is not free and the newest that a step reads: a lower bound of the
    /// depth.
    pub fn span(buffer: &Arc<LineBuffer>) -> u64 {
        let unconnected = Wire(usize::MAX);
        let mut ring = Self::new(Arc::clone(buffer), unconnected, unconnected);
        let (mut span, mut freed) = (0, 0);
        while ring.frame == 0 {
            let ends = ring.run + 1 == ring.inner.len();
            span = span.max((ring.newest() + 1).saturating_sub(freed));
            if ends {
                freed = buffer.freed(ring.row, ring.column);
                ring.advance();
            } else {
                ring.run += 1;
            }
        }
        span
    }

    fn write(&mut self, wires: &mut Wires) -> Option<()> {
        let at = wires.offered(self.input, self.written as usize)?;
        while self.freed.0 + self.buffer.depth <= self.written {
            let (freed, edge) = self.left.pop_front()?;
            self.freed = (freed, edge + 1);
        }
        self.written += 1;
        wires.accept(self.input, at.max(self.freed.1));
        Some(())
    }

    /// The newest word of the next step.
    fn newest(&self) -> u64 {
        let buffer = &*self.buffer;
        let base = self.frame * buffer.frame;
        let [columns, rows] = &buffer.outer;
        let (more, further) = self.inner[self.run];
        let words = self.row * rows.words + self.column * columns.words + more;
        let pixels = [0, 1].map(|a| self.row * rows.pixels[a] + self.column * columns.pixels[a] + further[a]);
        // A frame's first word is awaited before anything of the frame is read.
        let mut newest = base;
        for tap in &buffer.taps {
            let pixel = [0, 1].map(|a| pixels[a] + tap.pixels[a]);
            if buffer.border.as_ref().is_none_or(|b| inside(b, pixel)) {
                let word = (base + words + tap.words).cast_signed() + buffer.start();
                newest = newest.max(word.cast_unsigned());
            }
        }
        newest
    }

    fn read(&mut self, wires: &mut Wires) -> Option<()> {
        let newest = self.newest.unwrap_or_else(|| self.newest());
        self.newest = Some(newest);
        let mut at = wires.accepted(self.input, newest as usize)? + 1;
        if let Some(before) = self.given.checked_sub(1) {
            at = at.max(self.read + 1).max(wires.accepted(self.output, before)?);
        }
        self.read = at;
        self.given += 1;
        wires.offer(self.output, at + 1);
        self.newest = None;
        self.run += 1;
        if self.run == self.inner.len() {
            let freed = self.frame * self.buffer.frame + self.buffer.freed(self.row, self.column);
            self.left.push_back((freed, at));
            self.advance();
        }
        Some(())
    }

    /// Moves to the next position.
    fn advance(&mut self) {
        let [columns, rows] = &self.buffer.outer;
        self.run = 0;
        self.column += 1;
        if self.column == columns.count {
            self.column = 0;
            self.row += 1;
        }
        if self.row == rows.count {
            self.row = 0;
            self.frame += 1;
        }
    }
}

impl Process for Ring {
    fn run(&mut self, wires: &mut Wires) {
        loop {
            let wrote = self.write(wires).is_some();
            let read = self.read(wires).is_some();
            if !wrote && !read {
                return;
            }
        }
    }
}

fn inside(border: &Border, pixel: [u64; 2]) -> bool {
    (0..2).all(|a| (border.before[a]..border.before[a] + border.extent[a]).contains(&pixel[a]))
}

/// Word and pixel offsets of all iterations of nested loops, in order.
fn runs(loops: &[Loop]) -> Vec<(u64, [u64; 2])> {
    loops.iter().fold(vec![(0, [0; 2])], |inner, level| {
        let run = |i: u64| {
            inner.iter().map(move |(words, pixels)| {
                (words + i * level.words, [0, 1].map(|a| pixels[a] + i * level.pixels[a]))
            })
        };
        (0..level.count).flat_map(run).collect()
    })
}

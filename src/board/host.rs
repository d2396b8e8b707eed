//! The host's end of a serial line: frames to a board, and results back.

use std::io::{self, Read, Write};

use stoxnor_hdl::Bits;

use crate::board::protocol::{Answer, Answers, Status, request};
use crate::diagnostic::{BOARD_SILENT, Diagnostic, Result};
use crate::engine::entry_beats;
use crate::frame::element::Element;
use crate::lower::Hardware;
use crate::network::Network;

/// Attempts to get a frame's result.
const ATTEMPTS: usize = 8;

/// So many bytes between two silences are no board's, beside those of this many results.
const BABBLE: usize = 4096;
const RESULTS: usize = 16;

/// A host on a port. A read that gets nothing for a while must fail with [`io::ErrorKind::TimedOut`]: the board is taken to be quiet then.
#[derive(Debug)]
pub struct Host<P> {
    port: P,
    answers: Answers,
    sequence: u8,
    /// Elements of a result, elements of a beat, their type.
    output: (usize, usize, Element),
    /// Bytes between two silences, at most.
    most: usize,
    /// Requests that were sent again.
    pub repeated: u64,
}

/// A beat as bytes, little endian.
fn bytes(beat: &Bits) -> impl Iterator<Item = u8> {
    let words = beat.words().iter().flat_map(|word| word.to_le_bytes());
    words.take(beat.width().div_ceil(8) as usize)
}

/// The bytes of the input beats of frames.
pub fn payloads(network: &Network, hardware: &Hardware, frames: &[Vec<i32>]) -> Vec<Vec<u8>> {
    let beats = entry_beats(network, hardware, frames, 0);
    beats.iter().map(|frame| frame.iter().flat_map(bytes).collect()).collect()
}

impl<P: Read + Write> Host<P> {
    /// A host for a core with one input and one output.
    pub fn new(port: P, hardware: &Hardware) -> Self {
        let exit = &hardware.boundaries[hardware.design.exits[0]];
        let beat = (exit.lanes as u32 * exit.element.bits()).div_ceil(8) as usize;
        let output = (exit.elements, exit.lanes, exit.element);
        let size = exit.beats() * beat;
        let most = RESULTS * size + BABBLE;
        Self { port, answers: Answers::new(size), sequence: 0, output, most, repeated: 0 }
    }

    /// The integers of a frame. `user` is its number of members, if the core has a port for it.
    ///
    /// # Errors
    /// If the port fails, or no attempt brings a result.
    pub fn frame(&mut self, user: Option<u8>, payload: &[u8]) -> Result<Vec<i64>> {
        let mut last = "nothing came back".to_owned();
        for attempt in 0..ATTEMPTS {
            self.repeated += u64::from(attempt > 0);
            // A number of its own for each attempt: a late answer to an earlier one is none to this.
            self.sequence = self.sequence.wrapping_add(1);
            let sent = request(self.sequence, user, payload);
            self.port.write_all(&sent).and_then(|()| self.port.flush()).map_err(|e| failed(&e))?;
            match self.answer()? {
                Some(Answer { status: Status::Result, beats, .. }) => return Ok(self.integers(&beats)),
                Some(Answer { status, .. }) => {
                    let said = match status {
                        Status::Damaged => "the board got damaged bytes",
                        Status::Cut => "the board got too few bytes",
                        Status::Result | Status::Dropped => "the board was at work on something else",
                    };
                    last = said.to_owned();
                }
                None => {}
            }
            self.quiet()?;
        }
        let message = format!("no result of a frame in {ATTEMPTS} attempts; at last {last}");
        Err(Diagnostic::new(&BOARD_SILENT, message)
            .help("check the port, its speed, and that the board holds this model with this configuration")
            .into())
    }

    /// The next bytes, or nothing if the board is quiet.
    fn bytes(&mut self) -> Result<Option<Vec<u8>>> {
        let mut buffer = [0; 4096];
        loop {
            return match self.port.read(&mut buffer) {
                Ok(0) => Ok(None),
                Ok(count) => Ok(Some(buffer[..count].to_vec())),
                Err(error) if error.kind() == io::ErrorKind::TimedOut => Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Err(failed(&error)),
            };
        }
    }

    /// The answer to the latest request, or nothing if the board is quiet before it comes, or says too much.
    fn answer(&mut self) -> Result<Option<Answer>> {
        let mut count = 0;
        while count < self.most {
            let Some(bytes) = self.bytes()? else { break };
            count += bytes.len();
            let found = self.answers.take(&bytes);
            // The number of a damaged request may be damaged too.
            let own = |answer: &Answer| answer.sequence == self.sequence || answer.status != Status::Result;
            if let Some(answer) = found.into_iter().find(own) {
                return Ok(Some(answer));
            }
        }
        Ok(None)
    }

    /// Waits until the board says nothing any more.
    fn quiet(&mut self) -> Result<()> {
        let mut count = 0;
        while let Some(bytes) = self.bytes()? {
            count += bytes.len();
            if count > self.most {
                return Err(Diagnostic::new(&BOARD_SILENT, "the port never falls silent")
                    .help("check the port and its speed: it may be another device's")
                    .into());
            }
        }
        self.answers.forget();
        Ok(())
    }

    /// The elements in the bytes of beats.
    fn integers(&self, beats: &[u8]) -> Vec<i64> {
        let (elements, lanes, element) = self.output;
        let size = (lanes as u32 * element.bits()).div_ceil(8) as usize;
        let bit = |beat: &[u8], at: usize| u64::from(beat[at / 8] >> (at % 8) & 1);
        let width = element.bits() as usize;
        let of = |beat: &[u8], lane: usize| -> i64 {
            let pattern = (0..width).fold(0, |word, k| word | bit(beat, lane * width + k) << k);
            element.decode(pattern).into()
        };
        let values = beats.chunks(size).flat_map(|beat| (0..lanes).map(move |lane| of(beat, lane)));
        values.take(elements).collect()
    }
}

fn failed(error: &io::Error) -> crate::diagnostic::Diagnostics {
    Diagnostic::new(&BOARD_SILENT, format!("the port failed: {error}"))
        .help("check that the board is connected and that no other program uses its port")
        .into()
}

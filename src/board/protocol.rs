//! The packets on a serial line, as [`stoxnor_hdl::block::serial`] describes them, for a host.

use stoxnor_hdl::block::serial::{ANSWER, REQUEST};

/// CRC-16/IBM-3740.
pub fn crc(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0xffff, |crc, byte| {
        (0..8)
            .fold(crc ^ u16::from(*byte) << 8, |crc, _| crc << 1 ^ if crc & 0x8000 != 0 { 0x1021 } else { 0 })
    })
}

/// A request: `user` is the number of members, where the core has a port for it; `beats` are the bytes of the input beats.
pub fn request(sequence: u8, user: Option<u8>, beats: &[u8]) -> Vec<u8> {
    let body: Vec<u8> = [sequence].into_iter().chain(user).chain(beats.iter().copied()).collect();
    [&[REQUEST], &body[..], &crc(&body).to_be_bytes()].concat()
}

/// What a board says of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// The result follows.
    Result,
    /// The request's CRC is wrong.
    Damaged,
    /// The request ended early.
    Cut,
    /// Bytes were dropped while another request was in work.
    Dropped,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Sequence number of the request.
    pub sequence: u8,
    /// What became of it.
    pub status: Status,
    /// The bytes of the output beats; none without a result.
    pub beats: Vec<u8>,
}

/// Finds answers in the bytes that come from a board. Bytes that belong to none are dropped.
#[derive(Debug)]
pub struct Answers {
    /// Bytes of the output beats of a result.
    size: usize,
    pending: Vec<u8>,
}

impl Answers {
    /// Answers with results of `size` bytes.
    pub fn new(size: usize) -> Self {
        Self { size, pending: Vec::new() }
    }

    /// Takes bytes, and returns the answers that they complete.
    pub fn take(&mut self, bytes: &[u8]) -> Vec<Answer> {
        self.pending.extend_from_slice(bytes);
        let mut answers = Vec::new();
        let mut at = 0;
        while at < self.pending.len() {
            match self.read(&self.pending[at..]) {
                Read::Answer(answer, length) => {
                    answers.push(answer);
                    at += length;
                }
                Read::Nothing => at += 1,
                Read::Incomplete => break,
            }
        }
        self.pending.drain(..at);
        answers
    }

    /// Forgets what has come: the board has been quiet, so no answer is on the way.
    pub fn forget(&mut self) {
        self.pending.clear();
    }

    fn read(&self, bytes: &[u8]) -> Read {
        if bytes[0] != ANSWER {
            return Read::Nothing;
        }
        let Some(status) = bytes.get(2) else { return Read::Incomplete };
        let status = match status {
            0 => Status::Result,
            1 => Status::Damaged,
            2 => Status::Cut,
            3 => Status::Dropped,
            _ => return Read::Nothing,
        };
        let size = if status == Status::Result { self.size } else { 0 };
        let Some(body) = bytes.get(1..3 + size) else { return Read::Incomplete };
        let Some(sum) = bytes.get(3 + size..5 + size) else { return Read::Incomplete };
        if crc(body).to_be_bytes() != *sum {
            return Read::Nothing;
        }
        Read::Answer(Answer { sequence: body[0], status, beats: body[2..].to_vec() }, 5 + size)
    }
}

enum Read {
    /// An answer, and how many bytes it has.
    Answer(Answer, usize),
    /// No answer begins here.
    Nothing,
    /// More bytes may complete an answer.
    Incomplete,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_crc_is_that_of_the_catalogue() {
        assert_eq!(crc(b"123456789"), 0x29b1);
    }

    #[test]
    fn answers_are_found_among_other_bytes_and_in_pieces() {
        let body = [7, 0, 1, 2, 3];
        let answer = [&[ANSWER], &body[..], &crc(&body).to_be_bytes()].concat();
        let mut answers = Answers::new(3);
        let bytes = [&[1, ANSWER, 9], &answer[..], &[2]].concat();
        let found: Vec<Answer> = bytes.chunks(2).flat_map(|piece| answers.take(piece)).collect();
        assert_eq!(found, [Answer { sequence: 7, status: Status::Result, beats: vec![1, 2, 3] }]);
        let mut damaged = answer.clone();
        damaged[4] ^= 1;
        assert_eq!(Answers::new(3).take(&damaged), []);
    }
}

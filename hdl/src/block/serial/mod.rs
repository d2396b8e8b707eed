//! A serial line to a core: bytes (8 bits, no parity, one stop bit), and packets of frames and results.
//!
//! The host sends a request, the board sends one answer to it. Beats are little endian, `ceil(width / 8)` bytes each.
//!
//! | request | bytes | | answer | bytes |
//! |---|---|---|---|---|
//! | `5a` | 1 | | `a5` | 1 |
//! | sequence number | 1 | | sequence number of the request | 1 |
//! | user bits (number of members), if there are any | 1 | | status | 1 |
//! | input beats of a frame | `beats * ceil(width / 8)` | | output beats, with status 0 only | `beats * ceil(width / 8)` |
//! | CRC, high byte first | 2 | | CRC, high byte first | 2 |
//!
//! The CRC is CRC-16/IBM-3740 (polynomial 1021, start ffff, of `123456789` 29b1) over the bytes between the first one and itself.
//!
//! | status | meaning |
//! |---|---|
//! | 0 | the result |
//! | 1 | the request's CRC is wrong |
//! | 2 | the request ended early: no byte came for a while |
//! | 3 | bytes came while another request was in work; they were dropped |
//!
//! The core gets a frame only when its CRC was right. After a status of 3 the sequence number is that of the request before. The board
//! drops bytes outside requests.

mod crc;
mod link;
mod uart;

/// First byte of a request.
pub const REQUEST: u8 = 0x5a;
/// First byte of an answer.
pub const ANSWER: u8 = 0xa5;

pub use link::SerialLink;
pub use uart::{uart_receiver, uart_transmitter};

//! Stall patterns: the cycles in which a source starts no new beat, or a sink is not ready.
//!
//! Each port has a 64-bit LFSR, `s = {s[62:0], s[63] ^ s[62] ^ s[60] ^ s[59]}` (taps 64 63 61 60), which advances every clock
//! from cycle 0. Its state at cycle 0 is [`start`]: SplitMix64 of the user's seed and the port's number, so that ports differ.
//! Time is divided into windows of 64 cycles. In the first cycle of a window, bits 2 and 1 of the state select its stall mode:
//!
//! | `s[2:1]` | the port's bit in every cycle of the window | share of stalled cycles |
//! |---|---|---|
//! | 0 | 0 | none |
//! | 1 | `s[0]` | 1/2 |
//! | 2 | `s[0] \| s[1] \| s[2]` | 7/8 |
//! | 3 | 1 | all |
//!
//! So a port stalls 19/32 of the time, from no stalls to stalls of a multiple of 64 cycles.
//! The first input is port 0, output k is port 1 + k, and input k is port 2^16 + k - 1 where k is 1 or more.
//! The first 64 bits of seed 1, cycle 0 in the least significant bit, are the words in the tests of this module.

/// The pattern of one port in Verilog: the module `stall_pattern`, which the test benches instantiate.
pub const VERILOG: &str = include_str!("stall_pattern.v");

/// The port number of the source.
pub const SOURCE: u64 = 0;
/// The port number of the first sink.
pub const SINK: u64 = 1;
/// Number of the port of input 1; inputs beyond the first count from here, above every sink.
const MORE_SOURCES: u64 = 1 << 16;

/// The port of input `index`: [`SOURCE`] for the first one, 2^16 + `index` - 1 for the others.
pub fn source(index: usize) -> u64 {
    if index == 0 { SOURCE } else { MORE_SOURCES + index as u64 - 1 }
}

/// The port of output `index`: [`SINK`] + `index`.
pub fn sink(index: usize) -> u64 {
    SINK + index as u64
}

/// One port's stall pattern, cycle by cycle.
#[derive(Debug, Clone)]
pub struct Stall {
    state: u64,
    phase: u8,
    window: u8,
}

/// The LFSR's state at cycle 0: SplitMix64's output function of `seed + (port + 1) * 0x9e3779b97f4a7c15`, or 1 if that is 0.
pub fn start(seed: u64, port: u64) -> u64 {
    let mut z = seed.wrapping_add((port + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ z >> 31).max(1)
}

impl Stall {
    /// The pattern of `port` for the user's `seed`.
    pub fn new(seed: u64, port: u64) -> Self {
        Self { state: start(seed, port), phase: 0, window: 0 }
    }
}

/// The port's bit in each cycle from 0 on; endless.
impl Iterator for Stall {
    type Item = bool;

    fn next(&mut self) -> Option<bool> {
        let s = self.state;
        if self.phase == 0 {
            self.window = (s >> 1 & 3) as u8;
        }
        let bit = match self.window {
            0 => false,
            1 => s & 1 == 1,
            2 => s & 7 != 0,
            _ => true,
        };
        self.phase = (self.phase + 1) % 64;
        self.state = s << 1 | (s >> 63 ^ s >> 62 ^ s >> 60 ^ s >> 59) & 1;
        Some(bit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(seed: u64, port: u64, count: usize) -> Vec<u64> {
        let mut stall = Stall::new(seed, port);
        (0..count).map(|_| (0..64).fold(0, |w, i| w | u64::from(stall.next() == Some(true)) << i)).collect()
    }

    /// The vectors of the specification above: they hold every implementation of the pattern.
    #[test]
    fn vectors() {
        assert_eq!([start(1, SOURCE), start(1, SINK)], [0x910a2dec89025cc1, 0xbeeb8da1658eec67]);
        assert_eq!(
            words(1, SOURCE, 6),
            [
                0x0000000000000000,
                0x0000000000000000,
                0x0fffffffffffffff,
                0x0000000000000000,
                0x0000000000000000,
                0xffff8e1fffbffee7
            ]
        );
        assert_eq!(
            words(1, SINK, 6),
            [
                0xffffffffffffffff,
                0x57888ef0309da851,
                0xffdff3ffffff7fff,
                0xffffffffffffffff,
                0xffffffffffffffff,
                0x1e63291f52674b93
            ]
        );
    }

    /// Inputs beyond the first have patterns of their own, and no sink has one of theirs.
    #[test]
    fn vectors_of_a_second_input() {
        assert_eq!([source(0), source(1), source(2), sink(0), sink(2)], [0, 65536, 65537, 1, 3]);
        assert_eq!(start(1, source(1)), 0xc5a7_15aa_918d_b3c4);
        assert_eq!(
            words(1, source(1), 4),
            [0xfbfc3bfb87fe3ff9, 0xffffffffffffffff, 0x61a0a6d14bea37d1, 0xffffff3fffffffff]
        );
    }

    #[test]
    fn a_port_is_stalled_nineteen_thirty_seconds_of_the_time() {
        let ones: u32 = words(7, SINK, 20_000).iter().map(|w| w.count_ones()).sum();
        let share = f64::from(ones) / (20_000.0 * 64.0);
        assert!((share - 19.0 / 32.0).abs() < 0.01, "{share}");
    }
}

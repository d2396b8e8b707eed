//! Hardware blocks, one per file. Streams carry `last` and user bits through all of them.

mod accumulator;
mod carry;
mod dp16kd;
mod fifo;
mod fork;
mod frame_sum;
mod join;
mod lane;
mod lfsr;
mod line_buffer;
mod popcount;
mod processing_element;
mod ram;
mod replay;
mod rom;
mod rounding;
pub mod serial;
mod stream_register;
mod threshold;
mod threshold_search;
mod width_converter;

pub use accumulator::accumulator;
pub use dp16kd::rom_dp16kd;
pub use fifo::fifo;
pub use fork::fork;
pub use frame_sum::{Summand, frame_sum};
pub use join::{in_turn, join};
pub use lane::{LEVELS, Lane, SEGMENT, running_parity};
pub use lfsr::{lfsr, lfsr_window};
pub use line_buffer::{Border, LineBuffer, Loop, Padding};
pub use popcount::Cells;
pub use processing_element::{PopcountCuts, ProcessingElement};
pub use ram::ram;
pub use replay::{replay, replay_user};
pub use rom::rom;
pub use rounding::RoundingLane;
pub use stream_register::{running_stream_register, stream_register};
pub use threshold::{threshold, threshold_count};
pub use threshold_search::ThresholdSearch;
pub use width_converter::{narrower, widener};

use crate::{Builder, Net};

/// The suffix of a module name for `user` user bits; empty if there are none.
fn user_suffix(user: u32) -> String {
    if user == 0 { String::new() } else { format!("_u{user}") }
}

/// A counter `<name>_q` from 0 to `count - 1` that wraps around and advances where `step` is 1. Returns its value and whether it
/// is at the end: a register, as steps of other counters and handshakes depend on it.
///
/// `None` if `count` is 1: there is nothing to count.
pub fn counter(b: &mut Builder, name: &str, count: u64, step: Net) -> Option<(Net, Net)> {
    counter_from(b, name, count, 0, step)
}

/// The same, with `start` after reset.
fn counter_from(b: &mut Builder, name: &str, count: u64, start: u64, step: Net) -> Option<(Net, Net)> {
    if count <= 1 {
        return None;
    }
    let q = b.register(name, crate::index_bits(count), Some(start));
    let end = if count == 2 {
        q
    } else {
        let end = b.register(&format!("{name}_end"), 1, Some(u64::from(start == count - 1)));
        let almost = b.is(q, count - 2);
        b.next_if(end, step, almost);
        end
    };
    let (zero, one) = (b.constant(b.width(q), 0), b.constant(b.width(q), 1));
    let up = b.add(q, one);
    let next = b.mux(end, zero, up);
    b.next_if(q, step, next);
    Some((q, end))
}

/// Whether a counter of [`counter`] is 0: a register, for the same reason. `counted` is what it returned, and `step` advances it.
pub fn counter_begins(b: &mut Builder, name: &str, counted: (Net, Net), step: Net) -> Net {
    let (q, end) = counted;
    if b.width(q) == 1 {
        let begins = b.not(q);
        return b.named(name, begins);
    }
    let begins = b.register(name, 1, Some(1));
    b.next_if(begins, step, end);
    begins
}

/// Makes register `q` count up where `up` is 1, and down where `down` is 1.
fn up_and_down(b: &mut Builder, q: Net, up: Net, down: Net) {
    // One adder: of 1, or of -1, whose bits are all 1.
    let lowest = b.constant(1, 1);
    let change = match b.width(q) {
        1 => lowest,
        bits => {
            let others = b.not(up);
            let others = b.sign_extend(others, bits - 1);
            b.concat(&[lowest, others])
        }
    };
    let next = b.add(q, change);
    let changed = b.xor(up, down);
    b.next_if(q, changed, next);
}

/// Whether a buffer has entries, as a register, so that the path from one handshake to the next is short. `count` is their number,
/// which `up` and `down` change.
fn has_entries(b: &mut Builder, name: &str, count: Net, up: Net, down: Net) -> Net {
    let some = b.register(name, 1, Some(0));
    let next = after(b, some, count, up, down);
    b.next(some, next);
    some
}

/// Whether the buffer has entries after the coming edge, from a register `name` for whether it has some now.
fn some_after(b: &mut Builder, name: &str, count: Net, up: Net, down: Net) -> Net {
    let some = b.register(name, 1, Some(0));
    let next = after(b, some, count, up, down);
    let next = b.named(format!("{name}_after"), next);
    b.next(some, next);
    next
}

fn after(b: &mut Builder, some: Net, count: Net, up: Net, down: Net) -> Net {
    let one = b.is(count, 1);
    let empties = b.and(one, down);
    let stays = b.not(empties);
    let stays = b.and(some, stays);
    b.or(up, stays)
}

/// The same for whether a buffer of `depth` entries is full.
fn is_full(b: &mut Builder, name: &str, depth: u32, count: Net, up: Net, down: Net) -> Net {
    let full = b.register(name, 1, Some(0));
    let almost = b.is(count, u64::from(depth) - 1);
    let fills = b.and(almost, up);
    let fills = b.or(fills, full);
    let stays = b.not(down);
    let next = b.and(fills, stays);
    b.next(full, next);
    full
}

/// The value of `said` at the beginning (`begins`) of the frame in work. Registers `<name>_0`, `<name>_1`, ... hold it for up to
/// `frames` frames (two or more). `done` switches to the next frame.
fn of_frames(b: &mut Builder, name: &str, frames: u64, said: Net, begins: Net, done: Net) -> Net {
    let (into, _) = counter(b, "into", frames, begins).expect("two or more");
    let (from, _) = counter(b, "from", frames, done).expect("two or more");
    let mut value = None;
    for frame in 0..frames {
        let here = b.is(into, frame);
        let here = b.and(begins, here);
        let kept = b.registered(&format!("{name}_{frame}"), None, here, said);
        value = Some(value.map_or(kept, |others| {
            let selected = b.is(from, frame);
            b.mux(selected, kept, others)
        }));
    }
    value.expect("two or more")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Bits;
    use crate::check::check;

    fn pe(
        lane: Lane,
        input: &[i64],
        weights: &[i64],
        bits: u32,
        accumulates: bool,
    ) -> std::sync::Arc<crate::Module> {
        let cuts = PopcountCuts::default();
        ProcessingElement {
            lane,
            simd: 16,
            input,
            weights,
            bits,
            accumulates,
            present: None,
            starts: false,
            cuts,
        }
        .build()
    }

    fn search(levels: u32, rows: u32, steps: u32, registered: bool) -> std::sync::Arc<crate::Module> {
        let falling = rows > 5;
        ThresholdSearch { levels, bits: 9, rows, falling, steps, registered }.build()
    }

    /// 3 x 3 taps over 5 x 4 pixels, a row of them side by side.
    fn window(padding: Option<Padding>) -> LineBuffer {
        let level = |name, count, words, pixels| Loop { name, count, words, pixels };
        let around = padding.is_some();
        let [columns, rows] = if around { [4, 5] } else { [2, 3] };
        LineBuffer {
            width: 3,
            depth: 20,
            frame: 20,
            inner: vec![level("kernel_y", 3, 4, [1, 0])],
            outer: [level("x_position", columns, 1, [0, 1]), level("y_position", rows, 4, [1, 0])],
            taps: (0..3).map(|x| level("tap", 1, x, [0, x])).collect(),
            skip: 0,
            border: padding.map(|padding| Border { extent: [5, 4], before: [1, 1], words: 1, padding }),
            user: u32::from(around),
        }
    }

    #[test]
    fn every_block_passes_the_checks() {
        let blocks = [
            stream_register(8, 0),
            stream_register(3, 2),
            running_stream_register(3, 1),
            fifo(1, 4, 1),
            fifo(2, 8, 0),
            fifo(100, 1, 3),
            widener(4, 2, 0),
            widener(3, 7, 1),
            narrower(4, 2, 0),
            narrower(2, 33, 2),
            fork(2, 4, 0),
            fork(3, 1, 2),
            join(&[3, 4], 0),
            join(&[1, 2, 3], 1),
            in_turn(&[1, 1], 4, 0),
            in_turn(&[2, 1, 3], 1, 2),
            rom(1, 4),
            rom(100, 70),
            ram(16, 8),
            window(None).build("window"),
            window(Some(Padding::Word(Bits::zero(3)))).build("padded"),
            window(Some(Padding::Mask)).build("masked"),
            window(Some(Padding::Flag)).build("flagged"),
            lfsr(1, false),
            lfsr(60, true),
            lfsr(61, false),
            lfsr(240, true),
            lfsr(700, true),
            RoundingLane::Binary.build(1, 1),
            RoundingLane::Binary.build(5, 4),
            RoundingLane::Ternary.build(3, 1),
            RoundingLane::Ternary.build(4, 3),
            replay(1, 3, 1),
            replay(1, 3, 5),
            replay(6, 2, 1),
            replay(6, 2, 16),
            frame_sum(1, 2, Summand::Signed(4), 7, 0),
            frame_sum(2, 2, Summand::Bipolar, 4, 0),
            frame_sum(5, 1, Summand::Unsigned(3), 6, 2),
            Lane::Xnor.popcount(1, 1),
            Lane::Xnor.popcount(49, 6),
            Lane::MaskedXnor.popcount(8, 3),
            Lane::And.popcount(8, 4),
            Lane::Parity.popcount(2, 2),
            Lane::One.popcount_in_stages(49, 6, 2),
            Lane::Parity.popcount(5, 3),
            Lane::Parity.popcount_in_stages(49, 6, LEVELS),
            running_parity(3),
            Lane::Parity.popcount(33, 6),
            Lane::Parity.popcount(65, 7),
            Lane::Parity.popcount_in_stages(100, 4, LEVELS),
            running_parity(64),
            running_parity(99),
            threshold_count(7, 5, false, false),
            threshold_count(3, 4, true, true),
            search(1, 1, 1, false),
            search(4, 1, 1, false),
            search(4, 6, 1, true),
            search(3, 5, 3, false),
            search(5, 1, 3, true),
            search(1, 2, 3, false),
            search(8, 4, 3, true),
            pe(Lane::Xnor, &[1], &[1], 9, true),
            pe(Lane::Xnor, &[1], &[1], 5, false),
            pe(Lane::MaskedXnor, &[1, 2, -4], &[1], 6, true),
            pe(Lane::And, &[1, 2], &[1, 2, -4], 9, true),
        ];
        for block in blocks {
            let issues = check(&block);
            assert!(issues.is_empty(), "{}", issues.iter().map(|i| format!("{i}\n")).collect::<String>());
        }
    }
}

//! Bytes on a serial line: a start bit of 0, eight bits, the least significant first, a stop bit of 1.

use std::sync::Arc;

use crate::{Builder, Module, Net, Role, index_bits};

/// A timer `<name>_q` that counts down to 0 and starts again from `period - 1`, or from `start` where `load` is 1. Returns whether it is 0.
fn timer(b: &mut Builder, name: &str, period: u32, (load, start): (Net, u32), runs: Net) -> Net {
    let width = index_bits(period.into());
    let q = b.register(name, width, Some(0));
    let zero = b.is(q, 0);
    let zero = b.named(format!("{name}_zero"), zero);
    let (one, whole, first) =
        (b.constant(width, 1), b.constant(width, u64::from(period - 1)), b.constant(width, start.into()));
    let down = b.sub(q, one);
    let next = b.mux(zero, whole, down);
    let next = b.mux(load, first, next);
    let step = b.or(load, runs);
    b.next_if(q, step, next);
    zero
}

/// Receives bytes from `line`, with `period` clock cycles a bit, 4 or more.
///
/// Ports `line`, `data` (8 bits), `valid`: 1 in the cycle after the middle of a stop bit that is 1. A byte without one is dropped.
pub fn uart_receiver(period: u32) -> Arc<Module> {
    let mut b = Builder::new(format!("uart_receiver_{period}"));
    b.doc(format!("Serial receiver: {period} cycles a bit, 8 bits, no parity, one stop bit."));
    b.doc("Timing: valid is 1 for one cycle, after the middle of the stop bit. A byte without stop bit is dropped.");
    let line = b.input("line", 1, Role::Control);
    let first = b.register("line_first", 1, Some(1));
    b.next(first, line);
    let line = b.register("line", 1, Some(1));
    b.next(line, first);

    let busy = b.register("busy", 1, Some(0));
    let idle = b.not(busy);
    let low = b.not(line);
    let begins = b.and(idle, low);
    let begins = b.named("begins", begins);
    let middle = timer(&mut b, "time", period, (begins, period / 2 - 1), busy);
    let sample = b.and(busy, middle);
    let sample = b.named("sample", sample);
    // Ten bits: start, data, stop.
    let left = b.register("left", 4, None);
    let (nine, minus_one) = (b.constant(4, 9), b.constant(4, 15));
    let down = b.add(left, minus_one);
    let next = b.mux(begins, nine, down);
    let counts = b.or(begins, sample);
    b.next_if(left, counts, next);
    let bits = b.register("bits", 8, None);
    let upper = b.slice(bits, 1, 7);
    let moved = b.concat(&[upper, line]);
    b.next_if(bits, sample, moved);
    // A start bit that is 1 in its middle was none.
    let at_start = b.is(left, 9);
    let false_start = b.and(at_start, line);
    let at_stop = b.is(left, 0);
    let at_stop = b.named("at_stop", at_stop);
    let ends = b.or(at_stop, false_start);
    let ends = b.and(sample, ends);
    let stays = b.not(ends);
    let busy_next = b.mux(busy, stays, begins);
    b.next(busy, busy_next);
    let stop = b.and(sample, at_stop);
    let stop = b.named("stop", stop);
    let complete = b.and(stop, line);
    let valid = b.register("valid", 1, Some(0));
    b.next(valid, complete);
    let data = b.registered("data", None, stop, bits);
    b.output("data", data, Role::Control);
    b.output("valid", valid, Role::Control);
    b.finish()
}

/// Sends the bytes of the stream `s` on `line`, with `period` clock cycles a bit.
pub fn uart_transmitter(period: u32) -> Arc<Module> {
    let mut b = Builder::new(format!("uart_transmitter_{period}"));
    b.doc(format!("Serial transmitter: {period} cycles a bit, 8 bits, no parity, one stop bit."));
    b.doc("Timing: the start bit begins after the edge that accepts a byte.");
    let data = b.input("s_data", 8, Role::Data);
    let valid = b.input("s_valid", 1, Role::Control);
    let busy = b.register("busy", 1, Some(0));
    let ready = b.not(busy);
    let ready = b.named("s_ready", ready);
    let begins = b.and(valid, ready);
    let begins = b.named("begins", begins);
    let end_of_bit = timer(&mut b, "time", period, (begins, period - 1), busy);
    let step = b.and(busy, end_of_bit);
    let step = b.named("step", step);
    // Ten bits: start, data, stop.
    let left = b.register("left", 4, Some(0));
    let (nine, minus_one) = (b.constant(4, 9), b.constant(4, 15));
    let down = b.add(left, minus_one);
    let left_next = b.mux(begins, nine, down);
    let moves = b.or(begins, step);
    let moves = b.named("moves", moves);
    b.next_if(left, moves, left_next);
    let last = b.is(left, 0);
    let ends = b.and(step, last);
    let stays = b.not(ends);
    let busy_next = b.mux(busy, stays, begins);
    b.next(busy, busy_next);
    let high = b.constant(1, 1);
    let low = b.constant(1, 0);
    let bits = b.register("bits", 9, Some(0x1ff));
    let upper = b.slice(bits, 1, 8);
    let shifted = b.concat(&[upper, high]);
    let loaded = b.concat(&[low, data]);
    let next = b.mux(begins, loaded, shifted);
    b.next_if(bits, moves, next);
    let line = b.slice(bits, 0, 1);
    b.output("line", line, Role::Data);
    b.output("s_ready", ready, Role::Control);
    b.finish()
}

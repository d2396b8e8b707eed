//! A FIFO in memory with a registered read.

use std::sync::Arc;

use super::{counter, has_entries, is_full, up_and_down, user_suffix};
use crate::{Builder, Module, Role, Stream, bits_for};

/// A FIFO that holds `depth` beats in memory and one more in its output register.
///
/// `last` and the user bits have a memory of their own, so that control never depends on a memory that holds data.
///
/// A depth of 1 has half the rate: an entry cannot be written and read in the same cycle.
///
/// # Panics
/// If `depth` is 0.
pub fn fifo(depth: u32, width: u32, user: u32) -> Arc<Module> {
    assert!(depth >= 1, "a FIFO of nothing");
    let mut b = Builder::new(format!("fifo_d{depth}_w{width}{}", user_suffix(user)));
    b.doc(format!("FIFO: {depth} beats in memory, one more in the output register."));
    let rate = if depth > 1 { "full rate" } else { "a beat every second cycle" };
    b.doc(format!("Timing: a beat accepted at edge t is offered after edge t + 1; {rate}."));
    let s = b.stream_input("s", width, user);
    let m_ready = b.input("m_ready", 1, Role::Control);

    let count = b.register("count", bits_for(depth.into()), Some(0));
    let valid = b.register("valid", 1, Some(0));
    let (write, read) = (b.wire("write", 1), b.wire("read", 1));
    let full = is_full(&mut b, "full", depth, count, write, read);
    let ready = b.not(full);
    let ready = b.named("s_ready", ready);
    let accepted = b.and(s.valid, ready);
    b.drive(write, accepted);
    let filled = has_entries(&mut b, "filled", count, write, read);
    let empty = b.not(valid);
    let free = b.or(empty, m_ready);
    let free = b.named("free", free);
    let taken = b.and(filled, free);
    b.drive(read, taken);
    b.next_if(valid, free, read);

    up_and_down(&mut b, count, write, read);

    let mut place = |name, step| match counter(&mut b, name, depth.into(), step) {
        Some((q, _)) => q,
        None => b.constant(1, 0),
    };
    let (write_at, read_at) = (place("write_at", write), place("read_at", read));
    let data_memory = b.memory("data_words", width, depth, None);
    b.write(data_memory, write_at, write, s.data);
    // Where nothing can be read, what the memories give is not offered.
    let data = b.read(data_memory, "data", read_at, free);
    let control_memory = b.memory("control_words", 1 + user, depth, None);
    let control = b.concat(&[&[s.last][..], s.user.as_slice()].concat());
    b.write(control_memory, write_at, write, control);
    let control = b.read(control_memory, "control", read_at, free);
    let last = b.slice(control, 0, 1);
    let user = s.user.map(|_| b.slice(control, 1, user));
    b.stream_output_forward("m", Stream { data, valid, last, user });
    b.output("s_ready", ready, Role::Control);
    b.finish()
}

//! A replay buffer: outputs every frame several times.

use std::sync::Arc;

use super::{counter, has_entries, is_full, of_frames, some_after, up_and_down};
use crate::{Builder, Module, Net, Role, Stream, bits_for, index_bits};

/// Number of frames whose number of passes is stored: the rest of one that is being output, a whole one, and the beginning of a
/// third.
const FRAMES: u32 = 4;

/// User bits for a number of passes up to `max`; 0 if there is only one choice.
pub fn replay_user(max: u32) -> u32 {
    if max == 1 { 0 } else { bits_for(max.into()) }
}

/// A ring of two frames of `beats` beats. Each frame is output as many times as the user bits of its first beat say, 1 to `most`.
/// 0 and numbers above `most` mean `most`.
///
/// The input has [`replay_user`] user bits. The output has one, which is 1 in a frame's last pass. `last` marks the final beat of
/// every pass. The place of a beat is freed when its last pass has read it, so writing and reading both have full rate.
pub fn replay(beats: u32, width: u32, most: u32) -> Arc<Module> {
    let user = replay_user(most);
    let mut b = Builder::new(format!("replay_d{beats}_w{width}_m{most}"));
    let times =
        if user == 0 { "once".to_owned() } else { format!("s_user times, 1 to {most} (else {most})") };
    b.doc(format!("Replay buffer: two frames of {beats} beats; each is given {times}."));
    if user > 0 {
        b.doc("passes_*: the numbers of the frames that may be here in part, one leaving, one whole, one coming; four for the sake of a counter of two bits.");
    }
    b.doc("m_last stands on the final beat of every pass, m_user is 1 in the last pass of a frame.");
    b.doc("Timing: a beat accepted at edge t is offered after edge t + 1; full rate.");
    let s = b.stream_input("s", width, user);
    let m_ready = b.input("m_ready", 1, Role::Control);
    let depth = 2 * beats;

    let used = b.register("used", bits_for(depth.into()), Some(0));
    let unread = b.register("unread", bits_for(depth.into()), Some(0));
    let valid = b.register("valid", 1, Some(0));
    let ready = b.wire("s_ready", 1);
    let write = b.and(s.valid, ready);
    let write = b.named("write", write);

    // Reading: all passes over one half, then all passes over the other.
    let read = b.wire("read", 1);
    let position = counter(&mut b, "position", beats.into(), read);
    let pass_end = position.map_or(read, |(_, end)| {
        let done = b.and(read, end);
        b.named("pass_end", done)
    });
    let frame_end = b.wire("frame_end", 1);
    let (first_pass, last_pass) = match s.user {
        None => (None, None),
        Some(said) => {
            let passes = passes(&mut b, said, write, frame_end, beats);
            let pass = b.register("pass", index_bits(most.into()), Some(0));
            let one = b.constant(b.width(pass), 1);
            let more = b.add(pass, one);
            let number = b.zero_extend(pass, user);
            let one = b.constant(user, 1);
            let count = b.add(number, one);
            let count = b.named("pass_count", count);
            let as_said = b.eq(count, passes);
            let as_built = b.is(pass, u64::from(most) - 1);
            let last = b.or(as_said, as_built);
            let last = b.named("last_pass", last);
            let zero = b.constant(b.width(pass), 0);
            let next = b.mux(last, zero, more);
            b.next_if(pass, pass_end, next);
            let first = b.register("first_pass", 1, Some(1));
            b.next_if(first, pass_end, last);
            (Some(first), Some(last))
        }
    };
    let done = last_pass.map_or(pass_end, |last| b.and(pass_end, last));
    b.drive(frame_end, done);
    let taken = first_pass.map_or(read, |first| {
        let taken = b.and(read, first);
        b.named("read_first", taken)
    });
    up_and_down(&mut b, unread, write, taken);
    // A beat can be read: one that was not yet, or one of another pass. A register, as `read` leads to everything.
    let available = match first_pass.zip(last_pass) {
        None => has_entries(&mut b, "available", unread, write, taken),
        Some((first, last)) => {
            let available = b.register("available", 1, Some(0));
            let some = some_after(&mut b, "some_unread", unread, write, taken);
            let begins = b.mux(pass_end, last, first);
            let again = b.not(begins);
            let next = b.or(again, some);
            b.next(available, next);
            available
        }
    };
    let empty = b.not(valid);
    let free = b.or(empty, m_ready);
    let free = b.named("free", free);
    let can_read = b.and(available, free);
    b.drive(read, can_read);
    b.next_if(valid, free, available);

    let freed = last_pass.map_or(read, |last| {
        let freed = b.and(read, last);
        b.named("read_last", freed)
    });
    up_and_down(&mut b, used, write, freed);
    let full = is_full(&mut b, "full", depth, used, write, freed);
    let not_full = b.not(full);
    b.drive(ready, not_full);

    let (write_at, _) = counter(&mut b, "write_at", depth.into(), write).expect("two frames");
    let half = b.register("half", 1, Some(0));
    let other = b.not(half);
    b.next_if(half, frame_end, other);
    // The address is a register: it leads to every bit of the memory.
    let read_at = b.register("read_at", b.width(write_at), Some(0));
    let (base, zero) = (b.constant(b.width(read_at), beats.into()), b.constant(b.width(read_at), 0));
    let start = match last_pass {
        None => b.mux(half, zero, base),
        Some(last) => {
            let next_half = b.xor(half, last);
            b.mux(next_half, base, zero)
        }
    };
    let next = position.map_or(start, |(_, end)| {
        let one = b.constant(b.width(read_at), 1);
        let up = b.add(read_at, one);
        b.mux(end, start, up)
    });
    b.next_if(read_at, read, next);
    // Where nothing can be read, what the memory gives is not offered: its enable is not what all else waits for.
    let memory = b.memory("data_words", width, depth, None);
    b.write(memory, write_at, write, s.data);
    let data = b.read(memory, "data", read_at, free);
    // As in a FIFO, control does not come from a memory that holds data.
    let last_memory = b.memory("last_words", 1, depth, None);
    b.write(last_memory, write_at, write, s.last);
    let last = b.read(last_memory, "last", read_at, free);
    let last_pass = match last_pass {
        Some(last) => b.registered("user", None, free, last),
        None => b.constant(1, 1),
    };
    b.stream_output_forward("m", Stream { data, valid, last, user: Some(last_pass) });
    b.output("s_ready", ready, Role::Control);
    b.finish()
}

/// The number of passes of the frame in work: `said` at each frame's first beat, stored until the previous frame is done.
fn passes(b: &mut Builder, said: Net, write: Net, done: Net, beats: u32) -> Net {
    let place = counter(b, "written", beats.into(), write);
    let begins = place.map_or(write, |(q, _)| {
        let first = b.is(q, 0);
        b.and(write, first)
    });
    let begins = b.named("frame_begins", begins);
    let value = of_frames(b, "passes", FRAMES.into(), said, begins, done);
    b.named("passes", value)
}

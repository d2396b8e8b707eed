//! A replay buffer: outputs every frame several times.

use std::sync::Arc;

use super::{counter, counter_begins, has_entries, is_full, up_and_down};
use crate::{Builder, Module, Net, Role, Stream, bits_for, index_bits};

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
        b.doc("Frames that have begun to come are three at most: one leaving, one whole, one coming. further_q: passes of the first behind the one");
        b.doc("in work; further_second_q, further_third_q: those of the others behind their first.");
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
            let last = passes(&mut b, (said, most), beats, (write, pass_end, frame_end));
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
            let some = b.register("some_unread", 1, Some(0));
            // Both answers are there before `read` is: it comes late.
            let one = b.is(unread, 1);
            let empties = b.and(one, first);
            let stays = b.not(empties);
            let stays = b.and(some, stays);
            let unread_if_read = b.or(write, stays);
            let unread_if_read = b.named("some_unread_if_read", unread_if_read);
            let unread_else = b.or(write, some);
            let unread_else = b.named("some_unread_else", unread_else);
            let begins = position.map_or(last, |(_, end)| b.mux(end, last, first));
            let again = b.not(begins);
            let if_read = b.or(again, unread_if_read);
            let again = b.not(first);
            let otherwise = b.or(again, unread_else);
            let next = b.mux(read, if_read, otherwise);
            b.next(available, next);
            let next = b.mux(read, unread_if_read, unread_else);
            b.next(some, next);
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

/// Whether the pass in work is its frame's last one, as a register. `said` is the number of passes, 1 to `most`, at a frame's first
/// beat; `write`, `pass_end` and `frame_end` are 1 where a beat comes, a pass ends and its frame ends.
///
/// Of the frames that have begun to come, the first is being output; the numbers of the second and the third are stored.
fn passes(
    b: &mut Builder,
    (said, most): (Net, u32),
    beats: u32,
    (write, pass_end, frame_end): (Net, Net, Net),
) -> Net {
    let place = counter(b, "written", beats.into(), write);
    let begins = place.map_or(write, |place| {
        let first = counter_begins(b, "written_first", place, write);
        b.and(write, first)
    });
    let begins = b.named("frame_begins", begins);
    // Passes behind the first one.
    let one = b.constant(b.width(said), 1);
    let further = b.sub(said, one);
    let further = b.named("further_said", further);
    let limit = b.constant(b.width(said), most.into());
    let legal = b.less(further, limit);
    let bits = index_bits(most.into());
    let further = b.slice(further, 0, bits);
    let all = b.constant(bits, u64::from(most) - 1);
    let coming = b.mux(legal, further, all);
    let coming = b.named("further_coming", coming);

    let begun = [0, 1, 2].map(|k| b.register(&format!("begun_{k}"), 1, Some(0)));
    let changes = b.xor(begins, frame_end);
    let changes = b.named("begun_changes", changes);
    for k in 0..begun.len() {
        let more = if k == 0 { b.constant(1, 1) } else { begun[k - 1] };
        let fewer = if k + 1 == begun.len() { b.constant(1, 0) } else { begun[k + 1] };
        let next = b.mux(begins, more, fewer);
        b.next_if(begun[k], changes, next);
    }
    let third = b.registered("further_third", None, begins, coming);
    let second = b.register("further_second", bits, None);
    let none = b.not(begun[1]);
    let fills = b.and(begins, none);
    let moves = b.or(frame_end, fills);
    let from_third = b.and(frame_end, begun[2]);
    let next = b.mux(from_third, third, coming);
    b.next_if(second, moves, next);

    // While no frame has begun, whatever comes is loaded.
    let nothing = b.not(begun[0]);
    let nothing = b.named("nothing_begun", nothing);
    let loads = b.or(nothing, frame_end);
    let loads = b.named("further_loads", loads);
    let next = b.mux(begun[1], second, coming);
    let next = b.named("further_next", next);
    let step = b.or(nothing, pass_end);
    let step = b.named("further_changes", step);
    let further = b.register("further", bits, None);
    let one = b.constant(bits, 1);
    let fewer = b.sub(further, one);
    let fewer = b.mux(loads, next, fewer);
    b.next_if(further, step, fewer);
    let last = b.register("last_pass", 1, None);
    let (next_is_last, one_is_left) = (b.is(next, 0), b.is(further, 1));
    let next = b.mux(loads, next_is_last, one_is_left);
    b.next_if(last, step, next);
    last
}

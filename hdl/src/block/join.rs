//! Merging several streams into one: concatenation of beats, or round-robin.

use std::sync::Arc;

use super::{counter, user_suffix};
use crate::{Builder, Module, Net, Role, Stream};

/// A join of the streams `s0`, `s1`, ...: an output beat is the concatenation of one beat of each, the first in the least
/// significant bits. `last` and user bits must be equal in all inputs; the output has their AND.
///
/// # Panics
/// If there are fewer than two streams.
pub fn join(widths: &[u32], user: u32) -> Arc<Module> {
    assert!(widths.len() >= 2, "nothing to join");
    let mut b = Builder::new(format!("join_w{}{}", listed(widths), user_suffix(user)));
    b.doc(format!(
        "Join: a beat of each of {} streams, side by side, the first in the least significant bits.",
        widths.len()
    ));
    b.doc("Timing: a beat is offered and accepted as soon as all streams have theirs.");
    let streams = inputs(&mut b, widths, user);
    let m_ready = b.input("m_ready", 1, Role::Control);
    let valid = together(&mut b, streams.iter().map(|s| s.valid));
    let valid = b.named("all_valid", valid);
    let last = together(&mut b, streams.iter().map(|s| s.last));
    let user = streams[0].user.map(|_| together(&mut b, streams.iter().filter_map(|s| s.user)));
    let ready = b.and(m_ready, valid);
    let ready = b.named("all_ready", ready);
    let data: Vec<Net> = streams.iter().map(|s| s.data).collect();
    let data = b.concat(&data);
    b.stream_output_forward("m", Stream { data, valid, last, user });
    (0..widths.len()).for_each(|k| b.output(format!("s{k}_ready"), ready, Role::Control));
    b.finish()
}

/// A round-robin merge: `counts[k]` beats of stream `s<k>`, stream after stream, repeated. The output's `last` is the last
/// stream's, once all other streams have had theirs.
///
/// # Panics
/// If there are fewer than two streams, or a count is 0.
pub fn in_turn(counts: &[u32], width: u32, user: u32) -> Arc<Module> {
    assert!(counts.len() >= 2 && !counts.contains(&0), "nothing to take in turn");
    let ways = counts.len();
    let mut b = Builder::new(format!("in_turn_{}_w{width}{}", listed(counts), user_suffix(user)));
    b.doc(format!("Takes beats of {ways} streams in turn: {counts:?}, and begins again."));
    b.doc("ended_<k>_q: stream k has had its last beat of the frame. m_last stands where all have.");
    b.doc("Timing: a beat is offered and accepted as it comes, where it is its stream's turn.");
    let streams = inputs(&mut b, &vec![width; ways], user);
    let m_ready = b.input("m_ready", 1, Role::Control);
    let step = b.wire("step", 1);
    let total = counts.iter().sum::<u32>();
    let (place, _) = counter(&mut b, "place", total.into(), step).expect("two or more");
    // turn_k: the place is before the end of stream k's beats, and after the end of the previous stream's.
    let mut ends = 0;
    let mut before: Option<Net> = None;
    let mut turns = Vec::new();
    for (k, count) in counts.iter().enumerate() {
        ends += count;
        let within = (k + 1 < ways).then(|| {
            let end = b.constant(b.width(place), ends.into());
            let within = b.less(place, end);
            b.named(format!("before_{}", k + 1), within)
        });
        let turn = match (before, within) {
            (None, within) => within.expect("more streams follow"),
            (Some(before), None) => b.not(before),
            (Some(before), Some(within)) => {
                let behind = b.not(before);
                b.and(behind, within)
            }
        };
        turns.push(b.named(format!("turn_{k}"), turn));
        before = within;
    }
    let (last, rest) = streams.split_last().expect("two or more");
    let mut stream = *last;
    let is_last = turns[ways - 1];
    for (s, turn) in rest.iter().zip(&turns).rev() {
        stream.data = b.mux(*turn, s.data, stream.data);
        stream.valid = b.mux(*turn, s.valid, stream.valid);
        stream.user = s.user.zip(stream.user).map(|(own, other)| b.mux(*turn, own, other));
    }
    let valid = b.named("turn_valid", stream.valid);
    let passes = b.and(valid, m_ready);
    b.drive(step, passes);
    let mut ends = b.and(is_last, last.last);
    let ended: Vec<Net> = (0..ways - 1).map(|k| b.register(&format!("ended_{k}"), 1, Some(0))).collect();
    for has_ended in &ended {
        ends = b.and(ends, *has_ended);
    }
    let ends = b.named("frame_ends", ends);
    for ((has_ended, turn), s) in ended.into_iter().zip(&turns).zip(rest) {
        let own = b.and(*turn, s.last);
        let goes_on = b.not(ends);
        let stays = b.and(has_ended, goes_on);
        let next = b.or(own, stays);
        b.next_if(has_ended, step, next);
    }
    b.stream_output_forward("m", Stream { valid, last: ends, ..stream });
    for (k, turn) in turns.into_iter().enumerate() {
        let ready = b.and(turn, m_ready);
        b.output(format!("s{k}_ready"), ready, Role::Control);
    }
    b.finish()
}

fn together(b: &mut Builder, nets: impl Iterator<Item = Net>) -> Net {
    nets.reduce(|all, net| b.and(all, net)).expect("two or more")
}

fn inputs(b: &mut Builder, widths: &[u32], user: u32) -> Vec<Stream> {
    widths.iter().enumerate().map(|(k, width)| b.stream_input(&format!("s{k}"), *width, user)).collect()
}

fn listed(numbers: &[u32]) -> String {
    numbers.iter().map(u32::to_string).collect::<Vec<_>>().join("_")
}

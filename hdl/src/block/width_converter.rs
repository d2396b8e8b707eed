//! Width converters: several beats to one (widener), one beat to several (narrower).

use std::sync::Arc;

use super::{counter, user_suffix};
use crate::{Builder, Module, Role, Stream};

/// A width converter that joins `ratio` beats of `width` bits into one of `ratio * width`; the first beat is in the least
/// significant bits.
///
/// `last` and user bits of a word are those of its final beat. Full rate: the next word begins while the current one leaves.
///
/// # Panics
/// If `ratio` is less than 2.
pub fn widener(ratio: u32, width: u32, user: u32) -> Arc<Module> {
    assert!(ratio >= 2, "nothing to widen");
    let mut b = Builder::new(format!("widener_{ratio}x{width}{}", user_suffix(user)));
    b.doc(format!(
        "Width converter: {ratio} beats of {width} bits to one, the first in the least significant bits."
    ));
    b.doc("Timing: a word is offered after the edge that accepts its final beat; full rate.");
    let s = b.stream_input("s", width, user);
    let m_ready = b.input("m_ready", 1, Role::Control);

    let valid = b.register("valid", 1, Some(0));
    let empty = b.not(valid);
    let ready = b.or(empty, m_ready);
    let ready = b.named("s_ready", ready);
    let take = b.and(s.valid, ready);
    let take = b.named("take", take);
    let (_, end) = counter(&mut b, "part", ratio.into(), take).expect("ratio is at least 2");
    let complete = b.and(s.valid, end);
    b.next_if(valid, ready, complete);

    let word = b.register("word", ratio * width, None);
    let rest = b.slice(word, width, (ratio - 1) * width);
    let shifted = b.concat(&[rest, s.data]);
    b.next_if(word, take, shifted);
    let last = b.registered("last", None, take, s.last);
    let user = s.user.map(|u| b.registered("user", None, take, u));
    b.stream_output_forward("m", Stream { data: word, valid, last, user });
    b.output("s_ready", ready, Role::Control);
    b.finish()
}

/// A width converter that splits a beat of `ratio * width` bits into `ratio` beats of `width`, least significant bits first.
///
/// `last` is set on the final part, user bits on every part. Full rate: the next beat is accepted while the final part leaves.
///
/// # Panics
/// If `ratio` is less than 2.
pub fn narrower(ratio: u32, width: u32, user: u32) -> Arc<Module> {
    assert!(ratio >= 2, "nothing to narrow");
    let mut b = Builder::new(format!("narrower_{ratio}x{width}{}", user_suffix(user)));
    b.doc(format!("Width converter: one beat to {ratio} of {width} bits, the least significant bits first."));
    b.doc("Timing: the first part is offered after the edge that accepts the beat; full rate.");
    let s = b.stream_input("s", ratio * width, user);
    let m_ready = b.input("m_ready", 1, Role::Control);

    let valid = b.register("valid", 1, Some(0));
    let step = b.and(valid, m_ready);
    let step = b.named("step", step);
    let (_, end) = counter(&mut b, "part", ratio.into(), step).expect("ratio is at least 2");
    let empty = b.not(valid);
    let leaving = b.and(end, m_ready);
    let ready = b.or(empty, leaving);
    let ready = b.named("s_ready", ready);
    let take = b.and(s.valid, ready);
    let take = b.named("take", take);
    b.next_if(valid, ready, s.valid);

    let word = b.register("word", ratio * width, None);
    let rest = b.slice(word, width, (ratio - 1) * width);
    let shifted = b.zero_extend(rest, ratio * width);
    let next = b.mux(take, s.data, shifted);
    let change = b.or(take, step);
    b.next_if(word, change, next);
    let last = b.registered("last", None, take, s.last);
    let last = b.and(last, end);
    let user = s.user.map(|u| b.registered("user", None, take, u));
    let data = b.slice(word, 0, width);
    b.stream_output_forward("m", Stream { data, valid, last, user });
    b.output("s_ready", ready, Role::Control);
    b.finish()
}

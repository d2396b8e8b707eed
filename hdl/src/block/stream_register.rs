//! A stream register that cuts every combinational path, including that of `ready`.

use std::sync::Arc;

use super::user_suffix;
use crate::{Builder, Module, Net, Stream};

/// A stream register with two entries: full rate, one cycle of latency, and a registered `s_ready`.
///
/// The second entry stores the beat that arrives in the cycle in which the consumer stalls.
pub fn stream_register(width: u32, user: u32) -> Arc<Module> {
    let mut b = Builder::new(format!("stream_register_w{width}{}", user_suffix(user)));
    b.doc("Stream register: cuts valid, data and ready; two entries, full rate.");
    b.doc("Timing: a beat accepted at an edge is offered after that edge.");
    let s = b.stream_input("s", width, user);
    let m_ready = b.input("m_ready", 1, crate::Role::Control);

    let spare_valid = b.register("spare_valid", 1, Some(0));
    let valid = b.register("valid", 1, Some(0));
    let ready = b.not(spare_valid);
    let ready = b.named("s_ready", ready);
    let empty = b.not(valid);
    let free = b.or(empty, m_ready);
    let free = b.named("free", free);
    let offered = b.or(s.valid, spare_valid);
    let offered = b.named("offered", offered);
    let blocked = b.not(free);
    let spare_next = b.and(blocked, offered);
    b.next(spare_valid, spare_next);
    b.next_if(valid, free, offered);

    let mut through = |name: &str, from: Net| {
        let spare = b.registered(&format!("spare_{name}"), None, ready, from);
        let next = b.mux(spare_valid, spare, from);
        b.registered(name, None, free, next)
    };
    let data = through("data", s.data);
    let last = through("last", s.last);
    let user = s.user.map(|u| through("user", u));
    b.stream_output_forward("m", Stream { data, valid, last, user });
    b.output("s_ready", ready, crate::Role::Control);
    b.finish()
}

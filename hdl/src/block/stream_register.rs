//! A stream register that cuts every combinational path, including that of `ready`.

use std::sync::Arc;

use super::user_suffix;
use crate::{Builder, Module, Net, Stream};

/// A stream register with two entries: full rate, one cycle of latency, and a registered `s_ready`.
///
/// The second entry stores the beat that arrives in the cycle in which the consumer stalls.
pub fn stream_register(width: u32, user: u32) -> Arc<Module> {
    build(width, user, false)
}

/// The same with the output `s_run`, which equals `s_ready` and comes from another flip-flop: an enable of many registers, whose long
/// ways don't burden the handshake.
pub fn running_stream_register(width: u32, user: u32) -> Arc<Module> {
    build(width, user, true)
}

fn build(width: u32, user: u32, running: bool) -> Arc<Module> {
    let suffix = if running { "_run" } else { "" };
    let mut b = Builder::new(format!("stream_register_w{width}{}{suffix}", user_suffix(user)));
    b.doc("Stream register: cuts valid, data and ready; two entries, full rate.");
    b.doc("Timing: a beat accepted at an edge is offered after that edge.");
    if running {
        b.doc("s_run equals s_ready. Each has a flip-flop of its own: s_run enables many registers, s_ready is the handshake.");
    }
    let s = b.stream_input("s", width, user);
    let m_ready = b.input("m_ready", 1, crate::Role::Control);

    let spare_valid = b.register("spare_valid", 1, Some(0));
    let valid = b.register("valid", 1, Some(0));
    let no_spare = b.not(spare_valid);
    let ready = b.named("s_ready", no_spare);
    // No LUT stands between the flip-flop and what it enables.
    let enable = if running { b.register("run", 1, Some(1)) } else { ready };
    let empty = b.not(valid);
    let free = b.or(empty, m_ready);
    let free = b.named("free", free);
    let offered = b.or(s.valid, spare_valid);
    let offered = b.named("offered", offered);
    let blocked = b.not(free);
    let mut spare_next = b.and(blocked, offered);
    if running {
        spare_next = b.named("spare_valid_d", spare_next);
    }
    b.next(spare_valid, spare_next);
    if running {
        let run_next = b.not(spare_next);
        b.next(enable, run_next);
        b.output("s_run", enable, crate::Role::Control);
    }
    b.next_if(valid, free, offered);

    let mut through = |name: &str, from: Net| {
        let spare = b.registered(&format!("spare_{name}"), None, enable, from);
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

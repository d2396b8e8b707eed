//! A fork: copies one stream to several.

use std::sync::Arc;

use super::user_suffix;
use crate::{Builder, Module, Role, Stream};

/// A fork from stream `s` to the `ways` streams `m0`, `m1`, .... Each output accepts a beat independently. The next beat follows
/// once all outputs have accepted the current one. No output's valid depends on another output's ready.
///
/// # Panics
/// If `ways` is less than 2.
pub fn fork(ways: u32, width: u32, user: u32) -> Arc<Module> {
    assert!(ways >= 2, "nothing to fork");
    let mut b = Builder::new(format!("fork_{ways}_w{width}{}", user_suffix(user)));
    b.doc(format!("Fork: every beat goes to {ways} streams, to each when it is ready."));
    b.doc("has_<k>_q: stream k has the beat that others still wait for.");
    b.doc(
        "Timing: a beat is offered as it comes, and accepted at the edge at which the last stream takes it.",
    );
    let s = b.stream_input("s", width, user);
    let readies: Vec<_> = (0..ways).map(|k| b.input(format!("m{k}_ready"), 1, Role::Control)).collect();
    let has: Vec<_> = (0..ways).map(|k| b.register(&format!("has_{k}"), 1, Some(0))).collect();
    let served: Vec<_> = (0..ways as usize)
        .map(|k| {
            let served = b.or(has[k], readies[k]);
            b.named(format!("served_{k}"), served)
        })
        .collect();
    let all = b.concat(&served);
    let all = b.reduce_and(all);
    let all = b.named("all_served", all);
    let waits = b.not(all);
    let waits = b.and(s.valid, waits);
    let waits = b.named("waits", waits);
    for (k, (has, served)) in has.into_iter().zip(served).enumerate() {
        let next = b.and(waits, served);
        b.next(has, next);
        let open = b.not(has);
        let valid = b.and(s.valid, open);
        b.stream_output_forward(&format!("m{k}"), Stream { valid, ..s });
    }
    b.output("s_ready", all, Role::Control);
    b.finish()
}

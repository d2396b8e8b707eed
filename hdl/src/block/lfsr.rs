//! A 64-bit linear feedback shift register that goes many bits at a time.

use std::sync::Arc;

use crate::{Builder, Module, Role};

/// Bits of the register that leaps are made from, for `leap` bits at a time: 64, or as many times 2^j as let no new bit depend on
/// another.
///
/// With the taps 64, 63, 61, 60 a bit depends on none of the 60 before it; squaring the recurrence j times multiplies all of that
/// by 2^j.
pub fn lfsr_window(leap: u32) -> u32 {
    let mut scale = 1;
    while leap > 60 * scale {
        scale *= 2;
    }
    64 * scale
}

/// The sequence b\[t\] = b\[t-64\] ^ b\[t-63\] ^ b\[t-61\] ^ b\[t-60\], `leap` bits at each edge with `enable`.
///
/// Ports `enable`, `load`, `start` ([`lfsr_window`] bits), `words`. The register holds the last bits, the latest in the least significant
/// place; `words` are the `leap` latest, so the first of them in the most significant place. With `load` the leap begins at
/// `start` in the place of the register. With `restores` there are the ports `keep` and `again` too: `keep` notes where a leap
/// begins, `again` makes it begin there.
pub fn lfsr(leap: u32, restores: bool) -> Arc<Module> {
    let window = lfsr_window(leap);
    let scale = window / 64;
    let mut b = Builder::new(format!("lfsr_{leap}{}", if restores { "_restoring" } else { "" }));
    b.doc(format!("LFSR with the taps 64, 63, 61, 60, {leap} bits at a time."));
    if scale > 1 {
        b.doc(format!("A window of {window} bits, the taps times {scale}: the recurrence squared. Every new bit is one XOR of four."));
    }
    b.doc("Timing: where enable is 1 at an edge, words are the next bits after it, the first the most significant;");
    b.doc("they follow start where load is 1, else those before.");
    if restores {
        b.doc("keep notes what the leap follows; again makes it follow what was noted, unless load is 1.");
    }
    let enable = b.input("enable", 1, Role::Control);
    let load = b.input("load", 1, Role::Control);
    let start = b.input("start", window, Role::Data);
    let state = b.register("state", window, None);
    let mut base = state;
    if restores {
        let keep = b.input("keep", 1, Role::Control);
        let again = b.input("again", 1, Role::Control);
        let kept = b.register("kept", window, None);
        let resumed = b.mux(again, kept, state);
        base = b.mux(load, start, resumed);
        base = b.named("base", base);
        let note = b.and(enable, keep);
        b.next_if(kept, note, base);
    } else {
        base = b.mux(load, start, base);
        base = b.named("base", base);
    }
    let mut tap = |t: u32| b.slice(base, t * scale - leap, leap);
    let (a, c, d, e) = (tap(64), tap(63), tap(61), tap(60));
    let upper = b.xor(a, c);
    let lower = b.xor(d, e);
    let fresh = b.xor(upper, lower);
    let fresh = b.named("fresh", fresh);
    let rest = b.slice(base, 0, window - leap);
    let next = b.concat(&[fresh, rest]);
    b.next_if(state, enable, next);
    let words = b.slice(state, 0, leap);
    b.output("words", words, Role::Data);
    b.finish()
}

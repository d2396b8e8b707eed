//! A 64-bit linear feedback shift register (LFSR) that advances by many bits per cycle.

use std::sync::Arc;

use crate::{Builder, Module, Net, Role};

/// Maximum number of chained XOR rounds per step.
const ROUNDS: u32 = 4;

/// New bits per round: with taps 64, 63, 61 and 60 a bit does not depend on the previous 60 bits. Squaring the recurrence j times
/// multiplies the distances by 2^j.
const ROUND: u32 = 60;

/// Number of state bits for a step of `leap` bits: 64, or 64 * 2^j such that a step needs at most four rounds.
pub fn lfsr_window(leap: u32) -> u32 {
    let mut scale = 1;
    while leap > ROUNDS * ROUND * scale {
        scale *= 2;
    }
    64 * scale
}

/// An LFSR with the recurrence b\[t\] = b\[t-64\] ^ b\[t-63\] ^ b\[t-61\] ^ b\[t-60\] that advances by `leap` bits at each edge
/// with `enable`.
///
/// Ports `enable`, `load`, `start` ([`lfsr_window`] bits), `words`. The register holds the latest bits, the newest in the least
/// significant position. `words` are the `leap` latest bits, so the first of them is the most significant. With `load` the step
/// starts from `start` instead of the register. With `restores` there are also the ports `keep` and `again`: `keep` saves the
/// state at the start of the step, `again` starts the step from the saved state.
pub fn lfsr(leap: u32, restores: bool) -> Arc<Module> {
    let window = lfsr_window(leap);
    let scale = window / 64;
    let mut b = Builder::new(format!("lfsr_{leap}{}", if restores { "_restoring" } else { "" }));
    b.doc(format!("LFSR with the taps 64, 63, 61, 60, {leap} bits at a time."));
    if scale > 1 {
        b.doc(format!("A window of {window} bits, the taps times {scale}: the recurrence squared."));
    }
    b.doc(match leap.div_ceil(ROUND * scale) {
        1 => "Every new bit is one XOR of four bits before.".to_owned(),
        rounds => format!("Every new bit is one XOR of four bits before, in {rounds} rounds."),
    });
    b.doc("Timing: where enable is 1 at an edge, words are the next bits after it, the first the most significant;");
    b.doc("they follow start where load is 1, else those before.");
    if restores {
        b.doc("keep notes what the leap follows; again makes it follow what was noted, unless load is 1.");
    }
    let enable = b.input("enable", 1, Role::Control);
    let load = b.input("load", 1, Role::Control);
    let start = b.input("start", window, Role::Data);
    let state = b.register("state", window.max(leap), None);
    let mut base = b.slice(state, 0, window);
    if restores {
        let keep = b.input("keep", 1, Role::Control);
        let again = b.input("again", 1, Role::Control);
        let kept = b.register("kept", window, None);
        let resumed = b.mux(again, kept, base);
        base = b.mux(load, start, resumed);
        base = b.named("base", base);
        let note = b.and(enable, keep);
        b.next_if(kept, note, base);
    } else {
        base = b.mux(load, start, base);
        base = b.named("base", base);
    }
    let fresh = leapt(&mut b, base, leap, scale);
    let next = if leap < window {
        let rest = b.slice(base, 0, window - leap);
        b.concat(&[fresh, rest])
    } else {
        fresh
    };
    b.next_if(state, enable, next);
    let words = b.slice(state, 0, leap);
    b.output("words", words, Role::Data);
    b.finish()
}

/// The `leap` bits after those of `base`, computed in rounds.
fn leapt(b: &mut Builder, base: Net, leap: u32, scale: u32) -> Net {
    let window = b.width(base);
    // All rounds have about the same size, so that no round has only a few bits.
    let each = leap.div_ceil(leap.div_ceil(ROUND * scale));
    let mut fresh: Option<Net> = None;
    while let rest @ 1.. = leap - fresh.map_or(0, |fresh| b.width(fresh)) {
        let done = leap - rest;
        let round = rest.min(each);
        // The bits within reach of the taps; the taps do not reach the last `low` bits.
        let low = ROUND * scale - round;
        let (before, low) = match fresh {
            None => (base, 0),
            Some(fresh) => {
                let newer = b.slice(fresh, low, done.min(window) - low);
                let both = if done < window {
                    let older = b.slice(base, 0, window - done);
                    b.concat(&[newer, older])
                } else {
                    newer
                };
                (b.named(format!("before_{done}"), both), low)
            }
        };
        let mut tap = |t: u32| b.slice(before, t * scale - round - low, round);
        let (a, c, d, e) = (tap(64), tap(63), tap(61), tap(60));
        let upper = b.xor(a, c);
        let lower = b.xor(d, e);
        let new = b.xor(upper, lower);
        fresh = Some(match fresh {
            None => b.named("fresh", new),
            Some(fresh) => {
                let new = b.named(format!("fresh_{done}"), new);
                let all = b.concat(&[new, fresh]);
                b.named(format!("fresh_to_{}", done + round), all)
            }
        });
    }
    fresh.expect("a leap has bits")
}

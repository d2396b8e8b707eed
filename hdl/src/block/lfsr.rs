//! A 64-bit linear feedback shift register that goes many bits at a time.

use std::sync::Arc;

use crate::{Builder, Module, Net, Role};

/// Most rounds of XOR behind one another in a leap.
const ROUNDS: u32 = 4;

/// New bits of a round: with the taps 64, 63, 61, 60 a bit depends on none of the 60 before it. Squaring the recurrence j times
/// multiplies all of that by 2^j.
const ROUND: u32 = 60;

/// Bits that leaps are made from, for `leap` bits at a time: 64, or as many times 2^j as let a leap need no more than four
/// rounds.
pub fn lfsr_window(leap: u32) -> u32 {
    let mut scale = 1;
    while leap > ROUNDS * ROUND * scale {
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

/// The `leap` bits behind those of `base`, round after round.
fn leapt(b: &mut Builder, base: Net, leap: u32, scale: u32) -> Net {
    let window = b.width(base);
    // Rounds of one size, so that none is a few bits alone.
    let each = leap.div_ceil(leap.div_ceil(ROUND * scale));
    let mut fresh: Option<Net> = None;
    while let rest @ 1.. = leap - fresh.map_or(0, |fresh| b.width(fresh)) {
        let done = leap - rest;
        let round = rest.min(each);
        // What the taps reach; the last `low` bits they do not.
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

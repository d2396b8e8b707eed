//! What the tests of blocks share.

use std::sync::Arc;

use stoxnor_hdl::{Bits, Module, check::check};
use stoxnor_sim::{Design, Simulator, Stimulus, StreamShape, Trace, simulate};

/// A stream `name` of `width` data bits and `user` user bits.
pub fn shape(name: &str, width: u32, user: u32) -> StreamShape {
    StreamShape { name: name.to_owned(), width, user }
}

/// A module from stream `input` to the last of `taps`. It has to pass the checks.
pub fn design(top: Arc<Module>, input: StreamShape, taps: Vec<StreamShape>) -> Design {
    let issues = check(&top);
    assert!(issues.is_empty(), "{}", issues.iter().map(|i| format!("{i}\n")).collect::<String>());
    let exits = vec![taps.len() - 1];
    Design { top, inputs: vec![input], taps, exits }
}

/// A different pattern for every beat: a multiplicative hash of its number.
pub fn pattern(width: u32, number: u64) -> Bits {
    let words = u64::from(width).div_ceil(64).max(4);
    Bits::from_words(width, (0..words).map(|w| (number * words + w + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)))
}

/// Runs the rtl engine, which has to end.
pub fn rtl(design: &Design, stimulus: &Stimulus) -> Trace {
    simulate(design, &mut Simulator::new(&design.top), stimulus, |_, _| {}).expect("ends")
}

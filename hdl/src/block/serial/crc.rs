//! A cyclic redundancy check over bytes.

use crate::{Builder, Net};

/// The bits of the polynomial below the highest: 1021.
const TAPS: [usize; 3] = [0, 5, 12];

/// The CRC of 16 bits after another byte, the most significant bit first.
pub(super) fn next(b: &mut Builder, name: &str, crc: Net, byte: Net) -> Net {
    let mut bits: Vec<Net> = (0..16).map(|at| b.slice(crc, at, 1)).collect();
    for at in (0..8).rev() {
        let bit = b.slice(byte, at, 1);
        let feedback = b.xor(bits[15], bit);
        let feedback = b.named(format!("{name}_feedback_{at}"), feedback);
        let shifted = |to: usize| to.checked_sub(1).map(|from| bits[from]);
        bits = (0..16)
            .map(|to| match (shifted(to), TAPS.contains(&to)) {
                (Some(from), true) => {
                    let changed = b.xor(from, feedback);
                    b.named(format!("{name}_{at}_{to}"), changed)
                }
                (Some(from), false) => from,
                (None, _) => feedback,
            })
            .collect();
    }
    let next = b.concat(&bits);
    b.named(format!("{name}_next"), next)
}

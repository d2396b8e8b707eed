//! An accumulator.

use crate::{Builder, Net};

/// An accumulator register `<name>_q` of `width` bits. At the edges where `enable` is 1 it adds `addend`, and where `first` is 1 it
/// begins anew with `start`, or with 0 if that is `None`.
///
/// `first` is `None` if every sum has a single addend. The sum must fit: there is no saturation.
pub fn accumulator(
    b: &mut Builder,
    name: &str,
    width: u32,
    enable: Net,
    (first, start): (Option<Net>, Option<Net>),
    addend: Net,
) -> Net {
    let q = b.register(name, width, None);
    let addend = b.zero_extend(addend, width);
    let next = match first {
        None => addend,
        Some(first) => {
            let start = start.unwrap_or_else(|| b.constant(width, 0));
            let before = b.mux(first, start, q);
            b.add(before, addend)
        }
    };
    b.next_if(q, enable, next);
    q
}

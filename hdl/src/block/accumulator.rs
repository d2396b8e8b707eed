//! A running sum.

use crate::{Builder, Net};

/// A register `<name>_q` of `width` bits that takes `addend` where `first` is 1, else adds it, at the edges where `enable` is 1.
///
/// `first` is `None` where every sum has one addend. The sum must fit: nothing saturates.
pub fn accumulator(
    b: &mut Builder,
    name: &str,
    width: u32,
    enable: Net,
    first: Option<Net>,
    addend: Net,
) -> Net {
    let q = b.register(name, width, None);
    let addend = b.zero_extend(addend, width);
    let next = match first {
        None => addend,
        Some(first) => {
            let zero = b.constant(width, 0);
            let kept = b.mux(first, zero, q);
            b.add(kept, addend)
        }
    };
    b.next_if(q, enable, next);
    q
}

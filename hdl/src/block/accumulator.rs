//! An accumulator.

use crate::{Builder, Net};

/// An accumulator register `<name>_q` of `width` bits. At the edges where `enable` is 1 it loads `addend` if `first` is 1, else
/// it adds `addend`.
///
/// `first` is `None` if every sum has a single addend. The sum must fit: there is no saturation.
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

//! A comparison that decides a bipolar activation.

use crate::{Builder, Net};

/// 1 where `sum >= threshold`, both unsigned and of one width.
pub fn threshold(b: &mut Builder, sum: Net, threshold: Net) -> Net {
    let below = b.less(sum, threshold);
    b.not(below)
}

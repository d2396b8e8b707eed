//! Search for the smallest buffer that keeps a rate.

/// The smallest number from `few` on for which `enough` holds, as it then does for all larger ones; nothing where it does not for `many`.
pub fn smallest(few: u64, many: u64, mut enough: impl FnMut(u64) -> bool) -> Option<u64> {
    // Upwards in steps that double, and then between the last two.
    let (mut low, mut step) = (few, 1);
    let mut high = few;
    while !enough(high) {
        if high >= many {
            return None;
        }
        low = high + 1;
        high = (high + step).min(many);
        step *= 2;
    }
    while low < high {
        let middle = low.midpoint(high);
        if enough(middle) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    Some(high)
}

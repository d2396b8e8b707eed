//! Search for the minimum buffer size that keeps the rate.

/// The smallest number from `min` on for which `enough` holds, if it is at most `max`; `None` otherwise. `enough` must be
/// monotone: once true, it stays true.
pub fn smallest(min: u64, max: u64, mut enough: impl FnMut(u64) -> bool) -> Option<u64> {
    // Doubling steps upwards, then binary search between the last two.
    let (mut low, mut step) = (min, 1);
    let mut high = min;
    while !enough(high) {
        if high >= max {
            return None;
        }
        low = high + 1;
        high = (high + step).min(max);
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

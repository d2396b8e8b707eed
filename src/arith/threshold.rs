//! Integer thresholds of a two-level function of a dot product.
//!
//! A layer with K inputs of ±1 and weights of ±1 has the dot products -K, -K+2 .. K. An activation is given as a
//! function from a dot product to "is the output +1", one per output channel. Where it is monotone, one integer
//! comparison replaces it: active iff ±dot >= T.

/// The comparison that replaces one channel's activation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Threshold {
    /// The least active value of the dot product (after negation, if `negate`); -K where the channel is always
    /// active, K + 1 where it never is.
    pub least: i32,
    /// Whether the channel falls as the dot product grows, so that its weights are to be negated.
    pub negate: bool,
}

impl Threshold {
    /// Whether the channel is active at `dot`, taken before negation.
    pub fn active(self, dot: i32) -> bool {
        (if self.negate { -dot } else { dot }) >= self.least
    }
}

/// Why a channel's activation is not one comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotMonotone {
    /// The output channel.
    pub channel: usize,
    /// The dot products at which the output changes a second time: from the first to the second.
    pub again: (i32, i32),
}

/// The thresholds of `channels` channels by binary search: right if every channel is monotone, which the caller knows.
///
/// `active(dots, out)` is given one dot product per channel and sets, per channel, whether the output is +1.
pub fn search<E>(
    fan_in: i32,
    channels: usize,
    mut active: impl FnMut(&[i32], &mut [bool]) -> Result<(), E>,
) -> Result<Vec<Threshold>, E> {
    let mut first = vec![false; channels];
    let mut last = vec![false; channels];
    active(&vec![-fan_in; channels], &mut first)?;
    active(&vec![fan_in; channels], &mut last)?;
    // The output at -K + 2*below is that of -K, at -K + 2*above that of K.
    let mut below = vec![0; channels];
    let mut above = vec![fan_in; channels];
    let mut dots = vec![0; channels];
    let mut now = vec![false; channels];
    while below.iter().zip(&above).any(|(b, a)| a - b > 1) {
        for ((dot, b), a) in dots.iter_mut().zip(&below).zip(&above) {
            *dot = 2 * (b + (a - b) / 2) - fan_in;
        }
        active(&dots, &mut now)?;
        for c in 0..channels {
            if above[c] - below[c] > 1 {
                let middle = (dots[c] + fan_in) / 2;
                if now[c] == first[c] { below[c] = middle } else { above[c] = middle }
            }
        }
    }
    Ok((0..channels).map(|c| from_edge(fan_in, first[c], last[c], below[c])).collect())
}

/// The thresholds of `channels` channels by evaluating every reachable dot product.
///
/// The inner error is the first channel (at the lowest dot product) that is not monotone.
pub fn enumerate<E>(
    fan_in: i32,
    channels: usize,
    mut active: impl FnMut(&[i32], &mut [bool]) -> Result<(), E>,
) -> Result<Result<Vec<Threshold>, NotMonotone>, E> {
    let mut first = vec![false; channels];
    active(&vec![-fan_in; channels], &mut first)?;
    let mut edge: Vec<Option<i32>> = vec![None; channels];
    let mut before = first.clone();
    let mut now = vec![false; channels];
    for step in 1..=fan_in {
        let dot = 2 * step - fan_in;
        active(&vec![dot; channels], &mut now)?;
        for channel in 0..channels {
            if now[channel] != before[channel] {
                if edge[channel].is_some() {
                    return Ok(Err(NotMonotone { channel, again: (dot - 2, dot) }));
                }
                edge[channel] = Some(step - 1);
            }
        }
        std::mem::swap(&mut before, &mut now);
    }
    Ok(Ok((0..channels).map(|c| from_edge(fan_in, first[c], before[c], edge[c].unwrap_or(0))).collect()))
}

/// `below`: the last step whose output is that of -K, where the outputs at -K and K differ.
fn from_edge(fan_in: i32, first: bool, last: bool, below: i32) -> Threshold {
    match (first, last) {
        (true, true) => Threshold { least: -fan_in, negate: false },
        (false, false) => Threshold { least: fan_in + 1, negate: false },
        (false, true) => Threshold { least: 2 * (below + 1) - fan_in, negate: false },
        (true, false) => Threshold { least: fan_in - 2 * below, negate: true },
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    /// An activation "dot >= edge", falling where `falls`.
    fn step(edge: i32, falls: bool) -> impl Fn(i32) -> bool {
        move |dot| (dot >= edge) != falls
    }

    #[test]
    fn both_ways_reproduce_every_step_function() {
        for fan_in in 1..=9 {
            let cases: Vec<(i32, bool)> =
                (-fan_in - 2..=fan_in + 2).flat_map(|e| [(e, false), (e, true)]).collect();
            let mut calls = 0;
            let mut active = |dots: &[i32], out: &mut [bool]| {
                calls += 1;
                for ((dot, out), &(edge, falls)) in dots.iter().zip(out).zip(&cases) {
                    *out = step(edge, falls)(*dot);
                }
                Ok::<(), Infallible>(())
            };
            let searched = search(fan_in, cases.len(), &mut active).unwrap();
            let enumerated = enumerate(fan_in, cases.len(), &mut active).unwrap().unwrap();
            assert_eq!(searched, enumerated);
            for (threshold, &(edge, falls)) in searched.iter().zip(&cases) {
                for dot in (-fan_in..=fan_in).step_by(2) {
                    let wanted = step(edge, falls)(dot);
                    assert_eq!(
                        threshold.active(dot),
                        wanted,
                        "K {fan_in}, edge {edge}, falls {falls}, dot {dot}"
                    );
                }
            }
            assert!(calls <= fan_in + 1 + 2 + 5, "the search is logarithmic");
        }
    }

    #[test]
    fn constant_channels_are_always_or_never_active() {
        let thresholds = search(4, 2, |_: &[i32], out: &mut [bool]| {
            out.copy_from_slice(&[true, false]);
            Ok::<(), Infallible>(())
        });
        let wanted = [Threshold { least: -4, negate: false }, Threshold { least: 5, negate: false }];
        assert_eq!(thresholds.unwrap(), wanted);
    }

    #[test]
    fn a_bump_is_no_threshold() {
        let found = enumerate(6, 1, |dots: &[i32], out: &mut [bool]| {
            out[0] = dots[0] == 2;
            Ok::<(), Infallible>(())
        });
        assert_eq!(found.unwrap(), Err(NotMonotone { channel: 0, again: (2, 4) }));
    }
}

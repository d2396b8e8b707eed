//! Pass: turns the product of two streams into a Mul layer.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::arith::threshold::Stairs;
use crate::diagnostic::{ACTIVATION_UNSUPPORTED, Diagnostic, MODEL_TOO_LARGE, Result, THRESHOLD_INEXACT};
use crate::graph::operator::Role;
use crate::graph::step::Step;
use crate::import::layers::activation::{above_minimum, staircase};
use crate::import::layers::draft::{Core, Postprocessing};
use crate::import::layers::grid::{Grid, grid};
use crate::import::layers::join::{Channels, selects_last};
use crate::import::layers::scales::{row, scaling};
use crate::import::layers::sums::{falling, unquantised};
use crate::import::layers::terms::Terms;
use crate::import::layers::walk::{Stream, Walk};
use crate::import::runs::chain::Run;
use crate::network::Source;

/// Maximum number of pairs of integers times channels.
const MAX_PAIRS: i64 = 1 << 22;

impl<'a> Walk<'a> {
    /// Adds a layer for the product of two streams.
    pub(crate) fn multiply(
        &mut self,
        run: &Run,
        join: &'a Step,
        from: &[Stream],
        behind: Option<Range<usize>>,
        tail: &[Step],
    ) -> Result<()> {
        let chain = self.chain;
        let shape = &join.shape;
        let Some(parts) = self.brought(run, join, from, shape)? else { return Ok(()) };
        let levels: Option<Vec<Grid>> = parts.iter().map(|part| part.level).collect();
        let Some([a, b]) = levels.and_then(|levels| <[Grid; 2]>::try_from(levels).ok()) else {
            return Err(unquantised(join, None).into());
        };
        let sources: Vec<Source> = parts.iter().map(|part| part.source).collect();
        let channels = Channels::of(shape);
        let one = channels.one.clone();
        let scale = a.scale * b.scale;
        if !scale.is_normal() {
            let message = format!("it multiplies integers of the scales {} and {}", a.scale, b.scale);
            return Err(Diagnostic::new(&ACTIVATION_UNSUPPORTED, message)
                .help("use scales whose product float32 holds")
                .into());
        }
        let ends = [a.least * b.least, a.least * b.most, a.most * b.least, a.most * b.most];
        let (least, most) = ends.iter().fold((i64::MAX, i64::MIN), |(l, h), v| (l.min(*v), h.max(*v)));
        let products = Grid { scale, least, most, bipolar: a.bipolar && b.bipolar };
        let core = Core::Gate(channels.stream.clone());
        self.made = None;
        let Some(range) = behind else {
            self.tail = scaling(join, scale, shape)?;
            let steps = [&self.tail[..], tail].concat();
            let outgoing = Postprocessing { shape: shape.clone(), steps, moved: channels.image };
            self.joined(join, sources, core, None, outgoing);
            self.level = Some(products);
            return Ok(());
        };
        let steps = &chain.steps[range.clone()];
        let local = channels.local(steps, shape)?;
        let mut outgoing = Postprocessing { shape: one.clone(), steps: Vec::new(), moved: true };
        match grid(None, &one, &local)? {
            Some(level) => {
                if !selects_last(steps) {
                    return Err(Diagnostic::new(
                        &ACTIVATION_UNSUPPORTED,
                        "a maximum or an upsampling stands between it and its quantiser",
                    )
                    .help("quantise directly behind the product")
                    .into());
                }
                let parts: Vec<Terms> =
                    parts.into_iter().map(|part| part.terms(join, &one)).collect::<Result<_>>()?;
                let terms = Terms::joined(join, parts).then(&local);
                let mut level = terms.narrowed(&level)?;
                let rows = vec![row(&products); channels.count()];
                let stairs = thresholds(&terms, [&a, &b], &level)?;
                let stairs =
                    if stairs.len() == rows.len() { stairs } else { vec![stairs[0].clone(); rows.len()] };
                let negate = stairs.iter().map(|s| s.negate).collect();
                let found = falling(staircase(&level, &rows, stairs), negate);
                level.narrow(&found);
                outgoing.steps = local;
                self.joined(join, sources, core, Some(found), outgoing);
                self.level = Some(level);
            }
            None => {
                // The products are integers themselves. What changes them stands in a layer of its own.
                self.joined(join, sources, core, None, outgoing);
                self.level = Some(products);
                if local.iter().any(|s| !matches!(s.operator.role, Role::Layout)) {
                    return self.lead(range, false);
                }
            }
        }
        self.moves(&one, range);
        Ok(())
    }
}

/// The thresholds of each channel's products: the graph's own operators decide at every pair of integers.
///
/// # Errors
/// If two pairs of one product have different levels, or the level rises and falls with the product.
fn thresholds(terms: &Terms, [a, b]: [&Grid; 2], level: &Grid) -> Result<Vec<Stairs>> {
    let single = terms.of_one_channel();
    let terms = single.as_ref().unwrap_or(terms);
    let channels = terms.streams[0].rows.len();
    let (first, second) = (row(a), row(b));
    if first.points * second.points * channels as i64 > MAX_PAIRS {
        let message =
            format!("its inputs have {} and {} levels in {channels} channels", first.points, second.points);
        return Err(Diagnostic::new(&MODEL_TOO_LARGE, message)
            .help("quantise the factors to fewer bits")
            .into());
    }
    // For each product the lowest and the highest level of its pairs.
    let mut found: Vec<BTreeMap<i64, (i64, i64)>> = vec![BTreeMap::new(); channels];
    for (i, j) in (0..first.points).flat_map(|i| (0..second.points).map(move |j| (i, j))) {
        let (x, y) = (first.at(i), second.at(j));
        let values = terms.at(&[vec![x; channels], vec![y; channels]])?;
        for (value, found) in values.floats("a product")?.iter().zip(&mut found) {
            let integer = level.decode(*value).filter(|v| (level.least..=level.most).contains(v));
            let Some(integer) = integer else {
                let message = format!(
                    "the product of {x} and {y} becomes {value}, no level of the quantiser behind it"
                );
                return Err(Diagnostic::new(&ACTIVATION_UNSUPPORTED, message)
                    .help("end the activation in a quantiser")
                    .into());
            };
            let range = found.entry(i64::from(x) * i64::from(y)).or_insert((integer, integer));
            *range = (range.0.min(integer), range.1.max(integer));
        }
    }
    let levels = above_minimum(level);
    found.iter().map(|found| stairs(found, &levels)).collect()
}

/// The thresholds of one channel.
fn stairs(found: &BTreeMap<i64, (i64, i64)>, levels: &[i32]) -> Result<Stairs> {
    let ends = found.values().next().zip(found.values().next_back());
    let negate = ends.is_some_and(|(first, last)| last.0 < first.0);
    let mut all: Vec<(i64, (i64, i64))> =
        found.iter().map(|(product, range)| (if negate { -product } else { *product }, *range)).collect();
    if negate {
        all.reverse();
    }
    if let Some(turn) = all.windows(2).find(|w| w[1].1.0 < w[0].1.1) {
        let message = format!(
            "the level behind it is {} at the product {} and {} at {}",
            turn[0].1.1, turn[0].0, turn[1].1.0, turn[1].0
        );
        return Err(inexact(message));
    }
    if let Some((product, (low, high))) = all.iter().find(|(_, (low, high))| low != high) {
        return Err(inexact(format!(
            "float32 rounds pairs of the product {product} to the levels {low} and {high}"
        )));
    }
    let end = all.last().map_or(0, |(product, _)| product + 1);
    let reached = |level: &i32| {
        let first = all.iter().find(|(_, range)| range.0 >= i64::from(*level));
        first.map_or(end, |(product, _)| *product) as i32
    };
    Ok(Stairs { thresholds: levels.iter().map(reached).collect(), negate })
}

fn inexact(message: String) -> crate::diagnostic::Diagnostics {
    Diagnostic::new(&THRESHOLD_INEXACT, message)
        .help("use scales that are powers of two, and a function behind the product that rises or falls")
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(levels: &[(i64, i64)]) -> BTreeMap<i64, (i64, i64)> {
        levels.iter().map(|(product, level)| (*product, (*level, *level))).collect()
    }

    #[test]
    fn products_become_thresholds_or_are_refused() {
        let rising = stairs(&of(&[(-4, 0), (-1, 0), (0, 1), (2, 1), (6, 3)]), &[1, 2, 3]).unwrap();
        assert_eq!((rising.thresholds, rising.negate), (vec![0, 6, 6], false));
        let falling = stairs(&of(&[(-4, 2), (0, 1), (6, 0)]), &[1, 2, 3]).unwrap();
        assert_eq!((falling.thresholds, falling.negate), (vec![0, 4, 5], true));
        assert!(stairs(&of(&[(-4, 0), (0, 1), (6, 0)]), &[1]).is_err());
        assert!(stairs(&BTreeMap::from([(0, (0, 1)), (1, (1, 1))]), &[1]).is_err());
    }
}

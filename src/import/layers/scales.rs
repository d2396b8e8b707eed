//! Scales of the inputs of a join: their common scale, and the sums of their levels.

use crate::arith::threshold::Lattice;
use crate::diagnostic::{Diagnostic, JOIN_SCALES, Result};
use crate::graph::step::Step;
use crate::graph::tensor::Tensor;
use crate::import::layers::grid::Grid;
use crate::import::runs::steps::with;

/// Maximum ratio between a scale and the common scale of the inputs of a sum.
pub(crate) const MAX_FACTOR: i64 = 1 << 12;

/// How to give two branches one scale.
pub const ONE_SCALE: &str = "either put one quantiser behind the join (Quant, QuantizeLinear, a sign) where there is none, or give the branches one scale: \
in Brevitas share the module, q = QuantIdentity(..); y = q(a) + q(b); for ONNX Runtime quantise the join's inputs with equal \
ranges, TensorQuantOverrides={'a': [{'rmin': lo, 'rmax': hi}], 'b': [{'rmin': lo, 'rmax': hi}]} in extra_options of \
quantize_static, with lo and hi of numpy.float32";

/// The multiplication by `scale` that turns integers into the graph's numbers, for a tensor of `shape`.
pub fn scaling(of: &Step, scale: f32, shape: &[usize]) -> Result<Vec<Step>> {
    if scale == 1.0 {
        return Ok(Vec::new());
    }
    let mut step = with(of, "Mul", Tensor::scalar(scale), shape)?;
    step.node = format!("{}_scale", of.node);
    Ok(vec![step])
}

/// The levels of a stream as the possible sums of a channel.
pub fn row(level: &Grid) -> Lattice {
    let step = level.grain();
    Lattice { low: level.least, step, points: (level.most - level.least) / step + 1 }
}

/// The possible sums of `levels` times `factors`.
pub(crate) fn sum(levels: &[Grid], factors: &[i64]) -> Lattice {
    let ends = |(level, factor): (&Grid, &i64)| {
        let (a, b) = (level.least * factor, level.most * factor);
        (a.min(b), a.max(b))
    };
    let (low, high) =
        levels.iter().zip(factors).map(ends).fold((0, 0), |(low, high), (a, b)| (low + a, high + b));
    let grains = levels.iter().zip(factors).filter(|(level, _)| level.least < level.most);
    let step = grains.map(|(level, factor)| (level.grain() * factor).abs()).fold(0, gcd).max(1);
    Lattice { low, step, points: (high - low) / step + 1 }
}

pub(crate) fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Whether a ratio of scales is 1 up to float32 rounding errors.
pub(crate) fn close(ratio: f64) -> bool {
    (ratio - 1.0).abs() < 1.0 / f64::from(1 << 20)
}

/// A common scale of which all scales are multiples, and the multiples.
pub(crate) fn common(levels: &[Grid]) -> Option<(f32, Vec<i64>)> {
    let smallest = levels.iter().map(|l| l.scale).fold(f32::INFINITY, f32::min);
    for parts in 1..=64 {
        let scale = f64::from(smallest) / f64::from(parts);
        let factors: Vec<f64> = levels.iter().map(|l| f64::from(l.scale) / scale).collect();
        let whole = |f: &f64| f.round() >= 1.0 && close(f / f.round()) && f.round() <= MAX_FACTOR as f64;
        if factors.iter().all(whole) {
            return Some((scale as f32, factors.iter().map(|f| f.round() as i64).collect()));
        }
    }
    None
}

/// The diagnostic for a join of unequal scales. `verb` says what the join does.
pub(crate) fn unequal(verb: &str, levels: &[Grid]) -> Diagnostic {
    let scales: Vec<String> = levels.iter().map(|l| l.scale.to_string()).collect();
    let message = match &scales[..] {
        [] => format!("it {verb} real numbers, and no quantiser follows"),
        _ => format!(
            "it {verb} inputs of the scales {}, and no quantiser follows; then each ratio of two scales must be p/q with integers p and q up to {MAX_FACTOR}",
            scales.join(" and ")
        ),
    };
    Diagnostic::new(&JOIN_SCALES, message).help(ONE_SCALE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(scale: f32, least: i64, most: i64) -> Grid {
        Grid { scale, least, most, bipolar: (least, most) == (-1, 1) }
    }

    #[test]
    fn scales_have_a_common_part_or_are_refused() {
        let of = |a, b| common(&[level(a, 0, 3), level(b, 0, 3)]);
        assert_eq!(of(0.5, 0.5).unwrap(), (0.5, vec![1, 1]));
        assert_eq!(of(0.25, 1.0).unwrap(), (0.25, vec![1, 4]));
        assert_eq!(of(3.0, 2.0).unwrap(), (1.0, vec![3, 2]));
        assert!(of(1.0, std::f32::consts::PI).is_none());
        assert!(of(1.0, 1e6).is_none());
    }

    #[test]
    fn sums_keep_what_their_parts_have_in_common() {
        let signs = level(1.0, -1, 1);
        assert_eq!(sum(&[signs, signs], &[1, 1]), Lattice { low: -2, step: 2, points: 3 });
        assert_eq!(sum(&[signs, level(1.0, 0, 3)], &[1, -1]), Lattice { low: -4, step: 1, points: 6 });
        assert_eq!(
            sum(&[level(1.0, 0, 3), level(1.0, 0, 1)], &[4, 2]),
            Lattice { low: 0, step: 2, points: 8 }
        );
    }
}

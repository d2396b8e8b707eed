//! Scales, ranges and signs of sums.

use crate::arith::activation::Activation;
use crate::arith::kernel::{Fill, Sliding};
use crate::arith::stochastic::Law;
use crate::arith::threshold::Lattice;
use crate::diagnostic::{ACTIVATION_UNSUPPORTED, Diagnostic, Result, SUM_TOO_WIDE};
use crate::graph::step::Step;
use crate::graph::tensor::{Data, Tensor};
use crate::import::layers::grid::Grid;
use crate::import::layers::weights::{Matrix, Weights};
use crate::import::runs::steps::with;

/// The sums of a layer and the steps that turn them into the integers of its activation.
pub struct Values {
    /// The possible sums of each channel.
    pub rows: Vec<Lattice>,
    /// Shape of the tensor of sums at one position.
    pub one: Vec<usize>,
    /// The steps before the graph's own.
    pub scaling: Vec<Step>,
    /// All steps, including those of `scaling`.
    pub all: Vec<Step>,
    /// Whether their results neither only rise nor only fall with the sums.
    pub turns: bool,
}

/// The value of `result`; its errors are moved to `errors`.
pub fn keep<T>(result: Result<T>, errors: &mut Vec<Diagnostic>) -> Option<T> {
    result.map_err(|found| errors.extend(found)).ok()
}

/// The diagnostic for real numbers between two layers: `from` feeds the layer `to`, or (`None`) a branch or a join.
pub fn unquantised(from: &Step, to: Option<&Step>) -> Diagnostic {
    let help = "put an activation of 1 to 8 bits between the two (Quant, QuantizeLinear, BipolarQuant, MultiThreshold or Sign)";
    match to {
        Some(to) => {
            let message =
                format!("its input is the real-valued output of {}, without a quantiser between", from.node);
            Diagnostic::new(&ACTIVATION_UNSUPPORTED, message).at(to.place.clone()).help(help)
        }
        None => {
            let message =
                "its real-valued output goes to several branches or into a join, without a quantiser between";
            Diagnostic::new(&ACTIVATION_UNSUPPORTED, message).at(from.place.clone()).help(
                "quantise every branch before it is added or concatenated, and what several branches take, to 1 to 8 bits",
            )
        }
    }
}

/// The multiplication that turns integer sums into the graph's numbers: the input scale times the weight scale of each output,
/// along `axis`. `None` if the product is 1.
pub fn scaling(product: &Step, weights: &Weights, input: f32, axis: usize) -> Result<Option<Step>> {
    let scales: Vec<f32> = weights.scales.iter().map(|s| input * s).collect();
    if let Some(s) = scales.iter().find(|s| !s.is_normal()) {
        let message = format!("the scale of the inputs, {input}, times that of the weights is {s}");
        return Err(Diagnostic::new(&ACTIVATION_UNSUPPORTED, message)
            .at(product.place.clone())
            .help("use scales whose product float32 holds")
            .into());
    }
    if scales.iter().all(|&s| s == 1.0) {
        return Ok(None);
    }
    let constant = if scales.iter().all(|&s| s == scales[0]) {
        Tensor::scalar(scales[0])
    } else {
        let mut shape = vec![1; product.shape.len() - axis];
        shape[0] = scales.len();
        Tensor { shape, data: Data::Float(scales) }
    };
    let mut step = with(product, "Mul", constant, &product.shape)?;
    step.node = format!("{}_scale", product.node);
    Ok(Some(step))
}

/// Marks the negated rows of an activation as decreasing. Their thresholds, given for the negated sums, become thresholds of the
/// sums.
pub fn falling(mut activation: Activation, negated: Vec<bool>) -> Activation {
    for (thresholds, _) in activation.thresholds.iter_mut().zip(&negated).filter(|(_, negated)| **negated) {
        // -y >= t is not y >= 1 - t.
        thresholds.reverse();
        thresholds.iter_mut().for_each(|t| *t = 1 - *t);
    }
    if negated.contains(&true) {
        activation.falls = negated;
    }
    activation
}

/// The levels of a kernel's operands: those of the input and the padding value.
pub fn operands(input: &Grid, kernel: Option<&Sliding>) -> Grid {
    let mut grid = *input;
    let Some(kernel) = kernel.filter(|k| k.window.pads()) else { return grid };
    let outside = match kernel.fill {
        Fill::Value(value) => value.into(),
        Fill::Mask | Fill::Nothing => 0,
    };
    (grid.least, grid.most) = (grid.least.min(outside), grid.most.max(outside));
    grid.bipolar &= outside != 0;
    grid
}

/// The possible sums of every row, in any member.
pub fn lattices(matrix: &Matrix, input: &Grid) -> Vec<Lattice> {
    // The range of the levels, which may be narrower than that of their type.
    let range = (input.least, input.most);
    match matrix {
        Matrix::Integers(matrix) => {
            (0..matrix.rows()).map(|r| Lattice::of(matrix.row(r), range, input.grain())).collect()
        }
        Matrix::Real(matrix) => {
            // Sampled rows have any values of the law. Without 0 the number of terms fixes the parity of a sum of odd inputs.
            let max = range.0.abs().max(range.1.abs()) * matrix.columns() as i64;
            let step = if input.bipolar && matrix.rounding().law == Law::Binary { 2 } else { 1 };
            vec![Lattice { low: -max, step, points: 2 * max / step + 1 }; matrix.rows()]
        }
    }
}

/// The minimum and maximum sum over all rows.
///
/// # Errors
/// If a sum may exceed 31 bits.
pub fn reach(rows: &[Lattice], step: &Step) -> Result<(i64, i64)> {
    let low = rows.iter().map(|r| r.low).min().unwrap_or(0);
    let high = rows.iter().map(|r| r.high()).max().unwrap_or(0);
    if low < -(1 << 30) || high >= 1 << 30 {
        return Err(Diagnostic::new(&SUM_TOO_WIDE, format!("sums reach from {low} to {high}"))
            .at(step.place.clone())
            .help("use fewer bits for the weights or the inputs, or a smaller fan-in")
            .into());
    }
    Ok((low, high))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arith::matrix::IntMatrix;
    use crate::import::layers::activation::tests::step;

    #[test]
    fn the_scale_is_one_multiplication_or_none() {
        let product = step("", "MatMul", &[], &[1, 2]);
        let weights = |scales: [f32; 2]| Weights {
            matrix: Matrix::Integers(IntMatrix::from_fn(2, 1, |row, _| row as i16)),
            scales: scales.to_vec(),
        };
        let constant = |scales, level| {
            let step = scaling(&product, &weights(scales), level, 1).unwrap();
            step.map(|s| s.constants()[1].unwrap().clone())
        };
        assert_eq!(constant([2.0, 2.0], 0.5), None);
        assert_eq!(constant([2.0, 2.0], 1.0), Some(Tensor::scalar(2.0)));
        assert_eq!(constant([0.5, 3.0], 2.0), Some(Tensor::vector(vec![1.0, 6.0])));
        assert!(scaling(&product, &weights([1e-30, 1.0]), 1e-20, 1).is_err());
    }
}

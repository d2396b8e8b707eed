//! Pass: a matrix product's constant operand becomes bits and scales.

use crate::arith::bits::BitMatrix;
use crate::diagnostic::{Diagnostic, Diagnostics, OPERATOR_UNSUPPORTED, Result, WEIGHTS_UNSUPPORTED};
use crate::host::Step;
use crate::tensor::Tensor;

/// Largest fan-in: float32 holds every dot product exactly up to 2^24.
const MAX_FAN_IN: usize = 1 << 24;

/// 1-bit weights: the matrix is ±scale.
#[derive(Debug, PartialEq)]
pub struct Weights {
    /// Signs, outputs x inputs.
    pub bits: BitMatrix,
    /// One positive scale for each output.
    pub scales: Vec<f32>,
}

/// Reads the weights of `product`, which takes a tensor of shape `before`.
pub fn weights(product: &Step, before: &[usize]) -> Result<Weights> {
    let constants = product.constants();
    let (Some(0), &[None, Some(weights)]) = (product.position(), &constants[..]) else {
        return Err(Diagnostic::new(&OPERATOR_UNSUPPORTED, "the weights are not the constant second input")
            .help("write the layer as x * W with a constant W of shape [inputs, outputs]")
            .into());
    };
    let &[inputs, outputs] = &weights.shape[..] else {
        let message = format!("the weights have shape {:?}, not [inputs, outputs]", weights.shape);
        return Err(Diagnostic::new(&OPERATOR_UNSUPPORTED, message)
            .help("give every layer a matrix of weights with two axes")
            .into());
    };
    if before.iter().product::<usize>() != inputs || inputs == 0 || outputs == 0 {
        let message = format!(
            "a tensor of shape {before:?} is multiplied by weights of shape {:?}; one vector is supported",
            weights.shape
        );
        return Err(Diagnostic::new(&OPERATOR_UNSUPPORTED, message)
            .help("flatten the tensor before the layer to [1, inputs], and export with a batch of 1")
            .into());
    }
    if inputs > MAX_FAN_IN {
        let message = format!("{inputs} inputs; above {MAX_FAN_IN} float32 is not exact");
        return Err(Diagnostic::new(&OPERATOR_UNSUPPORTED, message).help("make the layer narrower").into());
    }
    binary(weights, inputs, outputs)
}

fn binary(weights: &Tensor, inputs: usize, outputs: usize) -> Result<Weights> {
    let values = weights.floats("the weights")?;
    let scales: Vec<f32> = values[..outputs].iter().map(|v| v.abs()).collect();
    if let Some(v) = values.iter().find(|v| !v.is_finite()) {
        return Err(unfit(format!("a weight is {v}")));
    }
    for (i, v) in values.iter().enumerate() {
        if v.abs() != scales[i % outputs] || *v == 0.0 {
            let zeros = values.iter().filter(|v| **v == 0.0).count();
            let column = i % outputs;
            return Err(unfit(if zeros > 0 {
                format!("{zeros} of {} weights are 0", values.len())
            } else {
                format!(
                    "the weights of output {column} have the magnitudes {} and {}",
                    scales[column],
                    v.abs()
                )
            }));
        }
    }
    let bits = BitMatrix::from_fn(outputs, inputs, |row, column| values[column * outputs + row] > 0.0);
    Ok(Weights { bits, scales })
}

fn unfit(fact: String) -> Diagnostics {
    Diagnostic::new(&WEIGHTS_UNSUPPORTED, fact)
        .help("1-bit weights are supported: -s and +s with one s for each output (quantise them with BipolarQuant)")
        .into()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::attributes::Attributes;
    use super::super::op;
    use super::*;
    use crate::host::Operand;
    use crate::tensor::Data;

    fn product(shape: &[usize], values: &[f32]) -> Step {
        let constant = Tensor::new(shape.to_vec(), Data::Float(values.to_vec())).unwrap();
        Step {
            operator: op::find("", "MatMul").unwrap(),
            node: String::new(),
            place: String::new(),
            attributes: Attributes::default(),
            operands: vec![Operand::Running, Operand::Constant(Arc::new(constant))],
            output: 0,
            shape: vec![1, shape[1]],
        }
    }

    #[test]
    fn columns_become_rows_with_their_scale() {
        let read = weights(&product(&[3, 2], &[0.5, -2.0, -0.5, 2.0, 0.5, 2.0]), &[1, 3]).unwrap();
        assert_eq!(read.scales, [0.5, 2.0]);
        let wanted = [[true, false, true], [false, true, true]];
        assert_eq!(read.bits, BitMatrix::from_fn(2, 3, |r, c| wanted[r][c]));
    }

    #[test]
    fn anything_else_is_refused_with_numbers() {
        let said = |shape: &[usize], values: &[f32], before: &[usize]| {
            weights(&product(shape, values), before).unwrap_err().to_string()
        };
        assert!(said(&[2, 2], &[1.0, 1.0, 0.0, 1.0], &[1, 2]).contains("1 of 4 weights are 0"));
        assert!(said(&[2, 1], &[1.0, 0.75], &[1, 2]).contains("magnitudes 1 and 0.75"));
        assert!(said(&[2, 1], &[1.0, f32::NAN], &[1, 2]).contains("NaN"));
        assert!(said(&[2, 1], &[1.0, 1.0], &[3, 2]).contains("[3, 2]"));
    }
}

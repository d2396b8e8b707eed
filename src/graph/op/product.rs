//! Matrix products.

use std::borrow::Cow;

use crate::diagnostic::{Diagnostic, MODEL_TOO_LARGE, Result};
use crate::graph::attributes::Attributes;
use crate::graph::operator::{ONNX, Operator, QUANTISED, Role, invalid, unsupported};
use crate::graph::tensor;
use crate::graph::tensor::{Data, Tensor};

/// Upper bound on the multiplications of one product on the host, or on the elements that all windows of one pooling see: 2^28.
const MAX_WORK: usize = 1 << 28;

pub(crate) const OPERATORS: &[Operator] = &[
    Operator {
        name: "MatMul",
        domains: ONNX,
        inputs: (2, 2),
        attributes: &[],
        role: Role::Product,
        eval: |_, x| Ok(vec![mat_mul(x[0], x[1])?]),
    },
    Operator {
        name: "Gemm",
        domains: ONNX,
        inputs: (2, 3),
        attributes: &["alpha", "beta", "transA", "transB", "broadcast"],
        role: Role::Product,
        eval: gemm,
    },
    Operator {
        name: "XnorPopcountMatMul",
        domains: QUANTISED,
        inputs: (2, 2),
        attributes: &[],
        role: Role::Product,
        eval: xnor_popcount,
    },
];

/// Rejects a computation of more than [`MAX_WORK`] steps before it starts.
pub(crate) fn bounded(steps: usize, what: impl FnOnce() -> String) -> Result<()> {
    if steps <= MAX_WORK {
        return Ok(());
    }
    let message = format!("{} needs {steps} multiplications or comparisons; the limit is {MAX_WORK}", what());
    Err(Diagnostic::new(&MODEL_TOO_LARGE, message)
        .help("only smaller products are computed on the host: a product with constant weights of a few bits becomes hardware")
        .into())
}

/// `[.., M, K] x [K, N]` or `[M, K] x [.., K, N]`. Each sum is float32, from k = 0 upwards.
fn mat_mul(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let (left, right) = (a.floats("the left operand")?, b.floats("the right operand")?);
    let (&[.., m, k], &[.., inner, n]) = (&a.shape[..], &b.shape[..]) else {
        return Err(unsupported(format!(
            "operands of shapes {:?} and {:?}; two axes or more are supported",
            a.shape, b.shape
        )));
    };
    if a.rank() > 2 && b.rank() > 2 {
        return Err(unsupported(format!(
            "operands of shapes {:?} and {:?}; one of them may have more than two axes",
            a.shape, b.shape
        )));
    }
    if k != inner {
        return Err(invalid(format!("shapes {:?} and {:?} do not multiply", a.shape, b.shape)));
    }
    let batch = [&a.shape[..a.rank() - 2], &b.shape[..b.rank() - 2]].concat();
    let shape = [&batch[..], &[m, n]].concat();
    let size = tensor::elements(&shape)?;
    bounded(size.saturating_mul(k), || format!("{:?} x {:?}", a.shape, b.shape))?;
    let mut out = vec![0.0; size];
    if k > 0 && m > 0 && n > 0 {
        for (i, sums) in out.chunks_exact_mut(m * n).enumerate() {
            let of =
                |v: &'_ [f32], rank: usize, size: usize| if rank > 2 { i * size } else { 0 }.min(v.len());
            let left = &left[of(left, a.rank(), m * k)..];
            let right = &right[of(right, b.rank(), k * n)..];
            for (row, sums) in left.chunks_exact(k).zip(sums.chunks_exact_mut(n)) {
                for (&v, w) in row.iter().zip(right.chunks_exact(n)) {
                    sums.iter_mut().zip(w).for_each(|(sum, w)| *sum += v * w);
                }
            }
        }
    }
    Ok(Tensor { shape, data: Data::Float(out) })
}

/// The transpose of a matrix.
pub(crate) fn transposed(x: &Tensor) -> Result<Tensor> {
    let &[rows, columns] = &x.shape[..] else {
        return Err(invalid(format!("shape {:?} is no matrix", x.shape)));
    };
    let data = x.data.pick((0..rows * columns).map(|i| i % rows * columns + i / rows));
    Ok(Tensor { shape: vec![columns, rows], data })
}

fn turn(x: &Tensor, by: bool) -> Result<Cow<'_, Tensor>> {
    Ok(if by { Cow::Owned(transposed(x)?) } else { Cow::Borrowed(x) })
}

/// alpha * A * B + beta * C, with A and B transposed according to `transA` and `transB`.
fn gemm(attributes: &Attributes, x: &[&Tensor]) -> Result<Vec<Tensor>> {
    let scaled = |x: Tensor, factor: f32| -> Result<Tensor> {
        let data = Data::Float(x.floats("an operand")?.iter().map(|v| v * factor).collect());
        Ok(Tensor { shape: x.shape, data })
    };
    if x[0].rank() != 2 || x[1].rank() != 2 {
        return Err(invalid(format!("operands of shapes {:?} and {:?}", x[0].shape, x[1].shape)));
    }
    let turned = |x, name| turn(x, attributes.int(name, 0)? != 0);
    let mut y = mat_mul(&*turned(x[0], "transA")?, &*turned(x[1], "transB")?)?;
    let (alpha, beta) = (attributes.float("alpha", 1.0)?, attributes.float("beta", 1.0)?);
    if alpha != 1.0 {
        y = scaled(y, alpha)?;
    }
    if let Some(&c) = x.get(2) {
        let c = if beta == 1.0 { c.clone() } else { scaled(c.clone(), beta)? };
        let (shape, sums) =
            tensor::zip((&y.shape, y.floats("the product")?), (&c.shape, c.floats("C")?), |y, c| y + c)?;
        if shape != y.shape {
            return Err(invalid(format!(
                "C of shape {:?} is larger than the product {:?}",
                c.shape, y.shape
            )));
        }
        y = Tensor { shape, data: Data::Float(sums) };
    }
    Ok(vec![y])
}

/// The popcount P of the K positions where two lists of 0 and 1 agree: (dot + K) / 2, with the dot product of 2x - 1.
fn xnor_popcount(_: &Attributes, x: &[&Tensor]) -> Result<Vec<Tensor>> {
    let bipolar = |x: &Tensor| -> Result<Tensor> {
        let data = Data::Float(x.floats("an operand")?.iter().map(|v| 2.0 * v - 1.0).collect());
        Ok(Tensor { shape: x.shape.clone(), data })
    };
    let k = x[0].shape.last().copied().unwrap_or(0) as f32;
    let dots = mat_mul(&bipolar(x[0])?, &bipolar(x[1])?)?;
    let data = Data::Float(dots.floats("the product")?.iter().map(|d| (d + k) * 0.5).collect());
    Ok(vec![Tensor { shape: dots.shape, data }])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::attributes::Attribute;
    use crate::graph::op::find;

    fn matrix(shape: &[usize], values: &[f32]) -> Tensor {
        Tensor::new(shape.to_vec(), Data::Float(values.to_vec())).unwrap()
    }

    #[test]
    fn multiplies_rows_by_columns() {
        let a = matrix(&[1, 2, 2], &[1.0, 2.0, 3.0, 4.0]);
        let b = matrix(&[2, 3], &[1.0, 0.0, -1.0, 0.0, 1.0, 2.0]);
        let c = mat_mul(&a, &b).unwrap();
        assert_eq!(c, matrix(&[1, 2, 3], &[1.0, 2.0, 3.0, 3.0, 4.0, 5.0]));
        let flipped = mat_mul(&transposed(&b).unwrap(), &a).unwrap();
        assert_eq!(flipped, matrix(&[1, 3, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]));
        assert!(mat_mul(&b, &b).is_err());
        assert!(mat_mul(&a, &a).is_err());
        let wide = Tensor::zeros(&[1 << 13, 1 << 13]).unwrap();
        assert!(mat_mul(&wide, &wide).is_err(), "work is bounded");
    }

    #[test]
    fn gemm_scales_transposes_and_adds() {
        let x = matrix(&[2, 1], &[1.0, 2.0]);
        let w = matrix(&[3, 2], &[1.0, 0.0, 0.0, 1.0, 1.0, 1.0]);
        let c = Tensor::vector(vec![10.0, 20.0, 30.0]);
        let a = Attributes::new(11)
            .with("transA", Attribute::Int(1))
            .with("transB", Attribute::Int(1))
            .with("alpha", Attribute::Float(2.0))
            .with("beta", Attribute::Float(0.5));
        let y = gemm(&a, &[&x, &w, &c]).unwrap();
        assert_eq!(y[0], matrix(&[1, 3], &[7.0, 14.0, 21.0]));
        assert!(gemm(&a, &[&x, &w, &matrix(&[2, 3], &[0.0; 6])]).is_err(), "C does not widen");
    }

    #[test]
    fn popcounts_are_of_equal_bits() {
        let x = matrix(&[1, 3], &[1.0, 0.0, 1.0]);
        let w = matrix(&[3, 2], &[1.0, 0.0, 1.0, 0.0, 1.0, 0.0]);
        let xnor = find("finn.custom_op.general", "XnorPopcountMatMul").unwrap();
        assert_eq!((xnor.eval)(&Attributes::new(1), &[&x, &w]).unwrap()[0], matrix(&[1, 2], &[2.0, 1.0]));
    }
}

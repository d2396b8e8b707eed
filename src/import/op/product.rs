//! Matrix products.

use super::{ONNX, Operator, Role, invalid, unsupported};
use crate::diagnostic::{Diagnostic, MODEL_TOO_LARGE, Result};
use crate::import::attributes::Attributes;
use crate::tensor::{self, Data, Tensor};

/// Most multiplications of one matrix product on the host: 2^28.
const MAX_WORK: usize = 1 << 28;

pub(super) const OPERATORS: &[Operator] = &[Operator {
    name: "MatMul",
    domains: ONNX,
    inputs: (2, 2),
    attributes: &[],
    role: Role::Product,
    eval: mat_mul,
}];

/// `[.., M, K] x [K, N] -> [.., M, N]`, each sum in float32 from k = 0 upwards.
fn mat_mul(_: &Attributes, x: &[&Tensor]) -> Result<Vec<Tensor>> {
    let (a, b) = (x[0], x[1]);
    let (values, weights) = (a.floats("the left operand")?, b.floats("the right operand")?);
    let &[k, n] = &b.shape[..] else {
        return Err(unsupported(format!(
            "the right operand has shape {:?}; two axes are supported",
            b.shape
        )));
    };
    if a.shape.last() != Some(&k) {
        return Err(invalid(format!("shapes {:?} and {:?} do not multiply", a.shape, b.shape)));
    }
    let mut shape = a.shape.clone();
    *shape.last_mut().expect("a has an axis of extent k") = n;
    let size = tensor::elements(&shape)?;
    if size.saturating_mul(k) > MAX_WORK {
        let message = format!(
            "{:?} x {:?} needs {} multiplications; the limit is {MAX_WORK}",
            a.shape,
            b.shape,
            size * k
        );
        return Err(Diagnostic::new(&MODEL_TOO_LARGE, message)
            .help("only smaller products are computed on the host: a layer with constant 1-bit weights becomes hardware")
            .into());
    }
    let mut out = vec![0.0; size];
    if k > 0 && n > 0 {
        for (row, sums) in values.chunks_exact(k).zip(out.chunks_exact_mut(n)) {
            for (&v, w) in row.iter().zip(weights.chunks_exact(n)) {
                sums.iter_mut().zip(w).for_each(|(sum, w)| *sum += v * w);
            }
        }
    }
    Ok(vec![Tensor { shape, data: Data::Float(out) }])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn multiplies_rows_by_columns() {
        let a = Tensor::new(vec![1, 2, 2], Data::Float(vec![1.0, 2.0, 3.0, 4.0])).unwrap();
        let b = Tensor::new(vec![2, 3], Data::Float(vec![1.0, 0.0, -1.0, 0.0, 1.0, 2.0])).unwrap();
        let c = mat_mul(&Attributes::new(9), &[&a, &b]).unwrap().remove(0);
        assert_eq!((c.shape, c.data), (vec![1, 2, 3], Data::Float(vec![1.0, 2.0, 3.0, 3.0, 4.0, 5.0])));
        assert!(mat_mul(&Attributes::new(9), &[&b, &b]).is_err());
        let wide = Tensor::zeros(&[1 << 13, 1 << 13]).unwrap();
        assert!(mat_mul(&Attributes::new(9), &[&wide, &wide]).is_err(), "work is bounded");
    }
}

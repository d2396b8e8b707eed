//! Integers and scales of quantised constants, propagated through the operators that preserve them.

use crate::frame::element::Element;
use crate::graph::attributes::Attributes;
use crate::graph::operator::{Codes, Operator, Role, Spacing};
use crate::graph::tensor::{Data, Tensor};

/// The codes of the first output of a node with constant inputs, computed from all inputs and their codes; `None` if the output
/// has no codes.
pub fn through(
    operator: &Operator,
    attributes: &Attributes,
    inputs: &[&Tensor],
    codes: &[Option<&Codes>],
) -> Option<Codes> {
    match operator.role {
        Role::Quantiser(q) => (q.codes?)(attributes, inputs).ok(),
        Role::Layout => {
            let codes = codes.first().copied().flatten()?;
            let moved = |tensor: &Tensor| {
                let all: Vec<&Tensor> = std::iter::once(tensor).chain(inputs[1..].iter().copied()).collect();
                Ok((operator.eval)(attributes, &all)?.swap_remove(0))
            };
            codes.moved(moved).ok()
        }
        // Multiplication or division by a constant whose shape does not enlarge the codes.
        Role::Elementwise { spacing: Spacing::Scaled, .. } if inputs.len() <= 2 => {
            let at = codes.iter().position(Option::is_some)?;
            let of = codes[at]?;
            if operator.name == "Div" && at != 0 {
                return None;
            }
            let mut all = inputs.to_vec();
            all[at] = &of.scales;
            let scales = (operator.eval)(attributes, &all).ok()?.swap_remove(0);
            (scales.shape == of.integers.shape).then(|| Codes { scales, ..of.clone() })
        }
        _ => None,
    }
}

/// The codes of a constant with an integer type annotation; `None` if a value is not of that type.
pub fn annotated(tensor: &Tensor, element: Element) -> Option<Codes> {
    let (min, max) = element.range();
    let values = tensor.floats("a constant").ok()?;
    let fits = |v: &f32| v.fract() == 0.0 && (min as f32..=max as f32).contains(v);
    let scales = Tensor { shape: tensor.shape.clone(), data: Data::Float(vec![1.0; values.len()]) };
    values.iter().all(fits).then(|| Codes { integers: tensor.clone(), scales, rounding: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::op::find;

    #[test]
    fn codes_come_from_quantisers_and_go_through_layouts_and_factors() {
        let values = Tensor::new(vec![1, 3], Data::Float(vec![0.3, -0.8, 0.1])).unwrap();
        let parameters = [0.25, 0.0, 3.0].map(Tensor::scalar);
        let inputs: Vec<&Tensor> = std::iter::once(&values).chain(&parameters).collect();
        let quant = find("qonnx.custom_op.general", "Quant").unwrap();
        let codes = through(quant, &Attributes::new(1), &inputs, &[None; 4]).unwrap();
        assert_eq!(codes.integers.data, Data::Float(vec![1.0, -3.0, 0.0]));
        assert_eq!(codes.scales.data, Data::Float(vec![0.25; 3]));
        let none = Attributes::new(9);
        let turned = through(find("", "Transpose").unwrap(), &none, &[&values], &[Some(&codes)]).unwrap();
        assert_eq!(turned.integers.shape, [3, 1]);
        let by = Tensor::vector(vec![1.0, 2.0, 4.0]);
        let scaled =
            through(find("", "Mul").unwrap(), &none, &[&by, &values], &[None, Some(&codes)]).unwrap();
        assert_eq!(
            (scaled.integers, scaled.scales.data),
            (codes.integers.clone(), Data::Float(vec![0.25, 0.5, 1.0]))
        );
        let over = through(find("", "Div").unwrap(), &none, &[&by, &values], &[None, Some(&codes)]);
        assert_eq!(over, None);
        assert_eq!(through(find("", "Add").unwrap(), &none, &[&by, &values], &[None, Some(&codes)]), None);
    }

    #[test]
    fn annotations_hold_where_the_values_do() {
        let t = Tensor::vector(vec![-2.0, 1.0]);
        assert!(annotated(&t, Element::Signed(2)).is_some());
        assert!(annotated(&t, Element::Unsigned(2)).is_none());
        assert!(annotated(&Tensor::scalar(0.5), Element::Signed(8)).is_none());
    }
}

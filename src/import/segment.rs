//! Pass: the chain is cut into what the host does first, the layers, and what the host does last.

use std::ops::Range;

use super::chain::Chain;
use super::op::Role;
use crate::diagnostic::{
    ACTIVATION_UNSUPPORTED, Diagnostic, Diagnostics, INPUT_NOT_QUANTISED, OPERATOR_UNSUPPORTED, Result,
};

/// One layer, as indices into the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// The matrix product.
    pub product: usize,
    /// What stands between it and the next matrix product; `None` for the last one.
    pub activation: Option<Range<usize>>,
}

/// The chain's parts.
#[derive(Debug, PartialEq, Eq)]
pub struct Segments {
    /// From the graph's input to the first matrix product.
    pub front: Range<usize>,
    /// The layers, in order, at least one.
    pub layers: Vec<Segment>,
    /// Behind the last matrix product.
    pub tail: Range<usize>,
}

/// Cuts `chain` at its matrix products. What feeds one of them has to be quantised.
pub fn segment(chain: &Chain) -> Result<Segments> {
    let products: Vec<usize> = positions(chain);
    let (Some(&first), Some(&last)) = (products.first(), products.last()) else {
        let found =
            Diagnostic::new(&OPERATOR_UNSUPPORTED, "the graph holds no matrix product: nothing to build");
        return Err(found.help("give a network with MatMul layers").into());
    };
    let mut errors = Vec::new();
    let layers: Vec<Segment> = products
        .iter()
        .enumerate()
        .map(|(i, &product)| Segment {
            product,
            activation: products.get(i + 1).map(|&next| product + 1..next),
        })
        .collect();
    if !quantised(chain, 0..first, &mut errors) {
        let found = Diagnostic::new(&INPUT_NOT_QUANTISED, "it is fed with the graph's real-valued input")
            .at(chain.steps[first].place.clone());
        errors
            .push(found.help(
                "quantise the input in the graph (BipolarQuant, or MultiThreshold with one threshold)",
            ));
    }
    for segment in &layers {
        if let Some(activation) = segment.activation.clone()
            && !quantised(chain, activation.clone(), &mut errors)
        {
            let (from, to) = (&chain.steps[segment.product], &chain.steps[activation.end]);
            let message =
                format!("it is fed with the real numbers of {} without a quantiser between", from.node);
            let found = Diagnostic::new(&ACTIVATION_UNSUPPORTED, message).at(to.place.clone());
            errors
                .push(found.help("put a 1-bit activation between the two (BipolarQuant or MultiThreshold)"));
        }
    }
    Diagnostics::collected(errors)?;
    Ok(Segments { front: 0..first, layers, tail: last + 1..chain.steps.len() })
}

fn positions(chain: &Chain) -> Vec<usize> {
    (0..chain.steps.len()).filter(|&i| matches!(chain.steps[i].operator.role, Role::Product)).collect()
}

/// Whether `range` holds a quantiser. What may not stand before a matrix product is reported.
fn quantised(chain: &Chain, range: Range<usize>, errors: &mut Vec<Diagnostic>) -> bool {
    let front = range.start == 0;
    let mut found = false;
    for step in &chain.steps[range] {
        match step.operator.role {
            Role::Quantiser(_) => found = true,
            Role::Elementwise { .. } | Role::Layout => {}
            // On the host, and before the first integers, everything goes.
            Role::Host | Role::Constant | Role::Product if front && !found => {}
            Role::Host | Role::Constant | Role::Product => errors.push(
                Diagnostic::new(&OPERATOR_UNSUPPORTED, format!("{} stands between two layers", step.operator.name))
                    .at(step.place.clone())
                    .help("between layers there may be elementwise arithmetic with constants, BatchNormalization and a quantiser"),
            ),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::attributes::Attributes;
    use super::super::op;
    use super::*;
    use crate::host::{Operand, Step};

    fn chain(ops: &[&str]) -> Chain {
        let step = |(i, name): (usize, &&str)| Step {
            operator: op::find("", name).or_else(|| op::find("onnx.brevitas", name)).unwrap(),
            node: format!("{name}_{i}"),
            place: format!("node {name}_{i}"),
            attributes: Attributes::default(),
            operands: vec![Operand::Running],
            output: 0,
            shape: vec![1, 4],
        };
        Chain { input: vec![1, 4], steps: ops.iter().enumerate().map(step).collect() }
    }

    #[test]
    fn the_chain_is_cut_at_its_products() {
        let parts = segment(&chain(&[
            "Mul",
            "BipolarQuant",
            "MatMul",
            "Add",
            "BipolarQuant",
            "MatMul",
            "Mul",
            "TopK",
        ]));
        let layers =
            vec![Segment { product: 2, activation: Some(3..5) }, Segment { product: 5, activation: None }];
        assert_eq!(parts.unwrap(), Segments { front: 0..2, layers, tail: 6..8 });
    }

    #[test]
    fn unquantised_products_are_all_named() {
        let text = segment(&chain(&["Mul", "MatMul", "Add", "MatMul", "TopK", "BipolarQuant", "MatMul"]));
        let text = text.unwrap_err().to_string();
        assert!(text.contains("[input-not-quantised] node MatMul_1"), "{text}");
        assert!(text.contains("[activation-unsupported] node MatMul_3"), "{text}");
        assert!(text.contains("[operator-unsupported] node TopK_4"), "{text}");
        assert_eq!(text.lines().count(), 3);
    }

    #[test]
    fn a_graph_without_products_is_no_network() {
        assert!(segment(&chain(&["Mul", "BipolarQuant"])).is_err());
    }
}

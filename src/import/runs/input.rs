//! Pass: inserts the user's fixed-point type for a real-valued input that the graph does not quantise.

use crate::diagnostic::{Diagnostic, INPUT_NOT_QUANTISED};
use crate::graph::attributes::{Attribute, Attributes};
use crate::graph::op;
use crate::graph::operator::{CONFIGURED, Role};
use crate::graph::step::{Operand, Step};
use crate::import::options::Options;
use crate::import::runs::chain::Run;

/// Inserts the quantiser of `options` before the first matrix product, or at the end of a run that feeds several branches, if
/// real numbers arrive there. Without such an option that is an error, whose help suggests it.
pub fn quantise_input(mut run: Run, options: &Options, errors: &mut Vec<Diagnostic>) -> Run {
    let chain = &mut run.chain;
    let product = chain.steps.iter().position(|s| matches!(s.operator.role, Role::Product));
    let Some(first) = product.or((!run.leaves).then_some(chain.steps.len())) else { return run };
    // A quantiser without levels of its own only rescales levels, so it does not quantise real numbers.
    let has_levels = |s: &Step| match s.operator.role {
        Role::Quantiser(q) => !matches!((q.levels)(&s.attributes, &s.constants()), Ok(None)),
        _ => false,
    };
    let quantised = chain.steps[..first].iter().any(has_levels);
    if quantised || chain.annotation.is_some() {
        return run;
    }
    let shape = chain.shape_before(first).to_vec();
    let place =
        chain.steps.get(first).map_or_else(|| format!("tensor {}", run.to), |step| step.place.clone());
    let Some(fixed) = options.input else {
        let elements: usize = shape.iter().product();
        let message =
            format!("it takes {elements} real numbers of the graph's input, which is not quantised");
        errors.push(Diagnostic::new(&INPUT_NOT_QUANTISED, message).at(place).help(
            "state their fixed-point type in the configuration, for example [input] bits = 16, fraction_bits = 10, or by \
             --input-bits 16 --input-fraction 10 (signed, rounded half to even, saturated), or quantise the input in the graph \
             (Quant, QuantizeLinear, BipolarQuant). In QKeras, QActivation(quantized_bits(9, 1)) in front of the first layer is \
             [input] bits = 9, fraction_bits = 7",
        ));
        return run;
    };
    let Some(operator) = op::find(CONFIGURED, "FixedPoint") else { return run };
    let step = Step {
        operator,
        node: "input".to_owned(),
        place: "the configuration's [input]".to_owned(),
        attributes: Attributes::new(1)
            .with("bits", Attribute::Int(fixed.bits.into()))
            .with("fraction_bits", Attribute::Int(fixed.fraction_bits.into())),
        operands: vec![Operand::Running],
        output: 0,
        shape,
        codes: None,
    };
    chain.steps.insert(first, step);
    run
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::element::Element;
    use crate::graph::tensor::Tensor;
    use crate::import::layers::activation::tests::{bipolar, step};
    use crate::import::options::FixedPoint;
    use crate::import::runs::chain::Chain;

    fn run(front: Vec<Step>) -> Run {
        let product = step("", "MatMul", &[Tensor::zeros(&[4, 4]).unwrap()], &[1, 4]);
        let chain = Chain { input: vec![1, 4], annotation: None, steps: [front, vec![product]].concat() };
        Run { chain, leaves: true, ..Run::default() }
    }

    #[test]
    fn only_real_inputs_are_quantised_and_only_as_stated() {
        let mut errors = Vec::new();
        let stated = Options { input: Some(FixedPoint { bits: 8, fraction_bits: 4 }), ..Options::default() };
        let names = |run: &Run| run.chain.steps.iter().map(|s| s.operator.name).collect::<Vec<_>>();
        let real = || run(vec![step("", "Relu", &[], &[1, 4])]);
        assert_eq!(names(&quantise_input(real(), &stated, &mut errors)), ["Relu", "FixedPoint", "MatMul"]);
        let bits = quantise_input(run(vec![bipolar(1.0)]), &stated, &mut errors);
        assert_eq!(names(&bits), ["BipolarQuant", "MatMul"]);
        let mut annotated = real();
        annotated.chain.annotation = Some(Element::Unsigned(8));
        assert_eq!(names(&quantise_input(annotated, &Options::default(), &mut errors)), ["Relu", "MatMul"]);
        assert!(errors.is_empty());
        quantise_input(real(), &Options::default(), &mut errors);
        assert!(
            errors[0].message.contains("4 real numbers")
                && errors[0].help.as_ref().unwrap().contains("fraction_bits")
        );
    }
}

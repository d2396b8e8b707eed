//! Pass: cuts a run into the host's steps before the hardware, the layers, and the host's steps after the hardware.

use std::ops::Range;

use crate::diagnostic::{Diagnostic, OPERATOR_UNSUPPORTED};
use crate::graph::operator::{OWN, Role};
use crate::graph::step::Step;
use crate::import::runs::chain::{Chain, Run};

/// One layer, as indices into the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Index of the product or average.
    pub anchor: usize,
    /// The steps up to the next layer or the end of the run; `None` for the last layer of a run that ends in a graph output.
    pub behind: Option<Range<usize>>,
}

/// The parts of a run.
#[derive(Debug, PartialEq, Eq)]
pub struct Segments {
    /// The steps before the first layer.
    pub front: Range<usize>,
    /// The layers, in order.
    pub layers: Vec<Segment>,
    /// The steps that the host computes after the last layer.
    pub tail: Range<usize>,
}

/// Cuts a run at its products and averages. In a run that begins with an input, averages before its quantiser belong to the host.
/// Errors for steps that may not stand between layers are added to `errors`.
pub fn segment(run: &Run, errors: &mut Vec<Diagnostic>) -> Option<Segments> {
    let is_first = run.input.is_some();
    let chain = &run.chain;
    let end = chain.steps.len();
    for step in chain.steps.iter().filter(|s| s.operator.domains == [OWN]) {
        let message = format!("{} of what depends on the graph's input", step.operator.name);
        errors.push(
            Diagnostic::new(&OPERATOR_UNSUPPORTED, message)
                .at(step.place.clone())
                .help("StochasticQuant takes constant weights, Member a constant"),
        );
    }
    let is_product = |i: &usize| matches!(chain.steps[*i].operator.role, Role::Product);
    let first = match (0..end).find(is_product) {
        Some(first) => first,
        None if is_first && run.leaves => {
            let found =
                Diagnostic::new(&OPERATOR_UNSUPPORTED, "the graph holds no matrix product: nothing to build");
            errors.push(found.help("give a network with MatMul, Gemm or Conv layers"));
            return None;
        }
        None => end,
    };
    let sums = |i: &usize| matches!(chain.steps[*i].operator.role, Role::Product | Role::Pool);
    // The host computes what a quantiser in front of the first product is behind.
    let is_quantiser = |i: &usize| matches!(chain.steps[*i].operator.role, Role::Quantiser(_));
    let start = if is_first { (0..first).rfind(is_quantiser).unwrap_or(0) } else { 0 };
    let mut anchors: Vec<usize> = (start..end).filter(sums).collect();
    // Averages that the hardware cannot compute are left to the host.
    while run.leaves
        && let [.., last] = anchors[..]
        && matches!(chain.steps[last].operator.role, Role::Pool)
        && !can_average(
            &chain.steps[anchors.iter().rev().nth(1).copied().unwrap_or(0)..last],
            &chain.steps[last],
        )
    {
        anchors.pop();
    }
    // A run without layers belongs to the host if it ends in a graph output; else its steps are part of a joining or threshold
    // layer.
    let lead = match anchors.first() {
        Some(first) => *first,
        None if run.leaves => 0,
        None => end,
    };
    let behind = |i: usize| anchors.get(i + 1).copied().or((!run.leaves).then_some(end));
    let layers: Vec<Segment> = anchors
        .iter()
        .enumerate()
        .map(|(i, &anchor)| Segment { anchor, behind: behind(i).map(|next| anchor + 1..next) })
        .collect();
    if is_first {
        // Before the first quantiser the host may compute anything.
        let quantised = (0..lead).find(|&i| matches!(chain.steps[i].operator.role, Role::Quantiser(_)));
        if !anchors.is_empty() {
            places(chain, quantised.unwrap_or(lead)..lead, errors);
        }
    } else {
        places(chain, 0..lead, errors);
    }
    for segment in &layers {
        places(chain, segment.behind.clone().unwrap_or_default(), errors);
    }
    let tail = anchors.last().map_or(lead, |last| last + 1);
    Some(Segments { front: 0..lead, layers, tail: if run.leaves { tail..end } else { end..end } })
}

/// Whether the operator of `step` may stand between two layers.
pub fn is_local(step: &Step) -> bool {
    match step.operator.role {
        Role::Quantiser(_) | Role::Elementwise { .. } | Role::Layout | Role::Select => true,
        Role::Host | Role::Constant | Role::Pool | Role::Product => false,
    }
}

/// Whether an average takes sums in place of what `steps` make of them. Padding right in front of it belongs to its window.
pub fn commutes(steps: &[Step]) -> bool {
    let padless = steps.split_last().filter(|(last, _)| last.operator.name == "Pad");
    padless.map_or(steps, |(_, rest)| rest).iter().all(is_affine)
}

/// Whether a step is an affine function of the running tensor, so that it commutes with an average.
fn is_affine(step: &Step) -> bool {
    let name = step.operator.name;
    let linear = ["Add", "Sub", "Mul", "Neg", "BatchNormalization"].contains(&name);
    let regroups = ["DepthToSpace", "SpaceToDepth", "Interleave"].contains(&name);
    matches!(step.operator.role, Role::Layout) && !regroups
        || step.position() == Some(0) && (linear || name == "Div")
        || step.position() == Some(1) && linear
}

/// Whether the hardware can average the results of these steps: they are quantised, or the steps commute with the average. A sum counts
/// an offset once for each element, so it commutes with none.
fn can_average(steps: &[Step], pool: &Step) -> bool {
    let is_anchor = |s: &Step| matches!(s.operator.role, Role::Product | Role::Pool);
    let (product, steps) = match steps.split_first() {
        Some((first, rest)) if is_anchor(first) => (Some(first), rest),
        _ => (None, steps),
    };
    let quantised = steps.iter().any(|s| matches!(s.operator.role, Role::Quantiser(_)));
    let moves = steps.iter().any(|s| matches!(s.operator.role, Role::Layout));
    // Of moved elements, an average has those of several channels.
    let uniform = |s: &Step| s.constants().iter().flatten().all(|t| t.len() <= 1);
    let affine =
        pool.operator.name != "GlobalSumPool" && steps.iter().all(|s| is_affine(s) && (!moves || uniform(s)));
    // Where nothing moves them, the outputs of a MatMul are the columns of the average.
    let affine = affine && (moves || product.is_none_or(|product| product.operator.name != "MatMul"));
    steps.iter().all(is_local) && (quantised || affine)
}

/// Reports steps that may not stand between two layers.
fn places(chain: &Chain, range: Range<usize>, errors: &mut Vec<Diagnostic>) {
    // Of interpolations that remain, their rewriting has said why.
    let told = !errors.is_empty();
    let told = |step: &Step| told && step.operator.name == "Interpolate";
    for step in chain.steps[range].iter().filter(|step| !is_local(step) && !told(step)) {
        let (what, help) = match step.operator.name {
            "Concat" => (
                "Concat of a stream with a constant, or with itself,",
                "pad channels with a Pad node behind a quantiser (torch.nn.functional.pad)",
            ),
            name => (
                name,
                "replace it, or move it in front of the first layer or behind the last one, where the host computes it. Between layers there may be elementwise arithmetic with constants, BatchNormalization, Relu, Clip, quantisers, maxima, nearest-neighbour upsampling, padding, and selections of channels and pixels",
            ),
        };
        let message = format!("{what} between two layers is not supported");
        errors.push(Diagnostic::new(&OPERATOR_UNSUPPORTED, message).at(step.place.clone()).help(help));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::attributes::Attributes;
    use crate::graph::op;
    use crate::graph::step::Operand;

    fn run(ops: &[&str]) -> Run {
        let step = |(i, name): (usize, &&str)| Step {
            operator: op::find("", name).or_else(|| op::find("onnx.brevitas", name)).unwrap(),
            node: format!("{name}_{i}"),
            place: format!("node {name}_{i}"),
            attributes: Attributes::default(),
            operands: vec![Operand::Running],
            output: 0,
            shape: vec![1, 4],
            codes: None,
        };
        let steps = ops.iter().enumerate().map(step).collect();
        let chain = Chain { input: vec![1, 4], annotation: None, steps };
        Run { from: vec!["x".into()], chain, to: "y".into(), input: Some(0), leaves: true, ..Run::default() }
    }

    #[test]
    fn the_chain_is_cut_at_its_products() {
        let ops = ["Mul", "BipolarQuant", "MatMul", "Add", "BipolarQuant", "MatMul", "Mul", "TopK"];
        let mut errors = Vec::new();
        let layers = vec![Segment { anchor: 2, behind: Some(3..5) }, Segment { anchor: 5, behind: None }];
        let wanted = Segments { front: 0..2, layers, tail: 6..8 };
        assert_eq!(segment(&run(&ops), &mut errors), Some(wanted));
        assert!(errors.is_empty());
    }

    #[test]
    fn what_stands_in_the_way_is_named() {
        let mut errors = Vec::new();
        let ops = ["Softmax", "BipolarQuant", "MatMul", "TopK", "Softmax", "MatMul", "Softmax"];
        segment(&run(&ops), &mut errors);
        let places: Vec<&str> = errors.iter().filter_map(|e| e.at.as_deref()).collect();
        assert_eq!(places, ["node TopK_3", "node Softmax_4"]);
    }

    #[test]
    fn a_graph_without_products_is_no_network() {
        let mut errors = Vec::new();
        assert_eq!(segment(&run(&["Mul", "BipolarQuant"]), &mut errors), None);
        assert_eq!(errors.len(), 1);
    }
}

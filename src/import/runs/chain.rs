//! Pass: cuts the graph into chains of steps on one running tensor. A chain begins or ends where branches begin or join.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::diagnostic::{Diagnostic, Diagnostics, MODEL_INVALID, OPERATOR_UNSUPPORTED, Result};
use crate::frame::element::Element;
use crate::graph::op::product::transposed;
use crate::graph::step::{Operand, Step};
use crate::graph::tensor::Tensor;
use crate::import::simplify::folded::{Applied, Folded, Input};
use crate::import::simplify::validate::GraphInput;

/// A part of the graph without branches: steps on one running tensor.
#[derive(Debug, Default)]
pub struct Chain {
    /// Shape of the first step's input.
    pub input: Vec<usize>,
    /// Integer type of that input, if the file annotates it.
    pub annotation: Option<Element>,
    /// The steps, in order of application.
    pub steps: Vec<Step>,
}

impl Chain {
    /// Shape of the input of step `index`.
    pub fn shape_before(&self, index: usize) -> &[usize] {
        index.checked_sub(1).map_or(&self.input, |i| &self.steps[i].shape)
    }

    /// Shape of the last step's output.
    pub fn shape(&self) -> &[usize] {
        self.shape_before(self.steps.len())
    }
}

/// A chain and its place in the graph. It begins and ends at tensors with several readers, at joins, or at graph inputs and
/// outputs.
#[derive(Debug, Default)]
pub struct Run {
    /// The input tensors: the operands of `join`, or a single tensor.
    pub from: Vec<String>,
    /// Shapes of the input tensors.
    pub shapes: Vec<Vec<usize>>,
    /// The operator that joins the inputs, if there are several. The chain follows it.
    pub join: Option<Step>,
    /// The steps after the join.
    pub chain: Chain,
    /// The output tensor.
    pub to: String,
    /// The index of the graph input that the run begins with, if it does.
    pub input: Option<usize>,
    /// Whether that tensor is a graph output and nothing else. If it has other readers too, the output gets a run of its own.
    pub leaves: bool,
}

/// Cuts the graph into runs, in topological order. Each input of the graph has exactly one run that begins with it.
///
/// # Errors
/// If a join is not supported, a node has several outputs that are used, or a tensor does not depend on an input.
pub fn runs(folded: Folded) -> Result<Vec<Run>> {
    Diagnostics::collected(joins(&folded))?;
    let Folded { nodes, inputs, annotations, outputs, .. } = folded;
    let mut readers: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (n, applied) in nodes.iter().enumerate() {
        let names: BTreeSet<String> = tensors(applied).into_iter().collect();
        names.into_iter().for_each(|name| readers.entry(name).or_default().push(n));
    }
    let reads = |tensor: &str| readers.get(tensor).map_or(0, Vec::len);
    let made: Vec<usize> = nodes
        .iter()
        .map(|n| used(n, |name| reads(name) > 0 || outputs.iter().any(|o| o == name)))
        .collect::<Result<_>>()?;
    let join: Vec<bool> = nodes.iter().map(is_join).collect();
    let ends = |tensor: &String| match readers.get(tensor).map(Vec::as_slice) {
        Some([one]) => join[*one] || outputs.contains(tensor),
        _ => true,
    };
    let mut shapes = BTreeMap::new();
    let mut runs = Vec::new();
    for GraphInput { name, shape } in &inputs {
        shapes.insert(name.clone(), shape.clone());
        if ends(name) {
            // The input has several readers, or goes into a join, or is itself a graph output.
            let chain = Chain { input: shape.clone(), ..Chain::default() };
            let (from, to, leaves) = (vec![name.clone()], name.clone(), reads(name) == 0);
            runs.push(Run { from, chain, to, leaves, ..Run::default() });
        }
    }
    let mut left: Vec<Option<Applied>> = nodes.into_iter().map(Some).collect();
    for head in 0..left.len() {
        // In topological order, a node that is in no earlier run begins a new run.
        let Some(applied) = left[head].take() else { continue };
        let mut run = Run { from: tensors(&applied), ..Run::default() };
        let mut next = Some((head, applied));
        while let Some((n, applied)) = next {
            let (to, step) = step(applied, made[n]);
            shapes.insert(to.clone(), step.shape.clone());
            if join[n] {
                run.chain.input.clone_from(&step.shape);
                run.join = Some(step);
            } else {
                run.chain.steps.push(step);
            }
            let reader = readers.get(&to).map(|readers| readers[0]).filter(|_| !ends(&to));
            next = reader.and_then(|n| Some((n, left[n].take()?)));
            run.to = to;
        }
        for name in &run.from {
            run.shapes.push(shapes.get(name).ok_or_else(|| unreached(name))?.clone());
        }
        if run.join.is_none() {
            run.chain.input.clone_from(&run.shapes[0]);
        }
        run.leaves = outputs.contains(&run.to) && reads(&run.to) == 0;
        runs.push(run);
    }
    for name in outputs.iter().filter(|name| reads(name) > 0) {
        let chain =
            Chain { input: shapes.get(name).ok_or_else(|| unreached(name))?.clone(), ..Chain::default() };
        let (from, shapes) = (vec![name.clone()], vec![chain.input.clone()]);
        runs.push(Run { from, shapes, chain, to: name.clone(), leaves: true, ..Run::default() });
    }
    for (index, GraphInput { name, .. }) in inputs.iter().enumerate() {
        let Some(run) = runs.iter_mut().find(|run| run.join.is_none() && run.from[0] == *name) else {
            return Err(unreached(&outputs[0]).into());
        };
        run.input = Some(index);
        run.chain.annotation = annotations.get(name).copied();
    }
    Ok(runs)
}

fn unreached(tensor: &str) -> Diagnostic {
    Diagnostic::new(&MODEL_INVALID, format!("tensor {tensor} is not reached from the graph's input"))
}

/// The operands of a node that depend on the graph's input, in operand order.
fn tensors(applied: &Applied) -> Vec<String> {
    let tensor = |input: &Input| match input {
        Input::Tensor(name) => Some(name.clone()),
        Input::Constant(_) => None,
    };
    let all: Vec<String> = applied.inputs.iter().filter_map(tensor).collect();
    // The same tensor as several operands is no branch, except for Concat, whose output is larger.
    let same = applied.operator.name != "Concat" && all.iter().all(|name| *name == all[0]);
    if same { all.into_iter().take(1).collect() } else { all }
}

fn is_join(applied: &Applied) -> bool {
    tensors(applied).len() > 1
}

/// The index of the only output of a node that is used.
fn used(applied: &Applied, taken: impl Fn(&str) -> bool) -> Result<usize> {
    let all: Vec<usize> =
        (0..applied.node.outputs.len()).filter(|o| taken(&applied.node.outputs[*o])).collect();
    match all[..] {
        [] => Ok(0),
        [one] => Ok(one),
        _ => Err(Diagnostic::new(&OPERATOR_UNSUPPORTED, format!("{} of its outputs are taken", all.len()))
            .at(applied.node.to_string())
            .help("export a model that takes one of them")
            .into()),
    }
}

/// Errors of all joins. Sums, differences, products and concatenations are supported.
pub fn joins(folded: &Folded) -> Vec<Diagnostic> {
    folded.nodes.iter().filter_map(join).collect()
}

fn join(applied: &Applied) -> Option<Diagnostic> {
    if applied.has_running_parameters() {
        let message = "its parameters depend on the graph's input";
        return Some(
            Diagnostic::new(&OPERATOR_UNSUPPORTED, message)
                .at(applied.node.to_string())
                .help("give it constants: Min and Max take two tensors"),
        );
    }
    let all = tensors(applied);
    if all.len() < 2 {
        return None;
    }
    let known =
        ["Add", "Sub", "Mul", "Concat"].contains(&applied.operator.name) && all.len() == applied.inputs.len();
    (!known).then(|| {
        let names: BTreeSet<&str> = all.iter().map(String::as_str).collect();
        let first: Vec<&str> = names.iter().copied().take(4).collect();
        let message =
            format!("it joins {} branches that depend on the input: {}", names.len(), first.join(", "));
        Diagnostic::new(&OPERATOR_UNSUPPORTED, message)
            .at(applied.node.to_string())
            .help("branches may be added, subtracted, multiplied and concatenated")
    })
}

/// A matrix product with its constant as the right operand, without its surroundings: for graphs that could not be folded.
pub fn product(applied: &Applied) -> Option<Step> {
    let constant = |i: usize| match applied.inputs.get(i) {
        Some(Input::Constant(tensor)) => Some(tensor.clone()),
        _ => None,
    };
    let (weights, turned) = match applied.operator.name {
        "Gemm" => (constant(1)?, applied.node.attributes.int("transB", 0).ok()? != 0),
        "MatMul" => (constant(1)?, false),
        // [outputs, channels of a group, taps..]
        "Conv" => (constant(1)?, true),
        _ => return None,
    };
    let matrix = |t: &Tensor| {
        let outputs = t.shape.first().copied().filter(|_| t.rank() > 2 && !t.is_empty());
        let shape = outputs.map_or_else(|| t.shape.clone(), |n| vec![n, t.len() / n]);
        Tensor { shape, data: t.data.clone() }
    };
    let turn = |t: &Tensor| if turned { transposed(&matrix(t)) } else { Ok(t.clone()) };
    let codes = applied.codes.as_ref().map(|c| c.moved(turn)).transpose().ok()?.map(Arc::new);
    Some(Step {
        operator: applied.operator,
        place: applied.node.to_string(),
        node: applied.node.name.clone(),
        attributes: applied.node.attributes.clone(),
        operands: vec![Operand::Running, Operand::Constant(Arc::new(turn(&weights).ok()?))],
        output: 0,
        shape: Vec::new(),
        codes,
    })
}

/// The step of a node, and the name of its output number `output`.
fn step(mut applied: Applied, output: usize) -> (String, Step) {
    let operand = |input| match input {
        Input::Tensor(_) => Operand::Running,
        Input::Constant(tensor) => Operand::Constant(tensor),
    };
    let step = Step {
        operator: applied.operator,
        place: applied.node.to_string(),
        node: applied.node.name,
        attributes: applied.node.attributes,
        operands: applied.inputs.into_iter().map(operand).collect(),
        output,
        shape: applied.shapes.swap_remove(output),
        codes: applied.codes,
    };
    (applied.node.outputs.swap_remove(output), step)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::attributes::Attributes;
    use crate::graph::op;
    use crate::import::read::file::Node;

    fn applied(index: usize, inputs: &[&str], outputs: &[&str]) -> Applied {
        let operator = op::find("", if outputs.len() == 2 { "TopK" } else { "Add" }).unwrap();
        Applied {
            node: Node {
                index,
                op: operator.name.into(),
                domain: String::new(),
                name: format!("n{index}"),
                inputs: Vec::new(),
                outputs: outputs.iter().map(|s| (*s).to_owned()).collect(),
                attributes: Attributes::default(),
            },
            operator,
            inputs: inputs.iter().map(|s| Input::Tensor((*s).to_owned())).collect(),
            shapes: vec![vec![1]; outputs.len()],
            codes: None,
        }
    }

    fn folded(nodes: Vec<Applied>) -> Folded {
        Folded {
            nodes,
            inputs: vec![GraphInput { name: "x".into(), shape: vec![1, 4] }],
            outputs: vec!["y".into()],
            ..Folded::default()
        }
    }

    /// From what each run begins with to what it ends with; its nodes, a join first; whether it leaves.
    fn cut(folded: Folded) -> Vec<(String, String, bool)> {
        let told = |run: &Run| {
            let nodes: Vec<&str> = run.join.iter().chain(&run.chain.steps).map(|s| s.node.as_str()).collect();
            (format!("{} -> {}", run.from.join(" "), run.to), nodes.join(" "), run.leaves)
        };
        runs(folded).unwrap().iter().map(told).collect()
    }

    fn is(from: &str, nodes: &str, leaves: bool) -> (String, String, bool) {
        (from.to_owned(), nodes.to_owned(), leaves)
    }

    #[test]
    fn the_second_output_may_go_on() {
        let runs = runs(folded(vec![applied(0, &["x"], &["a"]), applied(1, &["a"], &["b", "y"])])).unwrap();
        let [Run { chain, leaves: true, .. }] = &runs[..] else { panic!("{runs:?}") };
        assert_eq!(
            chain.steps.iter().map(|s| (s.node.as_str(), s.output)).collect::<Vec<_>>(),
            [("n0", 0), ("n1", 1)]
        );
        assert_eq!((chain.shape_before(0), chain.shape_before(1)), (&[1, 4][..], &[1][..]));
    }

    #[test]
    fn one_tensor_read_twice_by_one_node_is_no_branch() {
        let runs = runs(folded(vec![applied(0, &["x", "x"], &["y"])])).unwrap();
        assert_eq!((runs.len(), runs[0].chain.steps[0].position()), (1, None));
    }

    #[test]
    fn branches_are_cut_where_they_begin_and_meet() {
        let nodes = vec![
            applied(0, &["x"], &["a"]),
            applied(1, &["a"], &["b"]),
            applied(2, &["b"], &["c"]),
            applied(3, &["c", "a"], &["d"]),
            applied(4, &["d"], &["y"]),
        ];
        let wanted = [is("x -> a", "n0", false), is("a -> c", "n1 n2", false), is("c a -> y", "n3 n4", true)];
        assert_eq!(cut(folded(nodes)), wanted);
        // The input in two branches; an output that goes on.
        let nodes =
            vec![applied(0, &["x"], &["a"]), applied(1, &["a", "x"], &["y"]), applied(2, &["y"], &["z"])];
        let mut two = folded(nodes);
        two.outputs.push("z".into());
        let wanted = [
            is("x -> x", "", false),
            is("x -> a", "n0", false),
            is("a x -> y", "n1", false),
            is("y -> z", "n2", true),
            is("y -> y", "", true),
        ];
        assert_eq!(cut(two), wanted);
    }

    #[test]
    fn every_input_has_a_run_of_its_own() {
        let nodes = vec![
            applied(0, &["x"], &["a"]),
            applied(1, &["z"], &["b"]),
            applied(2, &["a", "b"], &["c"]),
            applied(3, &["c", "v"], &["y"]),
        ];
        let mut three = folded(nodes);
        three.inputs.extend(["z", "v"].map(|name| GraphInput { name: name.into(), shape: vec![1, 4] }));
        three.annotations.insert("v".into(), Element::Unsigned(3));
        let runs = runs(three).unwrap();
        let told = |run: &Run| (run.from.join(" "), run.input, run.chain.annotation);
        let wanted = [
            ("v", Some(2), Some(Element::Unsigned(3))),
            ("x", Some(0), None),
            ("z", Some(1), None),
            ("a b", None, None),
            ("c v", None, None),
        ];
        let wanted = wanted.map(|(from, input, annotation)| (from.to_owned(), input, annotation));
        assert_eq!(runs.iter().map(told).collect::<Vec<_>>(), wanted);
    }

    #[test]
    fn what_cannot_be_joined_is_refused() {
        let mut product = applied(2, &["a", "b"], &["y"]);
        product.operator = op::find("", "Div").unwrap();
        let nodes = vec![applied(0, &["x"], &["a"]), applied(1, &["x"], &["b"]), product];
        let text = runs(folded(nodes)).unwrap_err().to_string();
        assert!(text.contains("n2") && text.contains("a, b"), "{text}");
        let nodes = vec![applied(0, &["x"], &["a", "b"]), applied(1, &["a", "b"], &["y"])];
        assert!(runs(folded(nodes)).unwrap_err().to_string().contains("2 of its outputs"));
    }

    #[test]
    fn the_input_may_be_the_output() {
        let mut none = folded(vec![]);
        none.outputs = vec!["x".into()];
        assert_eq!(cut(none), [is("x -> x", "", true)]);
    }
}

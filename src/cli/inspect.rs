//! `stoxnor inspect`.

use std::path::Path;
use std::process::ExitCode;

use serde::Serialize;

use crate::arith::matrix::WeightKind;
use crate::arith::sampling::Sampling;
use crate::cli::args::{Common, Model};
use crate::cli::project::Project;
use crate::cli::view;
use crate::diagnostic::Result;
use crate::engine::Figures;
use crate::frame::element::Element;
use crate::frame::port::Port;
use crate::import;
use crate::lower::Built;
use crate::unit::resources::Resources;

#[derive(Serialize)]
struct Layer<'a> {
    name: &'a str,
    kind: &'a str,
    origin: &'a str,
    pe: usize,
    simd: usize,
    cycles: u64,
    weights: Option<WeightKind>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sampling: Option<Sampling>,
    input: Element,
    output: &'a Port,
    #[serde(flatten)]
    resources: Resources,
}

#[derive(Serialize)]
struct Inspection<'a> {
    model: &'a str,
    input: &'a Port,
    layers: Vec<Layer<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ensemble: Option<Built>,
    #[serde(flatten)]
    figures: Figures,
}

pub fn run(arguments: &Model, common: &Common) -> Result<ExitCode> {
    let project = Project::load(&arguments.model, common).inspect_err(|_| {
        if !common.json {
            sketch(&arguments.model, common);
        }
    })?;
    let hardware = project.lower();
    let network = &project.network;
    let layers = network.nodes.iter().zip(&project.folds).enumerate().map(|(index, (node, fold))| Layer {
        name: &node.name,
        kind: node.layer.kind(),
        origin: &node.origin,
        pe: fold.pe,
        simd: fold.simd,
        cycles: node.layer.lanes().cycles(*fold),
        weights: node.layer.weights(),
        sampling: node.layer.sampling(),
        input: network.inputs(index)[0].element,
        output: &node.output,
        resources: node.layer.resources(&network.inputs(index), *fold),
    });
    let inspection = Inspection {
        model: &network.name,
        input: &network.input,
        layers: layers.collect(),
        ensemble: hardware.members,
        figures: Figures::of_schedule(&hardware, hardware.default_members()),
    };
    if common.json {
        view::json(&inspection);
        return Ok(ExitCode::SUCCESS);
    }
    view::line(&format!("{}: {}", network.name, view::count(network.nodes.len(), "layer")));
    view::line("");
    view::line(&format!("host before  {}", view::host(&network.front, "the model's input goes in as it is")));
    view::line(&format!("hardware in  {}", view::port(&network.input)));
    let head = [
        "layer",
        "from",
        "takes",
        "weights",
        "out",
        "gives",
        "PE",
        "SIMD",
        "cycles",
        "weight bits",
        "threshold bits",
        "buffer bits",
    ];
    let rows = inspection.layers.iter().map(|l| {
        vec![
            l.name.to_owned(),
            l.origin.to_owned(),
            l.input.to_string(),
            l.weights.map_or_else(String::new, |k| k.to_string()),
            format!("{:?}", l.output.shape),
            l.output.element.to_string(),
            l.pe.to_string(),
            l.simd.to_string(),
            l.cycles.to_string(),
            l.resources.weight_bits.to_string(),
            l.resources.threshold_bits.to_string(),
            l.resources.buffer_bits.to_string(),
        ]
    });
    view::table(&head, rows);
    for output in &network.outputs {
        let exit =
            network.exits.iter().find(|exit| exit.layer == output.layer).expect("every output has one");
        let of = if network.outputs.len() > 1 { format!(" (output {})", output.name) } else { String::new() };
        view::line(&format!("hardware out {}{of}", view::port(&exit.port)));
        let tail = view::host(&output.tail, "the integers are the model's output");
        view::line(&format!("host after   {tail}"));
    }
    if let Some(ensemble) = &network.ensemble {
        let rows = inspection.layers.iter().filter_map(|l| {
            let Sampling { rounding, realisation } = l.sampling?;
            Some(vec![
                l.name.to_owned(),
                rounding.law.to_string(),
                rounding.bits.to_string(),
                rounding.share.to_string(),
                rounding.seed.to_string(),
                format!("{realisation:?}").to_lowercase(),
            ])
        });
        view::line("");
        view::table(&["sampled", "law", "bits", "share", "seed", "realisation"], rows);
        view::line(&format!(
            "up to {} are built; from {} on a frame passes once for each, and their sums leave",
            view::count(ensemble.max_members as usize, "member"),
            network.nodes[ensemble.first].name
        ));
    }
    view::figures(inspection.figures, network, project.clock_mhz);
    Ok(ExitCode::SUCCESS)
}

/// How far a model got that cannot be built; the reasons are told as errors. Nothing where it is not the model's fault.
fn sketch(model: &Path, common: &Common) {
    let options = common.config().and_then(|(config, _)| config.import_options());
    let Some(survey) = options.and_then(|options| import::survey(model, &options)).ok() else { return };
    if survey.reasons.is_empty() || survey.input.is_none() {
        return;
    }
    let (operators, known) = survey.operators;
    view::line(&format!(
        "{}: cannot be compiled; {known} of {} understood, {} found",
        model.display(),
        view::count(operators, "operator"),
        view::count(survey.layers.len(), "matrix product")
    ));
    let known = |value: Option<String>| value.unwrap_or_else(|| "?".to_owned());
    let rows = survey.layers.iter().map(|l| {
        vec![
            l.origin.clone(),
            known(l.inputs.map(|n| n.to_string())),
            known(l.outputs.map(|n| n.to_string())),
            known(l.weights.map(|k| k.to_string())),
            known(l.input.map(|e| e.to_string())),
            known(l.output.map(|e| e.to_string())),
        ]
    });
    if !survey.layers.is_empty() {
        view::table(&["from", "inputs", "outputs", "weights", "takes", "gives"], rows);
    }
}

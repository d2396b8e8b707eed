//! `stoxnor inspect`.

use std::path::Path;
use std::process::ExitCode;

use serde::Serialize;
use stoxnor_sim::entry_name;

use crate::arith::sampling::Sampling;
use crate::cli::args::{Common, Inspect};
use crate::cli::view;
use crate::diagnostic::Result;
use crate::engine::Figures;
use crate::frame::port::Port;
use crate::import;
use crate::lower::Built;
use crate::model::LayerInfo;
use crate::synth::estimate::Estimate;
use crate::synth::fold::Found;
use crate::unit::folding::Comparing;

#[derive(Serialize)]
struct Inspection<'a> {
    model: &'a str,
    input: &'a Port,
    /// All inputs of the graph, where there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    inputs: Vec<Input<'a>>,
    layers: Vec<LayerInfo>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ensemble: Option<Built>,
    #[serde(flatten)]
    figures: Figures,
    #[serde(flatten)]
    estimate: Option<Estimate>,
    #[serde(skip_serializing_if = "Option::is_none")]
    folding: Option<Found>,
}

#[derive(Serialize)]
struct Input<'a> {
    name: &'a str,
    stream: String,
    #[serde(flatten)]
    port: &'a Port,
}

pub fn run(arguments: &Inspect, common: &Common) -> Result<ExitCode> {
    let file = &arguments.model.model;
    let (model, folding) = common.model_on(file, &arguments.target).inspect_err(|_| {
        if !common.json {
            sketch(file, common);
        }
    })?;
    let network = model.network();
    let inspection = Inspection {
        model: &network.name,
        input: &network.entries[0].port,
        inputs: network
            .entries
            .iter()
            .enumerate()
            .filter(|_| network.entries.len() > 1)
            .map(|(k, entry)| Input { name: &entry.name, stream: entry_name(k), port: &entry.port })
            .collect(),
        layers: model.layers(),
        ensemble: model.hardware().members,
        figures: model.figures(),
        estimate: arguments.target.part.map(|part| Estimate::new(network, model.hardware(), part)),
        folding,
    };
    if common.json {
        view::json(&inspection);
        return Ok(ExitCode::SUCCESS);
    }
    view::line(&format!("{}: {}", network.name, view::count(network.nodes.len(), "layer")));
    view::line("");
    for entry in &network.entries {
        let of = if network.entries.len() > 1 { format!(" (input {})", entry.name) } else { String::new() };
        let front = view::host(&entry.front, "the model's input goes in as it is");
        view::line(&format!("host before  {front}"));
        view::line(&format!("hardware in  {}{of}", view::port(&entry.port)));
    }
    let head = [
        "layer",
        "from",
        "takes",
        "weights",
        "out",
        "gives",
        "PE",
        "SIMD",
        "cuts",
        "form",
        "thresholds",
        "cycles",
        "weight bits",
        "threshold bits",
        "buffer bits",
    ];
    let rows = inspection.layers.iter().map(|l| {
        vec![
            l.name.clone(),
            l.origin.clone(),
            l.input.to_string(),
            l.weights.map_or_else(String::new, |k| k.to_string()),
            format!("{:?}", l.output.shape),
            l.output.element.to_string(),
            l.pe.to_string(),
            l.simd.to_string(),
            l.cuts.name().to_owned(),
            l.weights.map_or("", |_| l.form.name()).to_owned(),
            l.thresholds.map_or("", Comparing::name).to_owned(),
            l.cycles.to_string(),
            l.resources.weight_bits.to_string(),
            l.resources.threshold_bits.to_string(),
            l.resources.buffer_bits.to_string(),
        ]
    });
    view::table(&head, rows);
    for (layer, doubt) in inspection.layers.iter().filter_map(|l| Some((l, l.doubt.as_ref()?))) {
        view::line(&format!(
            "{}: another executor may compute the neighbouring level at {} of its {} possible sums, where the value of {} is within 2^-19 of a threshold",
            layer.name,
            doubt.sums,
            doubt.of,
            doubt.operators.join(", ")
        ));
    }
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
            let Sampling { rounding, realisation, .. } = l.sampling?;
            Some(vec![
                l.name.clone(),
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
            "the hardware supports up to {}; from {} on a frame passes once for each member, and the outputs are their sums",
            view::count(ensemble.max_members as usize, "member"),
            network.nodes[ensemble.first].name
        ));
    }
    view::figures(inspection.figures, network, model.clock_mhz());
    if let Some(estimate) = &inspection.estimate {
        view::estimate(estimate);
    }
    if let Some(folding) = &inspection.folding {
        view::folding(folding);
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints how far the import of a rejected model got; the reasons are reported as errors. Prints nothing if the model is not the
/// cause.
fn sketch(model: &Path, common: &Common) {
    let options = common.config().and_then(|config| config.import_options());
    let Some(survey) = options.and_then(|options| import::survey(model, &options)).ok() else { return };
    if survey.reasons.is_empty() || survey.inputs.is_empty() {
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

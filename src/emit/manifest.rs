//! The manifest: the data that a host program needs.

use std::collections::BTreeMap;

use serde::Serialize;
use stoxnor_hdl::{Module, Net};
use stoxnor_sim::{entry_name, exit_name};

use crate::arith::lfsr;
use crate::arith::matrix::WeightKind;
use crate::arith::sampling::Sampling;
use crate::data::hash::sha256;
use crate::data::scale::Scale;
use crate::engine::Figures;
use crate::frame::port::Port;
use crate::graph::step::HostGraph;
use crate::lower::{Built, Hardware};
use crate::network::{Entry, Network, Node, Output};
use crate::unit::folding::Folding;
use crate::unit::resources::Resources;

/// Version of the manifest format.
const MANIFEST_FORMAT: u32 = 1;

/// Name of the manifest, which marks a directory as written by stoxnor.
pub(crate) const MANIFEST: &str = "manifest.json";

pub(crate) const README: &str = "README.md";

/// The data that a host program needs.
#[derive(Debug, Serialize)]
pub(crate) struct Manifest<'a> {
    pub(crate) format: u32,
    pub(crate) stoxnor_version: &'static str,
    pub(crate) model: &'a str,
    pub(crate) model_sha256: &'a str,
    pub(crate) config_sha256: Option<&'a str>,
    pub(crate) top: &'a str,
    pub(crate) clock: &'static str,
    pub(crate) reset: &'static str,
    pub(crate) ports: Vec<ManifestPort<'a>>,
    /// The module with AXI4-Stream ports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) axis: Option<Axis>,
    pub(crate) input: Beats<'a>,
    /// All inputs of the graph, where there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) inputs: Vec<ManifestInput<'a>>,
    pub(crate) output: Beats<'a>,
    /// All outputs of the graph, if there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) outputs: Vec<ManifestOutput<'a>>,
    #[serde(flatten)]
    pub(crate) figures: Figures,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ensemble: Option<Built>,
    pub(crate) layers: Vec<ManifestLayer<'a>>,
    pub(crate) input_scale: Option<Scale>,
    pub(crate) host_before: &'a HostGraph,
    pub(crate) host_after: &'a HostGraph,
    pub(crate) files: BTreeMap<&'a str, String>,
}

#[derive(Debug, Serialize)]
pub(crate) struct ManifestPort<'a> {
    pub(crate) name: &'a str,
    pub(crate) direction: &'static str,
    pub(crate) bits: u32,
}

/// A module with AXI4-Stream ports.
#[derive(Debug, Serialize)]
pub(crate) struct Axis {
    pub(crate) top: String,
    pub(crate) clock: &'static str,
    pub(crate) reset: &'static str,
    pub(crate) streams: Vec<AxisStream>,
}

#[derive(Debug, Serialize)]
pub(crate) struct AxisStream {
    pub(crate) stream: String,
    pub(crate) bytes_per_element: u32,
    pub(crate) tdata_bits: u32,
    pub(crate) tuser_bits: u32,
}

/// A stream port of the hardware: the frame, and its division into beats.
#[derive(Debug, Serialize)]
pub(crate) struct Beats<'a> {
    #[serde(flatten)]
    pub(crate) frame: &'a Port,
    pub(crate) bits_per_element: u32,
    pub(crate) elements_per_beat: usize,
    pub(crate) beats_per_frame: usize,
}

/// One input of the graph: its stream, and the host's computation before it.
#[derive(Debug, Serialize)]
pub(crate) struct ManifestInput<'a> {
    pub(crate) name: &'a str,
    pub(crate) stream: String,
    #[serde(flatten)]
    pub(crate) beats: Beats<'a>,
    pub(crate) host_before: &'a HostGraph,
}

/// One output of the graph: its stream, and the host's computation on it.
#[derive(Debug, Serialize)]
pub(crate) struct ManifestOutput<'a> {
    pub(crate) name: &'a str,
    pub(crate) stream: String,
    #[serde(flatten)]
    pub(crate) beats: Beats<'a>,
    pub(crate) host_after: &'a HostGraph,
}

#[derive(Debug, Serialize)]
pub(crate) struct ManifestLayer<'a> {
    pub(crate) name: &'a str,
    pub(crate) kind: &'a str,
    pub(crate) origin: &'a str,
    #[serde(flatten)]
    pub(crate) fold: Folding,
    pub(crate) cycles: u64,
    pub(crate) weights: Option<WeightKind>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sampling: Option<Sampling>,
    /// Seeds of the members, hexadecimal.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) seeds: Vec<String>,
    pub(crate) output: &'a Port,
    pub(crate) resources: Resources,
}

impl<'a> Manifest<'a> {
    pub(crate) fn new(
        network: &'a Network,
        hardware: &'a Hardware,
        config_sha256: Option<&'a str>,
        input_scale: Option<Scale>,
        axis: Option<Axis>,
        files: &'a BTreeMap<String, String>,
    ) -> Self {
        let top = &hardware.design.top;
        let beats = |frame: &'a Port, lanes: usize| Beats {
            frame,
            bits_per_element: frame.element.bits(),
            elements_per_beat: lanes,
            beats_per_frame: frame.elements() / lanes,
        };
        let entry = |k: usize| beats(&network.entries[k].port, hardware.input_lanes(k));
        let input = |(k, input): (usize, &'a Entry)| ManifestInput {
            name: &input.name,
            stream: entry_name(k),
            beats: entry(k),
            host_before: &input.front,
        };
        let several_inputs = network.entries.len() > 1;
        let exit = |k: usize| {
            let boundary = &hardware.boundaries[hardware.design.exits[k]];
            beats(&network.exits[k].port, boundary.lanes)
        };
        let output = |output: &'a Output| {
            let k =
                network.exits.iter().position(|exit| exit.layer == output.layer).expect("it has its exit");
            ManifestOutput {
                name: &output.name,
                stream: exit_name(k),
                beats: exit(k),
                host_after: &output.tail,
            }
        };
        let several = network.outputs.len() > 1;
        Self {
            format: MANIFEST_FORMAT,
            stoxnor_version: env!("CARGO_PKG_VERSION"),
            model: &network.name,
            model_sha256: &network.sha256,
            config_sha256,
            top: &top.name,
            clock: "clk",
            reset: "rst",
            ports: ports(top),
            axis,
            input: entry(0),
            inputs: network.entries.iter().enumerate().filter(|_| several_inputs).map(input).collect(),
            output: exit(0),
            outputs: network.outputs.iter().filter(|_| several).map(output).collect(),
            figures: Figures::of_schedule(hardware, hardware.default_members()),
            ensemble: hardware.members,
            layers: network
                .nodes
                .iter()
                .zip(&hardware.folds)
                .enumerate()
                .map(|(index, (node, fold))| ManifestLayer {
                    name: &node.name,
                    kind: node.layer.kind(),
                    origin: &node.origin,
                    fold: *fold,
                    cycles: node.layer.lanes().cycles(*fold),
                    weights: node.layer.weights(),
                    sampling: node.layer.sampling(),
                    seeds: seeds(node),
                    output: &node.output,
                    resources: node.layer.resources(&network.inputs(index), *fold),
                })
                .collect(),
            input_scale,
            host_before: &network.entries[0].front,
            host_after: &network.outputs[0].tail,
            files: files.iter().map(|(name, text)| (name.as_str(), sha256(text.as_bytes()))).collect(),
        }
    }
}

/// The seeds of a layer's members.
fn seeds(node: &Node) -> Vec<String> {
    let Some(sampling) = node.layer.sampling() else { return Vec::new() };
    let seed = |m: usize| lfsr::seed(sampling.rounding.seed, sampling.layer, m as u64);
    (0..node.layer.members()).map(|m| format!("{:016x}", seed(m))).collect()
}

fn ports(top: &Module) -> Vec<ManifestPort<'_>> {
    let implicit = ["clk", "rst"].map(|name| ManifestPort { name, direction: "input", bits: 1 });
    let width = |net: Net| top.width(net);
    let own = top.ports.iter().map(|p| ManifestPort {
        name: &p.name,
        direction: if p.output { "output" } else { "input" },
        bits: width(p.net),
    });
    implicit.into_iter().chain(own).collect()
}

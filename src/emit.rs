//! The output directory of `compile`: written beside its place and renamed, so that it is never half there.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;
use sha2::{Digest, Sha256};
use stoxnor_hdl::{Module, Net, verilog};
use stoxnor_sim::exit_name;

use crate::arith::lfsr;
use crate::arith::matrix::WeightKind;
use crate::config::Scale;
use crate::diagnostic::{Diagnostic, OUTPUT_EXISTS, OUTPUT_UNWRITABLE, Result};
use crate::engine::Figures;
use crate::fold::Folding;
use crate::host::HostGraph;
use crate::layer::{Resources, Sampling};
use crate::lower::{Built, Hardware};
use crate::network::{Element, Network, Node, Output, Port};
use crate::testbench::{self, BenchFrames};

/// Version of the manifest's format.
const MANIFEST_FORMAT: u32 = 1;
/// The file that marks a directory as ours.
const MANIFEST: &str = "manifest.json";
const README: &str = "README.md";

/// All that a compilation gives: relative paths and contents, in the order of their names.
///
/// `frames` are those of the self-checking test bench. A pure function of its arguments: identical inputs give identical bytes.
pub fn files(
    network: &Network,
    hardware: &Hardware,
    config_sha256: Option<&str>,
    scale: Option<Scale>,
    frames: &BenchFrames,
) -> BTreeMap<String, String> {
    let mut files = testbench::files(network, hardware, frames);
    for file in verilog::files(&hardware.design.top, &header(network)) {
        files.insert(format!("rtl/{}", file.name), file.text);
    }
    for image in hardware.design.top.parameters.iter().filter_map(|p| p.image.as_ref()) {
        files.insert(format!("rtl/{}", image.file), image.text());
    }
    let manifest = Manifest::new(network, hardware, config_sha256, scale, &files);
    let json = serde_json::to_string_pretty(&manifest).expect("a manifest has only plain values");
    files.insert(README.to_owned(), readme(network, hardware, &manifest));
    files.insert(MANIFEST.to_owned(), json + "\n");
    files
}

/// Writes the files to a new directory, or in place of one that an earlier compilation wrote if `force` says so.
///
/// # Errors
/// Where the directory exists and may not be replaced, or cannot be written; then nothing has changed.
pub fn write(directory: &Path, files: &BTreeMap<String, String>, force: bool) -> Result<()> {
    let place = directory.display().to_string();
    let unwritable = |e: std::io::Error| {
        Diagnostic::new(&OUTPUT_UNWRITABLE, e.to_string())
            .at(&place)
            .help("choose a place where you may write")
    };
    let exists = fs::symlink_metadata(directory).is_ok();
    if exists && !force {
        return Err(Diagnostic::new(&OUTPUT_EXISTS, "it is there already")
            .at(&place)
            .help("choose another one, or replace it with --force")
            .into());
    }
    if exists {
        replaceable(directory).map_err(|reason| {
            Diagnostic::new(&OUTPUT_EXISTS, format!("it is there, and {reason}")).at(&place).help(
                "--force only replaces what compile wrote: move what is yours, or choose another directory",
            )
        })?;
    }
    let parent = match directory.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    if !parent.is_dir() {
        let what = if parent.exists() { "is not a directory" } else { "does not exist" };
        return Err(Diagnostic::new(&OUTPUT_UNWRITABLE, format!("its parent {} {what}", parent.display()))
            .at(&place)
            .help("make the parent directory first, or choose another one")
            .into());
    }
    let fresh = tempfile::Builder::new().prefix(".stoxnor-").tempdir_in(parent).map_err(unwritable)?;
    let content = fresh.path().join("new");
    for (name, text) in files {
        let path = content.join(name);
        fs::create_dir_all(path.parent().unwrap_or(&content)).map_err(unwritable)?;
        fs::write(&path, text).map_err(unwritable)?;
    }
    if exists {
        // The old directory goes with the temporary one, unless the new one cannot take its place.
        let old = fresh.path().join("old");
        fs::rename(directory, &old).map_err(unwritable)?;
        fs::rename(&content, directory).map_err(|e| {
            let _ = fs::rename(&old, directory);
            unwritable(e)
        })?;
    } else {
        fs::rename(&content, directory).map_err(unwritable)?;
    }
    Ok(())
}

/// Whether `--force` may replace it: a real directory that is empty, or holds nothing but what a compilation wrote and what
/// its test bench leaves; else the reason why not.
fn replaceable(directory: &Path) -> std::result::Result<(), String> {
    if !fs::symlink_metadata(directory).is_ok_and(|m| m.is_dir()) {
        return Err("is not a directory".to_owned());
    }
    if fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_none()) {
        return Ok(());
    }
    let no_manifest = || format!("is no directory that compile wrote: it has no {MANIFEST} of stoxnor");
    let text = fs::read_to_string(directory.join(MANIFEST)).map_err(|_| no_manifest())?;
    let manifest: serde_json::Value = serde_json::from_str(&text).map_err(|_| no_manifest())?;
    let (Some(_), Some(files)) = (manifest.get("stoxnor_version"), manifest["files"].as_object()) else {
        return Err(no_manifest());
    };
    let ours = |name: &str| {
        [MANIFEST, README].contains(&name)
            || files.contains_key(name)
            || LEFT_BY_BENCH.iter().any(|left| name.starts_with(left))
    };
    let mut foreign = Vec::new();
    foreign_files(directory, "", &ours, &mut foreign);
    match foreign.first() {
        None => Ok(()),
        Some(first) => {
            Err(format!("holds {} that compile did not write, {first} for one", count(foreign.len(), "file")))
        }
    }
}

/// What running the test bench leaves behind.
const LEFT_BY_BENCH: &[&str] = &["tb/build/", "tb/bench.vvp", "tb/icarus.log", "tb/verilator.log"];

fn foreign_files(directory: &Path, below: &str, ours: &dyn Fn(&str) -> bool, out: &mut Vec<String>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let name = format!("{below}{}", entry.file_name().to_string_lossy());
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            foreign_files(&entry.path(), &format!("{name}/"), ours, out);
        } else if !ours(&name) {
            out.push(name);
        }
    }
}

/// SHA-256 in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn header(network: &Network) -> Vec<String> {
    vec![
        "SPDX-License-Identifier: LicenseRef-stoxnor-output".to_owned(),
        "This file belongs to whoever generated it: see the output exception in stoxnor's licence."
            .to_owned(),
        format!(
            "Generated by stoxnor {} from the model {}. Do not edit.",
            env!("CARGO_PKG_VERSION"),
            network.name
        ),
        format!("SHA-256 of the model: {}", network.sha256),
        String::new(),
    ]
}

/// What a host program needs to know.
#[derive(Debug, Serialize)]
struct Manifest<'a> {
    format: u32,
    stoxnor_version: &'static str,
    model: &'a str,
    model_sha256: &'a str,
    config_sha256: Option<&'a str>,
    top: &'a str,
    clock: &'static str,
    reset: &'static str,
    ports: Vec<ManifestPort<'a>>,
    input: Beats<'a>,
    output: Beats<'a>,
    /// All outputs of the graph, where there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    outputs: Vec<ManifestOutput<'a>>,
    #[serde(flatten)]
    figures: Figures,
    #[serde(skip_serializing_if = "Option::is_none")]
    ensemble: Option<Built>,
    layers: Vec<ManifestLayer<'a>>,
    input_scale: Option<Scale>,
    host_before: &'a HostGraph,
    host_after: &'a HostGraph,
    files: BTreeMap<&'a str, String>,
}

#[derive(Debug, Serialize)]
struct ManifestPort<'a> {
    name: &'a str,
    direction: &'static str,
    bits: u32,
}

/// One end of the hardware: the frame, and how it is cut into beats.
#[derive(Debug, Serialize)]
struct Beats<'a> {
    #[serde(flatten)]
    frame: &'a Port,
    bits_per_element: u32,
    elements_per_beat: usize,
    beats_per_frame: usize,
}

/// One output of the graph: the stream that it comes by, and what the host makes of it.
#[derive(Debug, Serialize)]
struct ManifestOutput<'a> {
    name: &'a str,
    stream: String,
    #[serde(flatten)]
    beats: Beats<'a>,
    host_after: &'a HostGraph,
}

#[derive(Debug, Serialize)]
struct ManifestLayer<'a> {
    name: &'a str,
    kind: &'a str,
    origin: &'a str,
    #[serde(flatten)]
    fold: Folding,
    cycles: u64,
    weights: Option<WeightKind>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sampling: Option<Sampling>,
    /// Seeds of the members, hexadecimal.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    seeds: Vec<String>,
    output: &'a Port,
    resources: Resources,
}

impl<'a> Manifest<'a> {
    fn new(
        network: &'a Network,
        hardware: &'a Hardware,
        config_sha256: Option<&'a str>,
        input_scale: Option<Scale>,
        files: &'a BTreeMap<String, String>,
    ) -> Self {
        let top = &hardware.design.top;
        let beats = |frame: &'a Port, lanes: usize| Beats {
            frame,
            bits_per_element: frame.element.bits(),
            elements_per_beat: lanes,
            beats_per_frame: frame.elements() / lanes,
        };
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
            input: beats(&network.input, hardware.input_lanes()),
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
                    seeds: seeds(index, node),
                    output: &node.output,
                    resources: node.layer.resources(&network.inputs(index), *fold),
                })
                .collect(),
            input_scale,
            host_before: &network.front,
            host_after: &network.outputs[0].tail,
            files: files.iter().map(|(name, text)| (name.as_str(), sha256(text.as_bytes()))).collect(),
        }
    }
}

/// The seeds of a layer's members.
fn seeds(index: usize, node: &Node) -> Vec<String> {
    let Some(sampling) = node.layer.sampling() else { return Vec::new() };
    let seed = |m: usize| lfsr::seed(sampling.rounding.seed, index as u64 + 1, m as u64);
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

fn readme(network: &Network, hardware: &Hardware, manifest: &Manifest<'_>) -> String {
    let top = manifest.top;
    let mut text = format!(
        "# {top}\n\nGenerated by stoxnor {} from the model {}. The files belong to you.\n\n\
         Add every file of `rtl/` to your project; `{top}` is the top module. Memory images (`.mem`) are read by \
         `$readmemh` relative to where the tool runs; a parameter of the top names each of them, if they lie elsewhere.\n\n\
         ## Ports\n\nOne clock, synchronous active-high reset. A beat passes at a rising edge where valid and ready \
         are 1; `last` marks the final beat of a frame. Element 0 of a beat sits in the least significant bits.\n\n\
         | port | direction | bits |\n|---|---|---|\n",
        manifest.stoxnor_version, network.name
    );
    for port in &manifest.ports {
        let _ = writeln!(text, "| `{}` | {} | {} |", port.name, port.direction, port.bits);
    }
    let outputs =
        manifest.outputs.iter().map(|o| (format!("Output {}, stream `{}_*`", o.name, o.stream), &o.beats));
    let one =
        std::iter::once(("Output".to_owned(), &manifest.output)).filter(|_| manifest.outputs.is_empty());
    for (what, beats) in std::iter::once(("Input".to_owned(), &manifest.input)).chain(one).chain(outputs) {
        let _ = write!(
            text,
            "\n{what}: a frame of shape {:?}, {}, in {} of {}.\n",
            beats.frame.shape,
            match beats.frame.element {
                Element::Bipolar => "one bit an element (1 is +1, 0 is -1)".to_owned(),
                Element::Unsigned(bits) => format!("{bits} bits an element (unsigned)"),
                Element::Signed(bits) => format!("{bits} bits an element (two's complement)"),
            },
            count(beats.beats_per_frame, "beat"),
            count(beats.elements_per_beat, "element")
        );
    }
    if let Some(Built { members, max_members }) = manifest.ensemble {
        let _ = write!(
            text,
            "\n## Ensemble\n\nUp to {max_members} networks are sampled from one set of weights; a frame's output is the sum of their \
             integers."
        );
        if max_members > 1 {
            let _ = write!(
                text,
                " `s_user` is the number of members of a frame, 1 to {max_members} (0 or more is taken for {max_members}), \
                 read with the frame's first beat: it may change from frame to frame. The timing below is that of {members}."
            );
        }
        text.push_str(" The host divides the sums by the number of members.\n");
    }
    let Figures { latency, interval } = manifest.figures;
    let _ = write!(
        text,
        "\n## Timing\n\n{latency} cycles from a frame's first input beat to its last output beat, a frame every {interval} \
         cycles, where neither side waits.\n\n| layer | cycles a frame | PE | SIMD |\n|---|---|---|---|\n"
    );
    for layer in &manifest.layers {
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {} |",
            layer.name, layer.cycles, layer.fold.pe, layer.fold.simd
        );
    }
    let mut connections: Vec<String> = Vec::new();
    for port in &manifest.ports {
        connections.push(format!("  .{}()", port.name));
    }
    let parameters: Vec<String> = hardware
        .design
        .top
        .parameters
        .iter()
        .filter_map(|p| Some(format!("  .{}(\"{}\")", p.name, p.image.as_ref()?.file)))
        .collect();
    let _ = write!(
        text,
        "\n## Instance template\n\n```verilog\n{top} #(\n{}\n) u_{top} (\n{}\n);\n```\n\n\
         ## Test bench\n\n`make icarus` and `make verilator` in `tb/` run a self-checking test bench: it compares every beat of every \
         layer boundary with the integer reference and stops at the first difference. `STALL=1` makes source and sink stall.\n\n\
         What a host computes before and after the hardware stands in `manifest.json`.\n",
        parameters.join(",\n"),
        connections.join(",\n")
    );
    text
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// Where a compilation's files go, for a message to the user.
pub fn summary(directory: &Path, files: &BTreeMap<String, String>) -> String {
    let count = |ending: &str| files.keys().filter(|n| n.starts_with("rtl/") && n.ends_with(ending)).count();
    let path: PathBuf = directory.join("rtl");
    format!("{} Verilog files and {} memory images in {}", count(".v"), count(".mem"), path.display())
}

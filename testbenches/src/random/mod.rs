//! Random networks: every legal graph of every layer kind may be drawn, run on all engines, and where one fails made smaller.
//!
//! A graph is a plain description, a [`Recipe`], so that one that failed can be kept as a file and read back. Layers take their shapes from
//! what feeds them: a recipe stays legal where something in front of a layer becomes smaller.

pub mod build;
pub mod draw;
pub mod fuzz;
pub mod onnx;
pub mod run;
pub mod shrink;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use stoxnor::arith::kernel::Fill;
use stoxnor::arith::sampling::Realisation;
use stoxnor::arith::stochastic::Law;
use stoxnor::frame::element::Element;
use stoxnor::layer::KINDS;
use stoxnor::lower::plan::Part;
use stoxnor::network::Source;
use stoxnor::unit::folding::Folding;

/// A network, how it is folded, and what it is run with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// The seed that it was drawn from, for those who read it.
    pub seed: u64,
    /// Shape of the frames that come in, channels last.
    pub shape: Vec<usize>,
    /// Their elements.
    pub element: Element,
    /// Shapes and elements of further inputs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub more: Vec<(Vec<usize>, Element)>,
    /// The layers, in topological order.
    pub layers: Vec<LayerRecipe>,
    /// The layers that leave.
    pub exits: Vec<usize>,
    /// Members that are built, where something differs between members.
    pub members: usize,
    /// Members of each frame, from the start again where there are more frames.
    pub of_frames: Vec<u32>,
    /// Frames.
    pub frames: usize,
    /// Seed of the stall patterns of a second run; there is none without it.
    pub stall: Option<u64>,
}

/// A layer of a recipe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerRecipe {
    /// Where its inputs come from.
    pub inputs: Vec<Feed>,
    /// What its first input's frames are taken for, where that is another shape than they have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub view: Option<Vec<usize>>,
    /// Its folding: the largest legal lanes that are not more than these.
    pub fold: Folding,
    /// What it is.
    pub make: Make,
}

/// Where an input comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Feed {
    /// The network's first input.
    Input,
    /// A further input.
    More(usize),
    /// The layer with this index.
    Layer(usize),
}

impl Feed {
    /// The index among all inputs of the recipe, if it is one.
    pub fn entry(self) -> Option<usize> {
        match self {
            Self::Input => Some(0),
            Self::More(index) => Some(1 + index),
            Self::Layer(_) => None,
        }
    }

    /// The same for a network with these inputs of the recipe.
    pub fn source(self, entries: &[usize]) -> Source {
        match self {
            Self::Layer(index) => Source::Layer(index),
            input => Source::Input(entries.iter().position(|e| Some(*e) == input.entry()).unwrap_or(0)),
        }
    }
}

/// What a layer is: a variant for each kind. Shapes and channels come from the inputs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
#[expect(missing_docs, reason = "the fields are named as the arguments of the layers' constructors")]
pub enum Make {
    Dense {
        rows: usize,
        weights: Weights,
        activation: Option<Staircase>,
    },
    Conv {
        kernel: Geometry,
        groups: usize,
        fill: Fill,
        rows: usize,
        weights: Weights,
        activation: Option<Staircase>,
    },
    MaxPool {
        kernel: Geometry,
        falls: Option<u64>,
    },
    AvgPool {
        kernel: Geometry,
        activation: Option<Staircase>,
    },
    GlobalPool {
        activation: Option<Staircase>,
    },
    Threshold {
        activation: Staircase,
    },
    Upsample {
        factor: [usize; 2],
    },
    /// `places`: the first row and column, the step, and the number of them. `channels`: of the input, or none, and the constant.
    Select {
        places: [(i64, usize, usize); 2],
        channels: Vec<(Option<usize>, i32)>,
    },
    Transpose {
        axes: Vec<usize>,
    },
    Scale {
        most: i32,
        bias: i32,
        seed: u64,
    },
    TopK {
        k: usize,
    },
    Add {
        factors: Vec<i32>,
        activation: Option<Staircase>,
    },
    Mul {
        activation: Option<Staircase>,
    },
    Concat,
}

/// A kernel: a window without its image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the fields of a window")]
pub struct Geometry {
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    pub dilation: [usize; 2],
    pub before: [usize; 2],
    pub after: [usize; 2],
}

/// Weights, drawn from a seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
#[expect(missing_docs, reason = "the fields are those of a rounding")]
pub enum Weights {
    Binary { seed: u64 },
    Ternary { seed: u64 },
    Few { bits: u32, seed: u64 },
    Stochastic { law: Law, bits: u32, share: usize, realisation: Realisation, seed: u64 },
}

/// Activations, drawn from a seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Staircase {
    /// What leaves.
    pub element: Element,
    /// Thresholds of a row, at most; bipolar elements have one.
    pub steps: usize,
    /// Whether some rows fall.
    pub falls: bool,
    /// Whether every member has its own.
    pub own: bool,
    /// The seed.
    pub seed: u64,
}

impl Make {
    /// The kind's name.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Dense { .. } => "dense",
            Self::Conv { .. } => "conv",
            Self::MaxPool { .. } => "maxpool",
            Self::AvgPool { .. } => "avgpool",
            Self::GlobalPool { .. } => "globalpool",
            Self::Threshold { .. } => "threshold",
            Self::Upsample { .. } => "upsample",
            Self::Select { .. } => "select",
            Self::Transpose { .. } => "transpose",
            Self::Scale { .. } => "scale",
            Self::TopK { .. } => "topk",
            Self::Add { .. } => "add",
            Self::Mul { .. } => "mul",
            Self::Concat => "concat",
        }
    }

    /// Its weights.
    pub fn weights(&self) -> Option<&Weights> {
        match self {
            Self::Dense { weights, .. } | Self::Conv { weights, .. } => Some(weights),
            _ => None,
        }
    }

    /// Its activation.
    pub fn activation(&self) -> Option<&Staircase> {
        match self {
            Self::Dense { activation, .. }
            | Self::Conv { activation, .. }
            | Self::AvgPool { activation, .. }
            | Self::GlobalPool { activation }
            | Self::Mul { activation }
            | Self::Add { activation, .. } => activation.as_ref(),
            Self::Threshold { activation } => Some(activation),
            _ => None,
        }
    }

    /// Its kernel.
    pub fn kernel(&self) -> Option<&Geometry> {
        match self {
            Self::Conv { kernel, .. } | Self::MaxPool { kernel, .. } | Self::AvgPool { kernel, .. } => {
                Some(kernel)
            }
            _ => None,
        }
    }
}

impl Recipe {
    /// Whether anything differs between members.
    pub fn is_ensemble(&self) -> bool {
        self.members > 1 && self.layers.iter().any(|layer| layer.differs())
    }

    /// Recipes as JSON, one layer a line.
    ///
    /// # Panics
    /// Never: there is nothing in a recipe that JSON does not have.
    pub fn json(&self) -> String {
        let value = |v: &dyn erased::Value| v.json();
        let layers: Vec<String> = self.layers.iter().map(|layer| format!("    {}", value(layer))).collect();
        let Self { seed, shape, element, more, exits, members, of_frames, frames, stall, .. } = self;
        let mut fields = vec![
            ("seed", value(seed)),
            ("shape", value(shape)),
            ("element", value(element)),
            ("layers", format!("[\n{}\n  ]", layers.join(",\n"))),
            ("exits", value(exits)),
            ("members", value(members)),
            ("of_frames", value(of_frames)),
            ("frames", value(frames)),
            ("stall", value(stall)),
        ];
        if !more.is_empty() {
            fields.insert(3, ("more", value(more)));
        }
        let fields: Vec<String> =
            fields.iter().map(|(name, value)| format!("  \"{name}\": {value}")).collect();
        format!("{{\n{}\n}}\n", fields.join(",\n"))
    }

    /// Reads a recipe.
    ///
    /// # Errors
    /// Where the text is none.
    pub fn of_json(text: &str) -> Result<Self, String> {
        serde_json::from_str(text).map_err(|e| e.to_string())
    }
}

/// What any part of a recipe can do.
mod erased {
    /// A value that JSON has.
    pub trait Value {
        /// It on one line.
        fn json(&self) -> String;
    }

    impl<T: serde::Serialize> Value for T {
        fn json(&self) -> String {
            serde_json::to_string(self).expect("plain data")
        }
    }
}

impl LayerRecipe {
    /// Whether it differs between members, where there are several.
    pub fn differs(&self) -> bool {
        matches!(self.make.weights(), Some(Weights::Stochastic { .. }))
            || self.make.activation().is_some_and(|a| a.own)
    }
}

/// The folder of kept cases.
pub fn cases() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("cases/random")
}

/// Every kept case: its name and the recipe.
///
/// # Panics
/// Where a file cannot be read, or is no recipe.
pub fn kept() -> Vec<(String, Recipe)> {
    let entries = fs::read_dir(cases()).expect("the folder of kept cases");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|e| e == "json"));
    paths.sort();
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let recipe = Recipe::of_json(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        (path.file_stem().unwrap_or_default().to_string_lossy().into_owned(), recipe)
    };
    paths.into_iter().map(read).collect()
}

/// What is counted of random networks; every one has to occur.
pub fn features() -> Vec<String> {
    let mut all: Vec<String> = KINDS.iter().map(|kind| kind.name.to_owned()).collect();
    let more = [
        "weights binary",
        "weights ternary",
        "weights few-bit",
        "weights stochastic binary",
        "weights stochastic ternary",
        "realisation fly",
        "realisation sampled",
        "realisation stored",
        "conv grouped",
        "conv depthwise",
        "conv strided",
        "conv dilated",
        "conv padded by value",
        "conv padded by mask",
        "conv of one dimension",
        "input bipolar",
        "input unsigned",
        "input signed",
        "activation falls",
        "activation of each member",
        "fork",
        "input forked",
        "several inputs",
        "several inputs of an ensemble",
        "several exits",
        "ensemble",
        "ensemble with a layer in front",
        "FIFO of depth > 0",
        "one stream twice into a layer",
        "stalls",
    ];
    all.extend(more.map(str::to_owned));
    all
}

/// How often what occurred.
#[derive(Debug, Clone, Default)]
pub struct Counts(pub BTreeMap<String, usize>);

impl Counts {
    /// Counts the features of a network.
    pub fn add(&mut self, features: &BTreeSet<String>) {
        features.iter().for_each(|f| *self.0.entry(f.clone()).or_default() += 1);
    }

    /// The features of which there are none.
    pub fn missing(&self) -> Vec<String> {
        features().into_iter().filter(|f| !self.0.contains_key(f)).collect()
    }

    /// One line for each feature.
    pub fn table(&self) -> String {
        let line = |f: &String| format!("{:6}  {f}\n", self.0.get(f).copied().unwrap_or(0));
        features().iter().map(line).collect()
    }
}

/// The features of a recipe and its hardware.
pub fn features_of(recipe: &Recipe, plan: &stoxnor::lower::plan::Plan) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut has = |name: &str, when: bool| {
        if when {
            found.insert(name.to_owned());
        }
    };
    for LayerRecipe { inputs, make, .. } in &recipe.layers {
        has(make.kind(), true);
        has(
            "one stream twice into a layer",
            inputs.iter().enumerate().any(|(i, from)| inputs[..i].contains(from)),
        );
        match make.weights() {
            Some(Weights::Binary { .. }) => has("weights binary", true),
            Some(Weights::Ternary { .. }) => has("weights ternary", true),
            Some(Weights::Few { .. }) => has("weights few-bit", true),
            Some(Weights::Stochastic { law, realisation, .. }) => {
                has(&format!("weights stochastic {law}"), true);
                has(&format!("realisation {realisation:?}").to_lowercase(), true);
            }
            None => {}
        }
        if let Some(a) = make.activation() {
            has("activation falls", a.falls);
            has("activation of each member", a.own && recipe.members > 1);
        }
        if let Make::Conv { kernel, groups, fill, weights: _, .. } = make {
            let pads = kernel.before != [0; 2] || kernel.after != [0; 2];
            has("conv grouped", *groups > 1);
            has("conv strided", kernel.stride != [1; 2]);
            has("conv dilated", kernel.dilation != [1; 2]);
            has("conv padded by value", pads && matches!(fill, Fill::Value(_)));
            has("conv padded by mask", pads && *fill == Fill::Mask);
            has("conv of one dimension", kernel.kernel[0] == 1 && kernel.kernel[1] > 1);
        }
    }
    has("input bipolar", recipe.element == Element::Bipolar);
    has("input unsigned", matches!(recipe.element, Element::Unsigned(_)));
    has("input signed", matches!(recipe.element, Element::Signed(_)));
    has("several inputs", plan.entries > 1);
    has("several inputs of an ensemble", plan.entries > 1 && recipe.is_ensemble());
    has("several exits", recipe.exits.len() > 1);
    has("stalls", recipe.stall.is_some());
    has("ensemble", recipe.is_ensemble());
    has("ensemble with a layer in front", recipe.is_ensemble() && !recipe.layers[0].differs());
    let parts = || plan.stages.iter().map(|stage| (&stage.part, &stage.name));
    has("fork", parts().any(|(part, _)| matches!(part, Part::Fork)));
    has("input forked", parts().any(|(part, name)| matches!(part, Part::Fork) && name.starts_with("input")));
    has("FIFO of depth > 0", parts().any(|(part, _)| matches!(part, Part::Fifo(depth) if *depth > 0)));
    // A group for each channel: only the built network knows the channels.
    has("conv depthwise", build::depthwise(recipe));
    found
}

//! The configuration file, which command-line options override.

use std::collections::BTreeMap;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Deserializer};
use stoxnor_hdl::block::Cells;
use toml::de::{DeTable, DeValue};

use crate::arith::sampling::Realisation;
use crate::arith::stochastic::{Law, MAX_BITS};
use crate::data::hash::sha256;
use crate::data::scale::Scale;
use crate::diagnostic::{
    CONFIG_UNKNOWN_KEY, CONFIG_UNREADABLE, CONFIG_VALUE, Diagnostic, Diagnostics, Result,
};
use crate::import;
use crate::import::options::{LayerSampling, MAX_MEMBERS, SamplingOptions};
use crate::network::{Network, Node};
use crate::unit::family::{Family, Paths};
use crate::unit::folding::{Comparing, Counting, Cuts, Folding};

/// A configuration, in the structure of its TOML file.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Config {
    /// `[target]`: the target rate of the default folding.
    pub target: Target,
    /// `[layers.NAME]`: settings of one layer.
    pub layers: BTreeMap<String, LayerConfig>,
    /// `[input]`: the processing of input arrays.
    pub input: InputConfig,
    /// `[ensemble]`: the members that are sampled from stochastic weights.
    pub ensemble: EnsembleConfig,
    /// Name of the core; the model's file name without it.
    #[serde(skip)]
    pub name: Option<String>,
    /// Where the contents of memories are.
    #[serde(skip)]
    pub memories: Memories,
    /// SHA-256 of the loaded file, in hexadecimal; `None` if it was not loaded from a file.
    #[serde(skip)]
    pub sha256: Option<String>,
}

/// Where the contents of memories are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Memories {
    /// In files beside the Verilog, which `$readmemh` reads.
    #[default]
    Files,
    /// In the Verilog itself.
    Inline,
}

impl FromStr for Memories {
    type Err = String;

    fn from_str(s: &str) -> std::result::Result<Self, String> {
        match s {
            "files" => Ok(Self::Files),
            "inline" => Ok(Self::Inline),
            other => Err(format!("memories are files or inline, not {other}")),
        }
    }
}

/// Settings of the ensemble that is sampled from stochastic weights.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct EnsembleConfig {
    /// Members per frame.
    pub members: Option<i64>,
    /// The number of members that the hardware supports.
    pub max_members: Option<i64>,
    /// The user's seed, from which the members' seeds are derived.
    pub seed: Option<u64>,
}

/// The sampling of a layer's weights.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct WeightsConfig {
    /// The sampling law; it marks the weights as stochastic.
    pub stochastic: Option<Law>,
    /// Random bits per weight.
    pub bits: Option<i64>,
    /// Number of neighbouring rows that share random bits.
    pub share: Option<i64>,
    /// How the hardware realises the members.
    pub realisation: Option<Realisation>,
}

/// The target rate of the default folding: `cycles`, or clock divided by frame rate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Target {
    /// Clock in MHz.
    pub clock_mhz: Option<f64>,
    /// Frames per second.
    pub frames_per_second: Option<f64>,
    /// Cycles per frame.
    pub cycles: Option<u64>,
    /// The FPGA family.
    pub family: Option<Family>,
}

/// Settings of one layer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct LayerConfig {
    /// Processing elements: rows that are computed in parallel.
    pub pe: Option<usize>,
    /// Lanes per processing element: inputs that are consumed in parallel.
    pub simd: Option<usize>,
    /// Pipeline registers.
    pub cuts: Option<Cuts>,
    /// How agreements with stored binary weights are counted.
    pub form: Option<Counting>,
    /// How sums are compared with thresholds.
    pub thresholds: Option<Comparing>,
    /// The sampling of the weights.
    pub weights: WeightsConfig,
}

/// The processing of input arrays.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct InputConfig {
    /// Factor for every input value: a number or `"p/q"`.
    #[serde(deserialize_with = "number_or_text")]
    pub scale: Option<String>,
    /// Where the graph's input quantiser is computed: `host` or `hardware`.
    pub quantise: Option<String>,
    /// Total bits of the fixed-point type of a real-valued input that the graph does not quantise.
    pub bits: Option<i64>,
    /// Number of fraction bits of that type.
    pub fraction_bits: Option<i64>,
}

/// Help text with an example value of each key.
const TYPES: &str = "for example: [target] clock_mhz = 100.0, frames_per_second = 20000.0, cycles = 1024, family = \"ecp5\"; \
    [layers.l1_dense] pe = 2, simd = 16, cuts = \"counts\", form = \"parity\", thresholds = \"search\", weights = { stochastic = \"ternary\", bits = 1 }; [input] scale = \"1/255\", quantise = \"hardware\"; \
    [ensemble] members = 8";

/// A message of the TOML parser with Rust's type names replaced.
fn plain(message: &str) -> String {
    let words =
        [("u64", "a whole number"), ("usize", "a whole number"), ("f64", "a number"), ("a string", "text")];
    words.iter().fold(message.to_owned(), |m, (rust, word)| {
        m.replace(&format!("expected {rust}"), &format!("expected {word}"))
    })
}

/// Accepts a number without quotation marks, or text.
fn number_or_text<'de, D: Deserializer<'de>>(of: D) -> std::result::Result<Option<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected a number or a text such as \"1/255\"")]
    enum Either {
        Number(f64),
        Text(String),
    }
    Ok(Some(match Either::deserialize(of)? {
        Either::Number(number) => number.to_string(),
        Either::Text(text) => text,
    }))
}

/// All keys by table; `*` stands for any layer.
pub const KEYS: &[(&str, &[&str])] = &[
    ("", &["target", "layers", "input", "ensemble"]),
    ("target", &["clock_mhz", "frames_per_second", "cycles", "family"]),
    ("layers.*", &["pe", "simd", "cuts", "form", "thresholds", "weights"]),
    ("layers.*.weights", &["stochastic", "bits", "share", "realisation"]),
    ("ensemble", &["members", "max_members", "seed"]),
    ("input", &["scale", "quantise", "bits", "fraction_bits"]),
];

/// Maximum size of a configuration file in bytes.
const MAX_BYTES: u64 = 1 << 20;

impl Config {
    /// Loads a configuration file.
    ///
    /// # Errors
    /// If it cannot be read, is not TOML, or has an unknown key or a value of the wrong type.
    pub fn load(path: &Path) -> Result<Self> {
        let place = path.display().to_string();
        let unreadable = |reason: String| {
            Diagnostic::new(&CONFIG_UNREADABLE, reason)
                .at(&place)
                .help("check the path: it is a text file of a few lines")
        };
        let meta = std::fs::metadata(path).map_err(|e| unreadable(e.to_string()))?;
        if !meta.is_file() || meta.len() > MAX_BYTES {
            return Err(unreadable(format!("it is no regular file of at most {MAX_BYTES} bytes")).into());
        }
        let text = std::fs::read_to_string(path).map_err(|e| unreadable(e.to_string()))?;
        let sha256 = Some(sha256(text.as_bytes()));
        Ok(Self { sha256, ..Self::parse(&text, &place)? })
    }

    /// Parses a configuration; `place` names it in diagnostics.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn parse(text: &str, place: &str) -> Result<Self> {
        let line = |at: usize| text[..at].matches('\n').count() + 1;
        let unreadable = |e: toml::de::Error| {
            let place = e.span().map_or(place.to_owned(), |s| format!("{place}:{}", line(s.start)));
            Diagnostic::new(&CONFIG_UNREADABLE, plain(e.message())).at(place).help(TYPES)
        };
        let table = DeTable::parse(text).map_err(unreadable)?;
        let mut unknown = Vec::new();
        unknown_keys(table.get_ref(), "", &mut |table, key, at, known| {
            let name = if table.is_empty() { key.to_owned() } else { format!("{table}.{key}") };
            unknown.push(
                Diagnostic::new(&CONFIG_UNKNOWN_KEY, format!("there is no key {name}"))
                    .at(format!("{place}:{}", line(at)))
                    .help(nearest(key, known)),
            );
        });
        Diagnostics::collected(unknown)?;
        toml::from_str(text).map_err(|e| unreadable(e).into())
    }

    /// The import options: the fixed-point type of the input, and the sampling of weights.
    ///
    /// # Errors
    /// If only one of `bits` and `fraction_bits` is given, or a number is out of range.
    pub fn import_options(&self) -> Result<import::options::Options> {
        let value = |message: String, help: &str| Diagnostic::new(&CONFIG_VALUE, message).help(help);
        let input = match (self.input.bits, self.input.fraction_bits) {
            (None, None) => None,
            (Some(bits), Some(fraction)) => {
                let mut errors = Vec::new();
                if !(1..=16).contains(&bits) {
                    errors.push(value(format!("input.bits is {bits}"), "give 1 to 16"));
                }
                if !(-32..=32).contains(&fraction) {
                    let help = "give -32 to 32; the last bit stands for 2^-fraction_bits";
                    errors.push(value(format!("input.fraction_bits is {fraction}"), help));
                }
                Diagnostics::collected(errors)?;
                Some(import::options::FixedPoint { bits: bits as u32, fraction_bits: fraction as i32 })
            }
            (bits, _) => {
                let (there, missing) =
                    if bits.is_some() { ("bits", "fraction_bits") } else { ("fraction_bits", "bits") };
                let message = format!("input.{there} is given without input.{missing}");
                return Err(value(message, "give both, for example bits = 16 and fraction_bits = 10").into());
            }
        };
        let on_chip = match self.input.quantise.as_deref() {
            None | Some("host") => None,
            Some("hardware") => {
                let scale = self.input.scale.as_deref().map(Scale::parse).transpose()?;
                Some(import::options::OnChip { scale: scale.map(|s| (s.p, s.q)) })
            }
            Some(other) => {
                let message = format!("input.quantise is \"{other}\"");
                return Err(value(message, "give \"host\" or \"hardware\"").at("input.quantise").into());
            }
        };
        Ok(import::options::Options { input, on_chip, sampling: self.sampling()?, keep_signs: false })
    }

    /// The settings for stochastic weights and their members.
    fn sampling(&self) -> Result<SamplingOptions> {
        let mut errors = Vec::new();
        let mut within = |key: String, value: Option<i64>, most: i64| -> Option<i64> {
            let value = value?;
            if !(1..=most).contains(&value) {
                errors.push(
                    Diagnostic::new(&CONFIG_VALUE, format!("{key} is {value}"))
                        .at(key)
                        .help(format!("give 1 to {most}")),
                );
            }
            Some(value)
        };
        let most = MAX_MEMBERS.into();
        let members = within("ensemble.members".to_owned(), self.ensemble.members, most);
        let max_members = within("ensemble.max_members".to_owned(), self.ensemble.max_members, most);
        let mut layers = BTreeMap::new();
        for (name, layer) in &self.layers {
            let WeightsConfig { stochastic, bits, share, realisation } = layer.weights;
            let bits = within(format!("layers.{name}.weights.bits"), bits, MAX_BITS.into());
            let share = within(format!("layers.{name}.weights.share"), share, 1 << 24);
            let sampling = LayerSampling {
                law: stochastic,
                bits: bits.map(|b| b as u32),
                share: share.map(|s| s as usize),
                realisation,
            };
            layers.insert(name.clone(), sampling);
        }
        Diagnostics::collected(errors)?;
        let count = |members: Option<i64>| members.map(|m| m as u32);
        Ok(SamplingOptions {
            layers,
            seed: self.ensemble.seed,
            members: count(members),
            max_members: count(max_members),
        })
    }

    /// The target of the default folding in cycles per frame.
    ///
    /// # Errors
    /// If a frame rate is given without a clock, or a number is not positive.
    pub fn target_cycles(&self, default: u64) -> Result<u64> {
        let Target { clock_mhz, frames_per_second, cycles, .. } = self.target;
        if let Some(fps) = frames_per_second {
            let Some(clock) = clock_mhz else {
                return Err(Diagnostic::new(
                    &CONFIG_VALUE,
                    "a frame rate is given, and no clock to reach it with",
                )
                .at("target.frames_per_second")
                .help("give the clock too: --clock-mhz, or clock_mhz in [target]")
                .into());
            };
            let (fps, clock) = (positive("frames_per_second", fps)?, positive("clock_mhz", clock)?);
            if fps > clock * 1e6 {
                let message = format!("{fps} frames per second, and a clock of {clock} MHz has fewer cycles");
                return Err(Diagnostic::new(&CONFIG_VALUE, message)
                    .at("target.frames_per_second")
                    .help("a frame takes a cycle or more: ask for fewer frames, or for a higher clock")
                    .into());
            }
            return Ok((clock * 1e6 / fps) as u64);
        }
        match cycles {
            Some(0) => Err(Diagnostic::new(&CONFIG_VALUE, "cycles is 0")
                .at("target.cycles")
                .help("give 1 or more")
                .into()),
            Some(cycles) => Ok(cycles),
            None => Ok(default),
        }
    }

    /// The pipeline registers of a layer: those that the clock, if there is one, needs in the family, unless the configuration says
    /// others.
    fn cuts(&self, network: &Network, index: usize, fold: Folding) -> Result<Cuts> {
        let node = &network.nodes[index];
        if let Some(cuts) = self.layers.get(&node.name).and_then(|layer| layer.cuts) {
            return Ok(cuts);
        }
        let Some(clock) = self.target.clock_mhz else { return Ok(Cuts::Fewest) };
        let clock = positive("clock_mhz", clock)?;
        let weights = node.layer.weights();
        let inputs = network.inputs(index);
        let pairs = weights.map_or(1, |kind| kind.planes() * inputs[0].element.planes().len());
        let thresholds = node.layer.lanes().thresholds;
        let (carry, search) = (fold.form.cells() != Cells::Portable, fold.thresholds == Comparing::Search);
        let paths = Paths { lanes: weights.map(|_| fold.simd), carry, pairs, thresholds, search };
        Ok(self.target.family.unwrap_or_default().cuts(clock, paths))
    }

    /// The form of a layer's matrix unit: the family's cells where it has a form of them, running parities where they can be, each
    /// where it pays, unless the configuration says otherwise.
    fn form(&self, node: &Node, fold: Folding) -> Result<Counting> {
        let can = node.layer.lanes().parity && fold.simd > 1;
        let cells = self.target.family.and_then(Family::form);
        let is = |form: Counting| move |own: (Counting, usize)| own.0 == form;
        let multiplies = node.layer.weights().is_some();
        let refuse = |message: &str, help: &str| {
            let place = format!("layers.{}.form", node.name);
            Err(Diagnostic::new(&CONFIG_VALUE, message).at(place).help(help).into())
        };
        match self.layers.get(&node.name).and_then(|layer| layer.form) {
            Some(Counting::Parity) if !can => refuse(
                "running parities count stored binary weights on two lanes or more, without zero padding",
                "leave it out, or give \"classical\"",
            ),
            Some(form) if form.cells() != Cells::Portable && !cells.is_some_and(is(form)) => {
                let family = Family::ALL.into_iter().find(|family| family.form().is_some_and(is(form)));
                let family = family.map_or("", Family::name);
                refuse(
                    &format!("the form \"{}\" is made of cells of the family {family}", form.name()),
                    &format!("leave it out, or give [target] family = \"{family}\""),
                )
            }
            Some(form) if form.cells() != Cells::Portable && !multiplies => {
                refuse("a family's cells count the lanes of a layer with weights", "leave it out")
            }
            Some(form) => Ok(form),
            None => Ok(match cells {
                Some((form, least)) if multiplies && fold.simd >= least => form,
                _ if can && fold.pe >= PARITY_PE && fold.simd >= PARITY_SIMD => Counting::Parity,
                _ => Counting::Classical,
            }),
        }
    }

    /// How a layer's sums are compared with its thresholds: in what is smaller, unless the configuration says otherwise.
    fn thresholds(&self, node: &Node) -> Result<Comparing> {
        let count = node.layer.lanes().thresholds;
        match self.layers.get(&node.name).and_then(|layer| layer.thresholds) {
            Some(Comparing::Search) if count < 2 => {
                let found = match count {
                    0 => "there are no thresholds to search",
                    _ => "a single threshold a row needs no search",
                };
                let place = format!("layers.{}.thresholds", node.name);
                Err(Diagnostic::new(&CONFIG_VALUE, found).at(place).help("leave it out").into())
            }
            Some(comparing) => Ok(comparing),
            None => Ok(Comparing::smaller(count)),
        }
    }

    /// The folding of every layer.
    ///
    /// # Errors
    /// If a configured layer does not exist, a PE or SIMD is not legal for its layer, or the clock is no positive number.
    pub fn foldings(&self, network: &Network) -> Result<Vec<Folding>> {
        let names: Vec<&str> = network.nodes.iter().map(|n| n.name.as_str()).collect();
        let mut errors = Vec::new();
        for name in self.layers.keys().filter(|n| !names.contains(&n.as_str())) {
            errors.push(
                Diagnostic::new(&CONFIG_UNKNOWN_KEY, format!("there is no layer {name}"))
                    .at(format!("layers.{name}"))
                    .help(nearest(name, &names)),
            );
        }
        let images = network.nodes.iter().any(|n| n.layer.lanes().pixels > 1);
        let cycles = self.target_cycles(if images { IMAGE_CYCLES } else { DENSE_CYCLES })?;
        let mut folds = Vec::new();
        for (index, node) in network.nodes.iter().enumerate() {
            let LayerConfig { pe, simd, .. } = self.layers.get(&node.name).copied().unwrap_or_default();
            match node.layer.lanes().folding(&node.name, pe, simd, cycles) {
                Ok(fold) => folds.push(self.completed(network, index, fold)?),
                Err(found) => errors.extend(found),
            }
        }
        Diagnostics::collected(errors)?;
        Ok(folds)
    }

    /// The folding of the layer with this index, with the form, comparisons, memories and registers that the configuration asks for.
    ///
    /// # Errors
    /// If they are not possible.
    pub fn completed(&self, network: &Network, index: usize, fold: Folding) -> Result<Folding> {
        let node = &network.nodes[index];
        let (form, thresholds) = (self.form(node, fold)?, self.thresholds(node)?);
        let fold = Folding { form, thresholds, roms: self.target.family.unwrap_or_default().roms(), ..fold };
        Ok(Folding { cuts: self.cuts(network, index, fold)?, ..fold })
    }
}

/// The fewest processing elements for which sharing the parities of the activations is taken to pay.
const PARITY_PE: usize = 4;

/// The fewest lanes for which halving the bits of a popcount is taken to pay.
const PARITY_SIMD: usize = 16;

/// A number of `[target]` that must be positive.
fn positive(name: &str, value: f64) -> Result<f64> {
    if value.is_finite() && value > 0.0 {
        return Ok(value);
    }
    let message = format!("{name} is {value}");
    Err(Diagnostic::new(&CONFIG_VALUE, message)
        .at(format!("target.{name}"))
        .help("give a number above 0")
        .into())
}

/// Default target of a network of dense layers, in cycles per frame.
const DENSE_CYCLES: u64 = 1024;

/// Default target of a network with image layers, in cycles per frame.
const IMAGE_CYCLES: u64 = 32_768;

/// Calls `report(table, key, offset, known keys)` for every unknown key.
fn unknown_keys(table: &DeTable<'_>, path: &str, report: &mut impl FnMut(&str, &str, usize, &[&str])) {
    // Names of layers are free; the keys below them are fixed.
    let pattern = match path.strip_prefix("layers.") {
        Some(below) if below.contains('.') => "layers.*.weights",
        Some(_) => "layers.*",
        None => path,
    };
    let known = KEYS.iter().find(|(p, _)| *p == pattern).map(|(_, keys)| *keys);
    for (key, value) in table {
        let name: &str = key.get_ref();
        if let Some(known) = known.filter(|known| !known.contains(&name)) {
            report(path, name, key.span().start, known);
        } else if let DeValue::Table(inner) = value.get_ref() {
            let path = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
            unknown_keys(inner, &path, report);
        }
    }
}

/// Help text that suggests the most similar key.
fn nearest(key: &str, known: &[&str]) -> String {
    let best =
        known.iter().max_by(|a, b| strsim::jaro_winkler(key, a).total_cmp(&strsim::jaro_winkler(key, b)));
    match best {
        Some(best) => format!("did you mean {best}? There are: {}", known.join(", ")),
        None => "remove it".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(text: &str) -> Vec<String> {
        let found = Config::parse(text, "stoxnor.toml").unwrap_err();
        found
            .list()
            .iter()
            .map(|d| format!("{} [{}] {}", d, d.code.word, d.help.as_deref().unwrap_or("")))
            .collect()
    }

    #[test]
    fn unknown_keys_are_errors_that_name_the_nearest() {
        let found = codes("[target]\ncycles = 5\n[layers.l1_dense]\nsmid = 4\n");
        assert_eq!(
            found,
            [
                "stoxnor.toml:4: there is no key layers.l1_dense.smid [config-unknown-key] did you mean simd? There are: pe, simd, cuts, form, thresholds, weights"
            ]
        );
        assert!(codes("[traget]\n")[0].contains("did you mean target?"));
    }

    #[test]
    fn wrong_types_and_broken_files_name_the_line() {
        let found = codes("\n[layers.x]\npe = \"four\"\n").remove(0);
        assert!(
            found.starts_with("stoxnor.toml:3: invalid type") && found.contains("expected a whole number"),
            "{found}"
        );
        assert!(codes("[target\n")[0].contains("config-unreadable"));
    }

    #[test]
    fn a_rate_needs_a_clock() {
        let config = |text: &str| Config::parse(text, "c").unwrap().target_cycles(1024);
        assert_eq!(config("[target]\nframes_per_second = 100000\nclock_mhz = 100").unwrap(), 1000);
        assert_eq!(config("[target]\ncycles = 7").unwrap(), 7);
        assert_eq!(config("").unwrap(), 1024);
        assert!(config("[target]\nframes_per_second = 5").is_err());
        assert!(config("[target]\nframes_per_second = -5.0\nclock_mhz = 100").is_err());
    }

    #[test]
    fn the_type_of_a_real_input_is_stated_whole_and_in_range() {
        let options = |text: &str| Config::parse(text, "c").unwrap().import_options();
        let stated = import::options::FixedPoint { bits: 12, fraction_bits: -2 };
        assert_eq!(options("[input]\nbits = 12\nfraction_bits = -2").unwrap().input, Some(stated));
        assert_eq!(options("").unwrap().input, None);
        for (text, word) in [
            ("bits = 17\nfraction_bits = 2", "input.bits is 17"),
            ("bits = 0\nfraction_bits = 40", "input.fraction_bits is 40"),
            ("bits = 8", "without input.fraction_bits"),
            ("fraction_bits = 8", "without input.bits"),
        ] {
            let found = options(&format!("[input]\n{text}")).unwrap_err().to_string();
            assert!(found.contains("[config-value]") && found.contains(word), "{found}");
        }
        assert!(codes("[input]\nfractionbits = 8\n")[0].contains("did you mean fraction_bits?"));
    }

    #[test]
    fn the_input_is_quantised_by_the_host_or_in_hardware() {
        let options = |text: &str| Config::parse(text, "c").unwrap().import_options();
        let on_chip = |text: &str| options(&format!("[input]\n{text}")).unwrap().on_chip;
        assert_eq!((on_chip(""), on_chip("quantise = \"host\"")), (None, None));
        assert_eq!(on_chip("quantise = \"hardware\"").unwrap().scale, None);
        let scaled = on_chip("quantise = \"hardware\"\nscale = \"1/255\"");
        assert_eq!(scaled.unwrap().scale, Some((1.0, 255.0)));
        let found = options("[input]\nquantise = \"fpga\"").unwrap_err().to_string();
        assert!(found.contains("[config-value]") && found.contains("fpga"), "{found}");
    }

    #[test]
    fn scales_multiply_then_divide() {
        assert_eq!(Scale::parse("1/255").unwrap().apply(200.0), 200.0f32 / 255.0);
        assert_eq!(Scale::parse("0.5").unwrap().apply(3.0), 1.5);
        for bad in ["", "1/0", "x", "1/2/3", "inf"] {
            assert!(Scale::parse(bad).is_err(), "{bad}");
        }
    }
}

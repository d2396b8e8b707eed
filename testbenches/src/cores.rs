//! Designs that are measured: single units, networks of users, and samples of every kind of layer.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use rand::RngExt as _;
use stoxnor::Diagnostics;
use stoxnor::area::{Area, Cells};
use stoxnor::arith::activation::Activation;
use stoxnor::arith::kernel::{Fill, Sliding};
use stoxnor::arith::matrix::IntMatrix;
use stoxnor::arith::product::Product;
use stoxnor::arith::sampling::Realisation;
use stoxnor::arith::stochastic::{Law, Rounding, StochasticMatrix};
use stoxnor::arith::window::Window;
use stoxnor::config::{Config, LayerConfig};
use stoxnor::frame::element::Element;
use stoxnor::frame::port::Port;
use stoxnor::import;
use stoxnor::layer::KINDS;
use stoxnor::layer::conv::Conv;
use stoxnor::layer::dense::{Dense, Stochastic};
use stoxnor::lower::{Hardware, lower};
use stoxnor::network::Network;
use stoxnor::synth::Synthesis;
use stoxnor::synth::part::Part;
use stoxnor::unit::family::Family;

use crate::conformance::{random, single};
use crate::data::data_dir;

/// One dense layer of 64 rows and fan-in 768, bipolar.
fn unit() -> Network {
    let mut rng = random(1);
    let weights = IntMatrix::from_fn(64, 768, |_, _| if rng.random() { 1 } else { -1 });
    let thresholds: Vec<i32> = (0..64).map(|_| rng.random_range(-40..=40)).collect();
    let layer = Dense::new(weights, Some(Activation::bipolar(thresholds)));
    single(vec![Port { shape: vec![768], element: Element::Bipolar }], Arc::new(layer))
}

/// One dense layer of 256 rows and fan-in 256, bipolar, with ternary weights sampled on the fly by one random bit each, 16 members.
fn fly() -> Network {
    let mut rng = random(1);
    let rounding = Rounding { law: Law::Ternary, bits: 1, share: 64, seed: 1 };
    let matrix = StochasticMatrix::from_fn(rounding, 1, (256, 256), |_, _| rng.random_range(-1.2..=1.2));
    let weights = Stochastic { matrix, realisation: Realisation::Fly, members: 16 };
    let thresholds: Vec<i32> = (0..256).map(|_| rng.random_range(-16..=16)).collect();
    let layer = Dense::stochastic(weights, vec![Activation::bipolar(thresholds)]);
    single(vec![Port { shape: vec![256], element: Element::Bipolar }], Arc::new(layer))
}

/// One convolution of 64 rows, 3 x 3 taps and 64 bipolar channels over 10 x 10 pixels, padded with zeros, binary weights.
fn padded() -> Network {
    let mut rng = random(1);
    let window = Window { before: [1, 1], after: [1, 1], ..Window::plain([10, 10], [3, 3]) };
    let kernel = Sliding { window, channels: 64, groups: 1, fill: Fill::Mask };
    let weights = IntMatrix::from_fn(64, kernel.fan_in(), |_, _| if rng.random() { 1 } else { -1 });
    let thresholds: Vec<i32> = (0..64).map(|_| rng.random_range(-40..=40)).collect();
    let layer = Conv::new(kernel, Product::new(weights, vec![Activation::bipolar(thresholds)]));
    single(vec![Port { shape: vec![10, 10, 64], element: Element::Bipolar }], Arc::new(layer))
}

/// A network, and its layers' foldings where they are not the default.
pub type Core = (Network, BTreeMap<String, LayerConfig>);

/// A core by its name: `unit`, `fly`, `padded`, `tfc`, `mnist`, `gtsrb`, `dense`, `cnv`, or a folder of `cases/`. `None` where its file is not there.
///
/// # Errors
/// If its file cannot be read.
pub fn core(name: &str) -> Result<Option<Core>, Diagnostics> {
    let layer = match name {
        "unit" => Some((unit(), 64)),
        "fly" => Some((fly(), 32)),
        "padded" => Some((padded(), 64)),
        _ => None,
    };
    if let Some((network, simd)) = layer {
        let fold = LayerConfig { pe: Some(8), simd: Some(simd), ..LayerConfig::default() };
        let layers = [(network.nodes[0].name.clone(), fold)].into();
        return Ok(Some((network, layers)));
    }
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models");
    let file = match name {
        "mnist" => Some(models.join("mnist_784_256_256_10.onnx")),
        "gtsrb" => Some(models.join("gtsrb_conv.onnx")),
        "dense" => Some(models.join("dense_784_64_64_64_10.onnx")),
        "tfc" => data_dir().map(|data| data.join("qonnx-zoo/TFC_1W1A.onnx")),
        "cnv" => data_dir().map(|data| data.join("bnn-pynq/cnv_w1a1_cifar10.onnx")),
        case => data_dir().map(|data| data.join("cases").join(case).join("model.onnx")),
    };
    let network = file.map(|file| import::load(&file)).transpose()?;
    Ok(network.map(|network| (network, BTreeMap::new())))
}

/// A core by its name, or a sample of a kind of layer: `dense#0`.
///
/// # Errors
/// If its file cannot be read.
///
/// # Panics
/// If there is no such sample.
pub fn design(name: &str) -> Result<Option<Core>, Diagnostics> {
    let Some((kind, index)) = name.split_once('#') else { return core(name) };
    let kind = KINDS.iter().find(|other| other.name == kind).expect("a kind of layer");
    let (ports, layer) = (kind.samples)().swap_remove(index.parse().expect("a number"));
    Ok(Some((single(ports, layer), BTreeMap::new())))
}

/// The design with its default folding for a part, at the part's clock.
///
/// # Errors
/// If its file cannot be read, or its folding is impossible.
pub fn on_part(name: &str, part: &Part) -> Result<Option<(Network, Hardware)>, Diagnostics> {
    of_family(name, part, part.family)
}

/// The design with its default folding for a part, at the part's clock, in the cells of the part's family or in none of their own.
///
/// # Errors
/// As [`on_part`], or if the part is of another family.
pub fn of_family(
    name: &str,
    part: &Part,
    family: Family,
) -> Result<Option<(Network, Hardware)>, Diagnostics> {
    let Some((network, layers)) = design(name)? else { return Ok(None) };
    let mut config = Config { layers, ..Config::default() };
    config.target.family = Some(family);
    part.complete(&mut config)?;
    let mut hardware = lower(&network, &config.foldings(&network)?);
    hardware.design.top = family.placed(&hardware.design.top);
    Ok(Some((network, hardware)))
}

/// The estimate of the cells of a design on a part.
///
/// # Errors
/// As [`on_part`].
pub fn estimate(name: &str, part: &Part) -> Result<Option<Cells>, Diagnostics> {
    Ok(on_part(name, part)?.map(|(_, hardware)| Area::estimate(&hardware.design.top, &[], part.family).cells))
}

/// The clock that was reached, in MHz, or why there is none.
pub fn reached(found: &Synthesis) -> String {
    match found.fmax_mhz {
        Some(clock) => format!("{clock:.0}"),
        None if found.fits => "not routed".to_owned(),
        None => "does not fit".to_owned(),
    }
}

//! Models of every operator and form against an executor that shares no code with the importer: `make.py` in `cases/onnx`,
//! `cases/qcdq` and `cases/images` made them, and stored what qonnx and onnxruntime compute.

use std::path::PathBuf;

use serde_json::Value;
use stoxnor::engine;
use stoxnor::engine::Engine;
use stoxnor::import;
use stoxnor::import::options::{FixedPoint, Options};
use stoxnor::lower::lower;
use stoxnor::network::Network;
use stoxnor_testbenches::conformance::{compared, default_folds};
use stoxnor_testbenches::data::read_npy;

fn cases(folder: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("cases").join(folder)
}

fn directory() -> PathBuf {
    cases("onnx")
}

fn equal(kind: &str, found: &[f32], wanted: &[f64]) -> bool {
    // Where a bias cancels a sum, the executor's own roundings are as large as the rest.
    let largest = wanted.iter().fold(0f64, |m, w| m.max(w.abs()));
    let close = |(f, w): (&f32, &f64)| match kind {
        "exact" => f64::from(*f) == *w,
        _ => (f64::from(*f) - w).abs() <= 1e-5 * w.abs().max(0.1 * largest),
    };
    found.len() == wanted.len() && found.iter().zip(wanted).all(close)
}

/// Reference and fast on all frames, rtl on some, Icarus on one.
fn engines_agree(name: &str, network: &Network, frames: &[Vec<i32>]) {
    let hardware = lower(network, &default_folds(network, 60));
    for (engines, count) in [
        (&[Engine::Reference, Engine::Fast][..], frames.len()),
        (&[Engine::Reference, Engine::Rtl], 4),
        (&[Engine::Rtl, Engine::Icarus], 1),
    ] {
        let frames = &frames[..count.min(frames.len())];
        let report = compared(network, &hardware, frames, engines, &engine::Conditions::default());
        assert!(report.equal, "{name}: {:?}", report.first_difference);
    }
}

#[test]
fn every_case_equals_the_executor() {
    assert!(equal_executor("onnx", 40) > 4_000);
}

#[test]
fn every_case_of_onnx_s_own_quantisers_equals_onnxruntime() {
    assert!(equal_executor("qcdq", 5) > 700);
}

#[test]
fn convolutional_networks_equal_onnxruntime() {
    assert!(equal_executor("images", 14) > 150);
}

/// Runs the cases of a folder, `least` or more, and gives how many outputs were compared.
fn equal_executor(folder: &str, least: usize) -> usize {
    let text = std::fs::read_to_string(cases(folder).join("cases.json")).unwrap();
    let cases: Vec<Value> = serde_json::from_str(&text).unwrap();
    assert!(cases.len() >= least, "{}", cases.len());
    let mut wrong = Vec::new();
    let mut outputs = 0;
    for case in &cases {
        let name = case["name"].as_str().unwrap();
        let kind = case["kind"].as_str().unwrap();
        let fixed = case["bits"].as_u64().map(|bits| FixedPoint {
            bits: bits as u32,
            fraction_bits: case["fraction_bits"].as_i64().unwrap() as i32,
        });
        let at = self::cases(folder).join(name);
        let network = match import::load_with(
            &at.join("model.onnx"),
            &Options { input: fixed, ..Options::default() },
        ) {
            Ok(network) => network,
            Err(found) => {
                wrong.push(format!("{name} is refused: {found}"));
                continue;
            }
        };
        let (x, y) = (read_npy(&at.join("x.npy")).unwrap(), read_npy(&at.join("y.npy")).unwrap());
        let frames: Vec<Vec<i32>> = x
            .rows()
            .map(|row| network.quantise(&row.iter().map(|v| *v as f32).collect::<Vec<_>>()).unwrap())
            .collect();
        let fast = engine::sums(&network, &frames);
        assert_eq!(frames.len(), y.shape[0]);
        engines_agree(name, &network, &frames);
        for (i, (sums, wanted)) in fast.iter().zip(y.rows()).enumerate() {
            let sums: Vec<i64> = sums.iter().map(|s| i64::from(*s)).collect();
            let found = network.finish(&sums, 1).unwrap();
            if !equal(kind, &found, wanted) {
                wrong.push(format!("{name}, frame {i}: {found:?} where the executor gives {wanted:?}"));
                break;
            }
            outputs += wanted.len();
        }
    }
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    outputs
}

#[test]
fn types_are_those_of_the_graph() {
    let layers = |name: &str, options: &Options| -> Vec<String> {
        let network = import::load_with(&directory().join(name).join("model.onnx"), options).unwrap();
        let layers = network.nodes.iter().map(|n| {
            let text = format!("{:?}", n.layer);
            let kind = text.split("kind: ").nth(1).unwrap().split(',').next().unwrap().to_owned();
            format!("{kind} {}", n.output.element)
        });
        std::iter::once(network.entries[0].port.element.to_string()).chain(layers).collect()
    };
    let none = Options::default();
    // Narrow weights of 2 bits are ternary, and so are narrow activations of 2 bits.
    assert_eq!(layers("tfc_2w2a", &none)[..2], ["int2", "Ternary int2"]);
    let xnor = layers("xnor_popcount", &none);
    assert_eq!(xnor[..3], ["bipolar", "Binary bipolar", "Binary bipolar"]);
    let stated = Options { input: Some(FixedPoint { bits: 16, fraction_bits: 10 }), ..Options::default() };
    assert_eq!(layers("jet_tagger", &stated)[..2], ["int16", "Signed(6) uint6"]);
    assert_eq!(layers("eight_bits_top_k", &none)[..2], ["bipolar", "Signed(8) int8"]);
    assert_eq!(layers("annotated_integers", &none)[..2], ["uint4", "Signed(3) uint2"]);
}

#[test]
fn a_real_input_is_refused_with_advice() {
    let found = import::load(&directory().join("jet_tagger/model.onnx")).unwrap_err();
    let only = &found.list()[0];
    assert_eq!((found.list().len(), only.code.word), (1, "input-not-quantised"));
    assert!(only.message.contains("16 real numbers"), "{only}");
    assert!(only.help.as_ref().unwrap().contains("fraction_bits"));
}

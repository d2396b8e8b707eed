//! Members of an ensemble do not depend on layers that options or the importer insert.

use std::collections::BTreeMap;
use std::path::Path;

use stoxnor::calibrate::calibrate;
use stoxnor::engine;
use stoxnor::import::{self, OnChip, Options};
use stoxnor::network::Network;
use stoxnor_testbenches::conformance::random_frames;
use stoxnor_testbenches::data::read_idx;
use stoxnor_testbenches::onnx::{Attribute, Builder, STOXNOR};

/// The numbers that the seeds of sampled layers are derived from.
fn numbers(network: &Network) -> Vec<u64> {
    network.nodes.iter().filter_map(|node| Some(node.layer.sampling()?.layer)).collect()
}

fn kinds(network: &Network) -> Vec<&str> {
    network.nodes.iter().map(|node| node.layer.kind()).collect()
}

/// A product with `from` by `to` sampled weights of 2 random bits.
fn sampled(b: &mut Builder, x: &str, from: usize, to: usize) -> String {
    let reals: Vec<f32> = (0..from * to).map(|i| (i * 37 % 101) as f32 / 50.0 - 1.0).collect();
    let w = b.floats(&[from, to], &reals);
    let how = vec![Attribute::int("bits", 2), Attribute::int("share", 2)];
    let w = b.node_of(STOXNOR, "StochasticQuant", &[&w], how);
    b.node("MatMul", &[x, &w], vec![])
}

/// The calibrated model with its input quantised on the chip: one layer more, and the same members.
#[test]
fn a_threshold_for_the_input_changes_no_member() {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models");
    let model = models.join("mnist_784_256_256_10.onnx");
    let (_, pixels) = read_idx(&models.join("mnist_sample_images.idx3.gz")).unwrap();
    let sums = |on_chip: Option<OnChip>| {
        let network = import::load_with(&model, &Options { on_chip, ..Options::default() }).unwrap();
        let quantised = |image: &[u8]| {
            network.quantise(&image.iter().map(|p| f32::from(*p)).collect::<Vec<_>>()).unwrap()
        };
        let frames: Vec<Vec<i32>> = pixels.chunks(784).map(quantised).collect();
        (kinds(&network).join(" "), numbers(&network), engine::sums_at(&network, &frames, &[1, 4, 16]))
    };
    let (host, chip) = (sums(None), sums(Some(OnChip { scale: None })));
    assert_eq!((&host.0[..], &chip.0[..]), ("dense dense dense", "threshold dense dense dense"));
    assert_eq!((&host.1, &chip.1), (&vec![1, 2, 3], &vec![1, 2, 3]));
    assert!(host.2 == chip.2, "the sums differ");
}

/// One quantiser before a fork, or the same in front of each branch, where it becomes threshold layers.
#[test]
fn thresholds_at_the_start_of_branches_change_no_member() {
    let read = |in_branches: bool| {
        let mut b = Builder::new(&[1, 8]);
        let x = b.quant("x", 0.25, 3, true, "ROUND");
        let dots = sampled(&mut b, &x, 8, 6);
        // The fork is at 4-bit integers, or at 2-bit ones that are made of them.
        let fine = b.quant(&dots, 0.5, 4, true, "ROUND");
        let quantised = |b: &mut Builder| b.quant(&fine, 0.5, 2, true, "ROUND");
        let [left, right] = if in_branches {
            [quantised(&mut b), quantised(&mut b)]
        } else {
            let one = quantised(&mut b);
            [one.clone(), one]
        };
        let (left, right) = (sampled(&mut b, &left, 6, 4), sampled(&mut b, &right, 6, 4));
        let [left, right] = [left, right].map(|x| b.quant(&x, 0.5, 4, true, "ROUND"));
        let y = b.node("Add", &[&left, &right], vec![]);
        import::read("net", &b.finish(&y)).unwrap()
    };
    let (shared, branched) = (read(false), read(true));
    assert!(!kinds(&shared).contains(&"threshold"), "{:?}", kinds(&shared));
    assert_eq!(kinds(&branched).iter().filter(|k| **k == "threshold").count(), 2, "{:?}", kinds(&branched));
    assert_eq!(numbers(&shared), numbers(&branched));
    let frames = random_frames(5, &shared, 20);
    assert_eq!(engine::sums(&shared, &frames), engine::sums(&branched, &frames));
}

/// Layers that the importer inserts between those of the file: factors of a concatenation's branch, and a selection.
#[test]
fn layers_between_those_of_the_file_change_no_member() {
    let read = |times: f32, shuffled: bool| {
        let mut b = Builder::new(&[1, 8]);
        let x = b.quant("x", 0.25, 3, true, "ROUND");
        let [left, right] = [0.5, 0.5 * times].map(|scale| {
            let dots = sampled(&mut b, &x, 8, 6);
            b.quant(&dots, scale, 4, true, "ROUND")
        });
        let mut both = b.node("Concat", &[&left, &right], vec![Attribute::int("axis", 1)]);
        if shuffled {
            let back = b.ints(&[12], &[11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0]);
            both = b.node("Gather", &[&both, &back], vec![Attribute::int("axis", 1)]);
        }
        let y = sampled(&mut b, &both, 12, 3);
        import::read("net", &b.finish(&y)).unwrap()
    };
    let plain = read(1.0, false);
    for (times, shuffled, kind) in [(2.0, false, "scale"), (1.0, true, "select")] {
        let other = read(times, shuffled);
        assert!(kinds(&other).contains(&kind) && !kinds(&plain).contains(&kind), "{:?}", kinds(&other));
        assert_eq!(numbers(&plain), numbers(&other));
    }
}

/// A calibrated file says which members its statistics belong to.
#[test]
fn members_that_were_calibrated_under_another_number_are_refused() {
    let mut b = Builder::new(&[1, 8]);
    let x = b.bipolar("x", 1.0);
    let reals: Vec<f32> = (0..48).map(|i| (i * 37 % 101) as f32 / 50.0 - 1.0).collect();
    let w = b.floats(&[8, 6], &reals);
    let w = b.node_of(STOXNOR, "StochasticQuant", &[&w], vec![Attribute::int("share", 2)]);
    let x = b.node("MatMul", &[&x, &w], vec![]);
    let x = b.normalise(&x, [&[1.0; 6], &[0.25; 6], &[0.0; 6], &[4.0; 6]]);
    let x = b.bipolar(&x, 1.0);
    let w = b.floats(&[6, 3], &[1.0; 18]);
    let y = b.node("MatMul", &[&x, &w], vec![]);
    let done = calibrate(
        "net",
        &b.finish(&y),
        &Options::default(),
        |network| Ok(random_frames(3, network, 8)),
        |_| (),
    )
    .unwrap();
    let network = import::read("net", &done.bytes).unwrap();
    assert_eq!(numbers(&network), [1]);
    // An entry of another tool may hold anything: here bytes that are no text.
    let foreign = [&done.bytes[..], &[0x72, 7, 0x0a, 1, b'x', 0x12, 2, 0xff, 0xfe]].concat();
    assert_eq!(numbers(&import::read("net", &foreign).unwrap()), [1]);
    let origin = network.nodes[0].origin.clone();
    let other = import::with_calibrated_layers(&done.bytes, &BTreeMap::from([(origin, 2)])).unwrap();
    let refused = import::read("net", &other).unwrap_err();
    assert_eq!(refused.list()[0].code.word, "config-value");
    assert!(refused.to_string().contains("layer number 2, and it is number 1"), "{refused}");
}

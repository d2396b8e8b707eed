//! `calibrate`: statistics of single members, measured and written into the model.

use prost::Message;
use serde_json::json;
use stoxnor::arith::stochastic::{Law, Rounding, StochasticMatrix};
use stoxnor_testbenches::data::read_npy;
use stoxnor_testbenches::onnx::{Attribute, Builder, Model, STOXNOR, SampledModel, TensorProto, sampled};

use crate::bed::Bed;
use crate::bed::WIDTHS;
use crate::bed::bytes;
use crate::bed::npy;

const FRAMES: usize = 40;
const MEMBERS: usize = 3;

fn bed() -> Bed {
    let bed = Bed::new();
    let how = SampledModel { law: Some("ternary"), bits: 2, share: 4, members: 0, activation: 0, only: None };
    bed.write("t.onnx", sampled(5, &WIDTHS, how));
    bed.write("x.npy", npy("|u1", &[FRAMES, WIDTHS[0]], &bytes(FRAMES)));
    bed
}

fn graph(bed: &Bed, name: &str) -> stoxnor_testbenches::onnx::Graph {
    Model::decode(&std::fs::read(bed.path(name)).unwrap()[..]).unwrap().graph.unwrap()
}

fn floats(tensor: &TensorProto) -> Vec<f32> {
    tensor.raw.as_ref().unwrap().as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
}

#[test]
fn the_first_layer_gets_the_statistics_of_every_members_sums() {
    let bed = bed();
    let done = bed
        .run(&["calibrate", "t.onnx", "--images", "x.npy", "--members", "3", "--out", "c.onnx", "--json"])
        .with(0)
        .json();
    assert_eq!((&done["members"], &done["frames"]), (&json!(MEMBERS), &json!(FRAMES)));
    assert_eq!(
        done["layers"],
        json!([{"name": "l1_dense", "statistics": 3}, {"name": "l2_dense", "statistics": 3}])
    );
    let graph = graph(&bed, "c.onnx");
    let named = |name: &str| graph.initialisers.iter().find(|t| t.name == name).unwrap();
    // The weights as the file has them, drawn as the specification says; the sums of 24 signs of pixels.
    let stored = graph.initialisers.iter().find(|t| t.kind == 3).unwrap();
    let reals: Vec<f32> = stored.raw.as_ref().unwrap().iter().map(|w| f32::from(*w as i8) / 127.0).collect();
    let rounding = Rounding { law: Law::Ternary, bits: 2, share: 4, seed: 1 };
    let (rows, fan_in) = (WIDTHS[1], WIDTHS[0]);
    let matrix = StochasticMatrix::from_fn(rounding, 1, (rows, fan_in), |r, c| reals[r * fan_in + c]);
    let first = graph.nodes.iter().find(|n| n.op == "BatchNormalization").unwrap();
    let member = |input: usize| graph.nodes.iter().find(|n| n.outputs[0] == first.inputs[input]).unwrap();
    assert_eq!((member(3).op.as_str(), member(3).domain.as_str()), ("Member", "stoxnor"));
    let (mean, variance) = (named(&member(3).inputs[0]), named(&member(4).inputs[0]));
    assert_eq!((&mean.dims, &variance.dims), (&vec![3, 12], &vec![3, 12]));
    for m in 0..MEMBERS {
        let weights = matrix.sample(m);
        for row in 0..rows {
            let sums: Vec<f64> = bytes(FRAMES)
                .chunks(fan_in)
                .map(|x| {
                    x.iter()
                        .zip(weights.row(row))
                        .map(|(p, w)| if *p > 127 { f64::from(*w) } else { -f64::from(*w) })
                        .sum()
                })
                .collect();
            let mu = sums.iter().sum::<f64>() / FRAMES as f64;
            let var = sums.iter().map(|s| (s - mu) * (s - mu)).sum::<f64>() / FRAMES as f64;
            let at = m * rows + row;
            assert!((f64::from(floats(mean)[at]) - mu).abs() < 1e-5, "member {m}, row {row}");
            assert!((f64::from(floats(variance)[at]) - var).abs() < 1e-4, "member {m}, row {row}");
        }
    }
}

/// Behind the second layer the statistics are those of its sums when the first one's are in force, member by member.
#[test]
fn the_second_layer_is_measured_behind_the_calibrated_first() {
    let bed = bed();
    bed.run(&["calibrate", "t.onnx", "--images", "x.npy", "--members", "3", "--out", "c.onnx"]).with(0);
    let network = stoxnor::import::load(&bed.path("c.onnx")).unwrap();
    let graph = graph(&bed, "c.onnx");
    let second = graph.nodes.iter().filter(|n| n.op == "BatchNormalization").nth(1).unwrap();
    let member = graph.nodes.iter().find(|n| n.outputs[0] == second.inputs[3]).unwrap();
    let mean = floats(graph.initialisers.iter().find(|t| t.name == member.inputs[0]).unwrap());
    let stored = graph.initialisers.iter().filter(|t| t.kind == 3).nth(1).unwrap();
    let reals: Vec<f32> = stored.raw.as_ref().unwrap().iter().map(|w| f32::from(*w as i8) / 127.0).collect();
    let rounding = Rounding { law: Law::Ternary, bits: 2, share: 4, seed: 1 };
    let (rows, fan_in) = (WIDTHS[2], WIDTHS[1]);
    let matrix = StochasticMatrix::from_fn(rounding, 2, (rows, fan_in), |r, c| reals[r * fan_in + c]);
    for m in 0..MEMBERS {
        let weights = matrix.sample(m);
        let mut sums = vec![0i32; rows];
        for frame in bytes(FRAMES).chunks(WIDTHS[0]) {
            let x = network.quantise(&frame.iter().map(|p| f32::from(*p)).collect::<Vec<_>>()).unwrap();
            let hidden = network.nodes[0].layer.reference(&[&x], m);
            for (row, sum) in sums.iter_mut().enumerate() {
                *sum += hidden.iter().zip(weights.row(row)).map(|(x, w)| x * i32::from(*w)).sum::<i32>();
            }
        }
        for (row, sum) in sums.iter().enumerate() {
            let wanted = f64::from(*sum) / FRAMES as f64;
            assert!((f64::from(mean[m * rows + row]) - wanted).abs() < 1e-5, "member {m}, row {row}");
        }
    }
}

/// Behind the last layer there is one normalisation for all: that of the mean over the members.
#[test]
fn the_last_layer_has_the_statistics_of_the_mean() {
    let bed = bed();
    let mut m = Builder::new(&[1, WIDTHS[0]]);
    let x = m.scalar("Sub", "x", 127.5);
    let x = m.bipolar(&x, 1.0);
    let reals: Vec<f32> = (0..WIDTHS[0] * 3).map(|i| (i * 37 % 41) as f32 / 20.0 - 1.0).collect();
    let w = m.floats(&[WIDTHS[0], 3], &reals);
    let w = m.node_of(STOXNOR, "StochasticQuant", &[&w], vec![Attribute::int("bits", 4)]);
    let y = m.node("MatMul", &[&x, &w], vec![]);
    let y = m.normalise(&y, [&[1.0; 3], &[0.0; 3], &[9.0; 3], &[9.0; 3]]);
    bed.write("l.onnx", m.finish(&y));
    bed.run(&["calibrate", "l.onnx", "--images", "x.npy", "--members", "2", "--out", "c.onnx"]).with(0);
    let graph = graph(&bed, "c.onnx");
    let last = graph.nodes.iter().find(|n| n.op == "BatchNormalization").unwrap();
    let of = |input: usize| floats(graph.initialisers.iter().find(|t| t.name == last.inputs[input]).unwrap());
    let rounding = Rounding { law: Law::Ternary, bits: 4, share: 64, seed: 1 };
    let matrix = StochasticMatrix::from_fn(rounding, 1, (3, WIDTHS[0]), |r, c| reals[c * 3 + r]);
    let members = [matrix.sample(0), matrix.sample(1)];
    for row in 0..3 {
        let dot = |frame: &[u8], weights: &[i16]| -> f64 {
            let sign = |p: &u8| if *p > 127 { 1.0 } else { -1.0 };
            frame.iter().zip(weights).map(|(p, w)| sign(p) * f64::from(*w)).sum()
        };
        let all = bytes(FRAMES);
        let means: Vec<f64> = all
            .chunks(WIDTHS[0])
            .map(|f| members.iter().map(|m| dot(f, m.row(row))).sum::<f64>() / 2.0)
            .collect();
        let mu = means.iter().sum::<f64>() / FRAMES as f64;
        let var = means.iter().map(|s| (s - mu) * (s - mu)).sum::<f64>() / FRAMES as f64;
        assert!(
            (f64::from(of(3)[row]) - mu).abs() < 1e-5 && (f64::from(of(4)[row]) - var).abs() < 1e-4,
            "row {row}"
        );
    }
}

#[test]
fn a_calibrated_model_is_a_model_like_any_other() {
    let bed = bed();
    let calibrate = ["calibrate", "t.onnx", "--images", "x.npy", "--members", "3", "--out"];
    bed.run(&[&calibrate[..], &["c.onnx", "--seed", "9"]].concat()).with(0);
    let check = ["check", "c.onnx", "--input", "x.npy", "--frames", "4", "--members", "3,1", "--stall", "1"];
    bed.run(&[&check[..], &["--engines", "reference,fast,rtl,icarus"]].concat()).with(0);
    // Its seed is in the file, and no other is taken.
    let quants = graph(&bed, "c.onnx").nodes.into_iter().filter(|n| n.op == "StochasticQuant");
    let seeds: Vec<i64> =
        quants.map(|n| n.attributes.iter().find(|a| a.name == "seed").unwrap().int).collect();
    assert_eq!(seeds, [9; 3]);
    bed.run(&["inspect", "c.onnx", "--seed", "1"]).with(2);
    bed.run(&["inspect", "c.onnx", "--seed", "9"]).with(0);
    bed.run(&["inspect", "c.onnx", "--members", "4"]).with(2);
    // Calibrated anew on the same images, nothing changes but the file.
    bed.run(&["calibrate", "c.onnx", "--images", "x.npy", "--out", "d.onnx"]).with(0);
    let outputs = |model: &str| {
        bed.run(&["run", model, "--input", "x.npy", "--output", "y.npy", "--seed", "9", "--members", "3"])
            .with(0);
        read_npy(&bed.path("y.npy")).unwrap().values
    };
    assert_eq!(outputs("d.onnx"), outputs("c.onnx"));
    assert_ne!(outputs("t.onnx"), outputs("c.onnx"), "calibration makes a difference");
    // Again and again, and for another number of members: old statistics are gone from the file.
    bed.run(&["calibrate", "d.onnx", "--images", "x.npy", "--out", "d.onnx"]).with(0);
    bed.run(&["calibrate", "d.onnx", "--images", "x.npy", "--out", "d.onnx"]).with(0);
    assert_eq!(outputs("d.onnx"), outputs("c.onnx"));
    assert_eq!(graph(&bed, "d.onnx").initialisers.len(), graph(&bed, "c.onnx").initialisers.len());
    bed.run(&["calibrate", "d.onnx", "--images", "x.npy", "--members", "5", "--out", "f.onnx"]).with(0);
    bed.run(&["inspect", "f.onnx", "--members", "5"]).with(0);
    bed.run(&["inspect", "f.onnx", "--members", "6"]).with(2);
    // Identical inputs give identical bytes.
    bed.run(&[&calibrate[..], &["e.onnx", "--seed", "9"]].concat()).with(0);
    assert_eq!(std::fs::read(bed.path("e.onnx")).unwrap(), std::fs::read(bed.path("c.onnx")).unwrap());
}

#[test]
fn what_cannot_be_calibrated_is_refused_and_writes_nothing() {
    let bed = bed();
    let refused = |arguments: &[&str], word: &str| {
        let ended =
            bed.run(&[&["calibrate", "--images", "x.npy", "--out", "c.onnx"], arguments].concat()).with(2);
        assert!(ended.err.contains(word), "no {word} in {}", ended.err);
        assert!(!bed.path("c.onnx").exists());
    };
    refused(&["m.onnx"], "no weights are sampled");
    refused(&["t.onnx", "--members", "1,2"], "several numbers of members");
    refused(&["t.onnx", "--members", "300"], "give 1 to 256");
    refused(&["t.onnx", "--members", "0"], "give 1 to 256");
    refused(&["t.onnx", "--frames", "0"], "no frame is asked for");
    bed.write("c.toml", "[layers.l1_dense.weights]\nbits = 4\n");
    refused(&["t.onnx", "--config", "c.toml"], "the configuration says how weights are sampled");
    // What is no regular file is not replaced.
    let _socket = std::os::unix::net::UnixListener::bind(bed.path("socket")).unwrap();
    let ended = bed.run(&["calibrate", "t.onnx", "--images", "x.npy", "--out", "socket"]).with(2);
    assert!(ended.err.contains("no regular file"), "{}", ended.err);
    bed.write("x.npy", npy("|u1", &[2, 7], &[0; 14]));
    refused(&["t.onnx"], "[input-shape]");
}

//! A model with a residual block and two outputs, through every command.

use std::process::Command;

use serde_json::json;
use stoxnor::import::FloatGraph;
use stoxnor_testbenches::data::read_npy;
use stoxnor_testbenches::graph::float_outputs;
use stoxnor_testbenches::onnx::branches::Model;

use crate::bed::Bed;
use crate::bed::float_bytes;
use crate::bed::npy;

const FRAMES: usize = 3;

/// The model's outputs by name, and frames.
fn bed() -> (Bed, [String; 2], Vec<f32>) {
    let mut m = Model::new(21, &[1, 2, 4, 4]);
    let x = m.quant("x", 0.5, 3, true);
    let stem = m.block(&x, [2, 4], 0.5);
    let branch = m.block(&stem, [4, 4], 0.5);
    let sum = m.add(&branch, &stem);
    let trunk = m.quant(&sum, 0.5, 3, true);
    let classes = m.head(&trunk, [4, 5]);
    let mask = m.conv(&trunk, [4, 1]);
    let bed = Bed::new();
    bed.write("m.onnx", m.finish(&[classes.clone(), mask.clone()]));
    let frames: Vec<f32> = (0..FRAMES * 32).map(|i| ((i * 29) % 33) as f32 / 8.0 - 2.0).collect();
    bed.write("x.npy", npy("<f4", &[FRAMES, 2, 4, 4], &float_bytes(&frames)));
    (bed, [classes, mask], frames)
}

#[test]
fn every_command_takes_a_graph_with_branches() {
    let (bed, [classes, mask], frames) = bed();
    let told = bed.run(&["inspect", "m.onnx"]).with(0).out;
    for word in ["l2_conv", "l3_add", &classes, &mask] {
        assert!(told.contains(word), "{word}: {told}");
    }
    let engines = "reference,fast,rtl,verilator,icarus";
    bed.run(&["check", "m.onnx", "--input", "x.npy", "--engines", engines, "--stall", "3"]).with(0);

    let graph = FloatGraph::new(&std::fs::read(bed.path("m.onnx")).unwrap()).unwrap();
    let mut wanted = [Vec::new(), Vec::new()];
    for frame in frames.chunks(32) {
        let outputs = float_outputs(&graph, frame);
        wanted.iter_mut().zip(outputs).for_each(|(all, own)| all.extend(own.into_iter().map(f64::from)));
    }
    let second = format!("y.{mask}.npy");
    for engine in ["fast", "rtl"] {
        let ended = bed
            .run(&["run", "m.onnx", "--input", "x.npy", "--output", "y.npy", "--engine", engine, "--json"])
            .with(0);
        let files: Vec<_> =
            ended.json()["outputs"].as_array().unwrap().iter().map(|o| o["file"].clone()).collect();
        assert_eq!(files, [json!("y.npy"), json!(second)]);
        let found = ["y.npy", &second].map(|name| read_npy(&bed.path(name)).unwrap());
        assert_eq!(found.each_ref().map(|y| &y.shape[..]), [&[FRAMES, 5][..], &[FRAMES, 1, 4, 4]]);
        assert_eq!(found.map(|y| y.values), wanted, "{engine}");
    }

    bed.run(&["compile", "m.onnx", "--out", "build", "--input", "x.npy"]).with(0);
    for simulator in ["icarus", "verilator"] {
        let output = Command::new("make")
            .args([simulator, "STALL=1"])
            .current_dir(bed.path("build/tb"))
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && text.contains("PASS"), "{simulator}: {text}");
    }
}

//! A model with two inputs through every command.

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

/// A model of an image `x` and a vector `z`, with frames of both, and the outputs that its float graph gives.
fn bed() -> (Bed, Vec<f64>) {
    let mut m = Model::new(41, &[1, 2, 2, 4]);
    m.builder.input("z", &[1, 5]);
    let (x, z) = (m.quant("x", 0.5, 3, true), m.quant("z", 0.25, 4, true));
    let a = m.block(&x, [2, 3], 0.5);
    let a = m.builder.node("Flatten", &[&a], vec![]);
    let b = m.dense(&z, [5, 24]);
    let b = m.quant(&b, 0.5, 3, true);
    let sum = m.add(&a, &b);
    let sum = m.quant(&sum, 0.5, 3, true);
    let y = m.dense(&sum, [24, 4]);
    let bytes = m.finish(&[y]);
    let bed = Bed::new();
    bed.write("m.onnx", &bytes);
    let some = |count: usize, of: usize| -> Vec<f32> {
        (0..FRAMES * count).map(|i| ((i * of) % 33) as f32 / 8.0 - 2.0).collect()
    };
    let (x, z) = (some(16, 29), some(5, 17));
    bed.write("x.npy", npy("<f4", &[FRAMES, 2, 2, 4], &float_bytes(&x)));
    bed.write("z=1.npy", npy("<f4", &[FRAMES, 5], &float_bytes(&z)));
    bed.write("short.npy", npy("<f4", &[1, 5], &float_bytes(&z[..5])));
    let graph = FloatGraph::new(&bytes).unwrap();
    let frame = |f: usize| [&x[16 * f..][..16], &z[5 * f..][..5]].concat();
    let wanted = (0..FRAMES).flat_map(|f| float_outputs(&graph, &frame(f)).concat()).map(f64::from).collect();
    (bed, wanted)
}

const INPUTS: [&str; 4] = ["--input", "z=z=1.npy", "--input", "x=x.npy"];

#[test]
fn every_command_takes_a_file_for_each_input() {
    let (bed, wanted) = bed();
    let told = bed.run(&["inspect", "m.onnx"]).with(0).out;
    assert!(told.contains("(input x)") && told.contains("(input z)"), "{told}");
    let told = bed.run(&["inspect", "m.onnx", "--json"]).with(0).json();
    assert_eq!(told["inputs"][1]["name"], "z");
    assert_eq!(told["inputs"][1]["stream"], "s1");

    let engines = "reference,fast,rtl,verilator,icarus";
    let check = ["check", "m.onnx", "--engines", engines, "--stall", "3"];
    bed.run(&[&check[..], &INPUTS].concat()).with(0);
    for engine in ["fast", "rtl"] {
        let run = ["run", "m.onnx", "--output", "y.npy", "--engine", engine];
        bed.run(&[&run[..], &INPUTS].concat()).with(0);
        assert_eq!(read_npy(&bed.path("y.npy")).unwrap().values, wanted, "{engine}");
    }

    bed.run(&[&["compile", "m.onnx", "--out", "build"][..], &INPUTS].concat()).with(0);
    for simulator in ["icarus", "verilator"] {
        for stall in ["STALL=0", "STALL=1"] {
            let output = Command::new("make")
                .args([simulator, stall])
                .current_dir(bed.path("build/tb"))
                .output()
                .unwrap();
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(output.status.success() && text.contains("PASS"), "{simulator} {stall}: {text}");
        }
    }
    let manifest: serde_json::Value =
        serde_json::from_slice(&std::fs::read(bed.path("build/manifest.json")).unwrap()).unwrap();
    let of = |key: &str| -> Vec<_> {
        manifest["inputs"].as_array().unwrap().iter().map(|input| input[key].clone()).collect()
    };
    assert_eq!((of("name"), of("stream")), (vec![json!("x"), json!("z")], vec![json!("s"), json!("s1")]));
    assert_eq!(manifest["inputs"][1]["host_before"]["input_shape"], json!([1, 5]));
    let readme = std::fs::read_to_string(bed.path("build/README.md")).unwrap();
    assert!(readme.contains("Input z, stream `s1_*`"), "{readme}");
}

/// A wrong beat on the second input's stream is found by the emitted test bench.
#[test]
fn the_emitted_test_bench_sends_the_second_input() {
    let (bed, _) = bed();
    bed.run(&[&["compile", "m.onnx", "--out", "build"][..], &INPUTS].concat()).with(0);
    let path = bed.path("build/tb/stimulus1.mem");
    let text = std::fs::read_to_string(&path).unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    lines[0] = if lines[0] == "08" { "07" } else { "08" };
    std::fs::write(&path, lines.join("\n") + "\n").unwrap();
    let output = Command::new("make").arg("icarus").current_dir(bed.path("build/tb")).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!output.status.success() && text.contains("FAIL: first difference at l2_dense"), "{text}");
}

#[test]
fn inputs_that_are_missing_or_do_not_fit_are_told() {
    let (bed, _) = bed();
    for (inputs, words) in [
        (&["--input", "x.npy"][..], "names none of the inputs x, z"),
        (&["--input", "x=x.npy"], "no file for the input z"),
        (&["--input", "x=x.npy", "--input", "x=x.npy"], "two files for the input x"),
        (&["--input", "x=x.npy", "--input", "z=short.npy"], "the inputs have 3 and 1 frames"),
        (&["--input", "x=x.npy", "--input", "z=x.npy"], "not of 5"),
    ] {
        let told = bed.run(&[&["run", "m.onnx", "--output", "y.npy"][..], inputs].concat()).with(2).err;
        assert!(told.contains(words), "{inputs:?}: {told}");
    }
    bed.write("l.npy", npy("|u1", &[FRAMES], &[0; FRAMES]));
    let told = bed.run(&["eval", "m.onnx", "--images", "x.npy", "--labels", "l.npy"]).with(2).err;
    assert!(told.contains("the model has 2 inputs (x, z)") && told.contains("eval takes"), "{told}");
}

#[test]
fn a_serial_line_takes_one_input() {
    let (bed, _) = bed();
    let built = bed.run(&["build", "m.onnx", "--board", "icebreaker", "--out", "b"]).with(2);
    assert!(built.err.contains("one input and one output"), "{}", built.err);
}

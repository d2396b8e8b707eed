//! demo, inspect and run.

use serde_json::{Value, json};
use stoxnor::import;
use stoxnor_testbenches::data::read_npy;

use crate::bed::Bed;
use crate::bed::WIDTHS;
use crate::bed::float_bytes;
use crate::bed::npy;
use crate::bed::pixels;

pub fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn demo_needs_nothing_but_itself() {
    let bed = Bed::new();
    let ended = bed.without_tools(&["demo"]).with(0);
    assert!(ended.out.contains("2 frames, reference = fast = rtl"), "{}", ended.out);
    assert!(ended.out.contains("not installed, so not compared: verilator, icarus"), "{}", ended.out);
    assert!(ended.out.contains("200 images of the MNIST test set"), "{}", ended.out);
    assert_eq!(ended.err, "");
    assert_eq!(bed.list("."), ["m.onnx"], "it writes nothing");
}

#[test]
fn demo_prints_one_json_object() {
    let report = Bed::new().without_tools(&["demo", "--json"]).with(0).json();
    assert_eq!(keys(&report), ["checks", "equal", "evaluation", "not_installed"]);
    assert_eq!(report["equal"], true);
    assert_eq!(report["not_installed"], json!(["verilator", "icarus"]));
    let check = &report["checks"][0];
    assert_eq!(check["engines"], json!(["reference", "fast", "rtl"]));
    let elements: Vec<&Value> = check["layers"].as_array().unwrap().iter().map(|l| &l["elements"]).collect();
    // Frames of 4 and 2 members: six passes.
    assert_eq!(elements, [6 * 256, 6 * 256, 6 * 10, 2 * 10]);
    let evaluation = &report["evaluation"];
    assert_eq!(evaluation["total"], 200);
    let members: Vec<&Value> =
        evaluation["results"].as_array().unwrap().iter().map(|r| &r["members"]).collect();
    assert_eq!(members, [1, 2, 4, 8, 16]);
    let correct = |r: &Value| r["correct"].as_u64().unwrap();
    assert!(evaluation["results"].as_array().unwrap().iter().all(|r| correct(r) >= 190), "{evaluation}");
}

#[test]
fn demo_takes_the_simulators_that_are_there() {
    let report = Bed::new().run(&["demo", "--json"]).with(0).json();
    let engines: Vec<&Value> = report["checks"].as_array().unwrap().iter().map(|c| &c["engines"]).collect();
    assert_eq!(engines, [&json!(["reference", "fast", "rtl"]), &json!(["rtl", "verilator", "icarus"])]);
}

#[test]
fn inspect_prints_the_keys_of_the_contract() {
    let bed = Bed::new();
    bed.write("c.toml", "[layers.l1_dense]\npe = 3\nsimd = 8\n[layers.l2_dense]\npe = 2\nsimd = 6\n[layers.l3_dense]\npe = 4\nsimd = 8\n");
    let ended = bed.run(&["inspect", "m.onnx", "--json", "--config", "c.toml"]).with(0);
    assert_eq!(ended.err, "");
    let found = ended.json();
    let layers: Vec<Value> = found["layers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|l| json!([l["name"], l["kind"], l["pe"], l["simd"], l["cycles"]]))
        .collect();
    assert_eq!(
        layers,
        // rows / PE x fan-in / SIMD.
        [
            json!(["l1_dense", "dense", 3, 8, 4 * 3]),
            json!(["l2_dense", "dense", 2, 6, 4 * 2]),
            json!(["l3_dense", "dense", 4, 8, 1]),
        ]
    );
    assert_eq!(found["interval_cycles"], 12, "that of the slowest layer");
    assert!(found["latency_cycles"].as_u64().unwrap() > 12);
    assert_eq!(found["input"], json!({"shape": [WIDTHS[0]], "element": "bipolar"}));
}

#[test]
fn inspect_says_both_types_and_what_the_host_does() {
    let text = Bed::new().run(&["inspect", "m.onnx"]).with(0).out;
    for part in [
        "m: 3 layers",
        "hardware in  [24] bipolar",
        "hardware out [4] int5",
        "Mul, Sub, BipolarQuant",
        "Mul, Add",
    ] {
        assert!(text.contains(part), "no {part} in\n{text}");
    }
}

#[test]
fn a_rate_and_a_clock_make_the_folding() {
    let bed = Bed::new();
    let cycles = |arguments: &[&str]| -> Vec<u64> {
        let found = bed.run(&[&["inspect", "m.onnx", "--json"], arguments].concat()).with(0).json();
        found["layers"].as_array().unwrap().iter().map(|l| l["cycles"].as_u64().unwrap()).collect()
    };
    assert_eq!(cycles(&[]), [288, 96, 32], "everything is within 1,024 cycles at PE = SIMD = 1");
    // 100 MHz / 2 million a second: 50 cycles. SIMD 6, 2 and 1 are the smallest that meet them.
    let fast = ["--fps", "2000000", "--clock-mhz", "100"];
    assert_eq!(cycles(&fast), [48, 48, 32]);
    bed.write("c.toml", "[target]\ncycles = 7\nclock_mhz = 100.0\n");
    assert!(cycles(&["--config", "c.toml"]).iter().all(|c| *c <= 7));
    assert_eq!(
        cycles(&["--config", "c.toml", "--fps", "2000000"]),
        [48, 48, 32],
        "the option goes before the file's cycles"
    );
}

/// Outputs and integers of every frame, computed by the library layer by layer.
fn wanted(bed: &Bed, frames: &[f32]) -> (Vec<f64>, Vec<f64>) {
    let network = import::load(&bed.path("m.onnx")).unwrap();
    let (mut outputs, mut sums) = (Vec::new(), Vec::new());
    for frame in frames.chunks(WIDTHS[0]) {
        let mut x = network.quantise(frame).unwrap();
        for node in &network.nodes {
            x = node.layer.reference(&[&x], 0);
        }
        let wide: Vec<i64> = x.iter().map(|v| i64::from(*v)).collect();
        outputs.extend(network.finish(&wide, 1).unwrap().into_iter().map(f64::from));
        sums.extend(x.into_iter().map(f64::from));
    }
    (outputs, sums)
}

#[test]
fn run_writes_outputs_and_sums_with_every_engine() {
    let bed = Bed::with_frames(3);
    let (outputs, sums) = wanted(&bed, &pixels(3));
    for engine in ["fast", "reference", "rtl", "verilator", "icarus"] {
        let arguments =
            ["run", "m.onnx", "--input", "x.npy", "--output", "y.npy", "--sums", "s.npy", "--engine", engine];
        bed.run(&arguments).with(0);
        let (y, s) = (read_npy(&bed.path("y.npy")).unwrap(), read_npy(&bed.path("s.npy")).unwrap());
        // The graph's output is [1, 4], [4] without its batch.
        assert_eq!((y.shape, y.values), (vec![3, 4], outputs.clone()), "{engine}");
        assert_eq!((s.shape, s.values), (vec![3, 4], sums.clone()), "{engine}");
        let header =
            |name: &str| String::from_utf8_lossy(&std::fs::read(bed.path(name)).unwrap()[..64]).into_owned();
        assert!(header("y.npy").contains("'<f4'") && header("s.npy").contains("'<i8'"));
    }
}

#[test]
fn run_defaults_to_fast_and_prints_one_object() {
    let bed = Bed::with_frames(2);
    let ended = bed.run(&["run", "m.onnx", "--input", "x.npy", "--output", "y.npy", "--json"]).with(0);
    let mut told = ended.json();
    let outputs = told.as_object_mut().unwrap().remove("outputs").unwrap();
    assert_eq!(told, json!({"engine": "fast", "frames": 2, "output_shape": [2, 4]}));
    assert_eq!(outputs.as_array().unwrap().len(), 1);
    assert_eq!((&outputs[0]["file"], &outputs[0]["shape"]), (&json!("y.npy"), &json!([2, 4])));
    assert_eq!(ended.err, "");
}

/// x -> BipolarQuant is 1 for 0 and above: a scale below 0 turns every input but zeros around.
#[test]
fn scales_multiply_then_divide() {
    let bed = Bed::new();
    let raw: Vec<f32> = pixels(2).iter().map(|p| (p * 255.0).round()).collect();
    bed.write("raw.npy", npy("<f4", &[2, 24], &float_bytes(&raw)));
    let out = |arguments: &[&str]| {
        bed.run(&[&["run", "m.onnx", "--output", "y.npy", "--input", "raw.npy"], arguments].concat()).with(0);
        read_npy(&bed.path("y.npy")).unwrap().values
    };
    let (scaled, _) = wanted(&bed, &raw.iter().map(|p| p / 255.0).collect::<Vec<_>>());
    let (plain, _) = wanted(&bed, &raw);
    assert_ne!(scaled, plain, "the scale matters to these frames");
    assert_eq!(out(&["--scale", "1/255"]), scaled);
    assert_eq!(out(&[]), plain);
    // 20.5 / 41 is one half, which the model's quantiser makes +1; times float32's 1/41 it is less.
    let half = |value: f32, scale: &str| {
        bed.write("raw.npy", npy("<f4", &[1, 24], &float_bytes(&[value; 24])));
        out(&["--scale", scale])
    };
    assert_eq!(half(20.5, "1/41"), half(1.0, "1"));
    assert_ne!(half(1.0, "1"), half(0.0, "1"));
    bed.write("raw.npy", npy("<f4", &[2, 24], &float_bytes(&raw)));
    bed.write("c.toml", "[input]\nscale = \"1/255\"\n");
    assert_eq!(out(&["--config", "c.toml"]), scaled);
    assert_eq!(out(&["--config", "c.toml", "--scale", "1"]), plain, "the option goes before the file");
    bed.write("c.toml", "[input]\nscale = -0.5\n");
    let (turned, _) = wanted(&bed, &raw.iter().map(|p| p * -0.5).collect::<Vec<_>>());
    assert_eq!(out(&["--config", "c.toml"]), turned, "a number needs no quotation marks");
    assert_eq!(out(&["--scale", "-0.5"]), turned);
}

#[test]
fn bad_usage_is_exit_code_2_and_help_is_not() {
    let bed = Bed::with_frames(1);
    for arguments in [
        &[][..],
        &["inspect"],
        &["frobnicate"],
        &["inspect", "m.onnx", "--nonsense"],
        &["run", "m.onnx", "--input", "x.npy"],
        &["check", "m.onnx", "--input", "x.npy", "--engines", "fast,quantum"],
        &["check", "m.onnx", "--input", "x.npy", "--engines", ""],
        &["check", "m.onnx", "--input", "x.npy", "--frames", "0"],
        &["check", "m.onnx", "--input", "x.npy", "--frames", "-1"],
        &["run", "m.onnx", "--input", "x.npy", "--output", "y.npy", "--scale", "1/0"],
        &["inspect", "m.onnx", "--fps", "100"],
        &["inspect", "m.onnx", "--fps", "0", "--clock-mhz", "100"],
        &["inspect", "missing.onnx"],
    ] {
        let ended = bed.run(arguments).with(2);
        assert_eq!(ended.out, "", "{arguments:?}");
        assert_ne!(ended.err, "", "{arguments:?}");
    }
    assert!(bed.run(&["--help"]).with(0).out.contains("inspect"));
    assert!(bed.run(&["--version"]).with(0).out.starts_with("stoxnor "));
    let engine = bed.run(&["check", "m.onnx", "--input", "x.npy", "--engines", "quantum"]).with(2).err;
    assert!(engine.contains("reference, fast, rtl, verilator, icarus"), "{engine}");
}

#[test]
fn a_closed_pipe_ends_in_no_panic_and_keeps_the_exit_code() {
    let bed = Bed::with_frames(1);
    for command in ["demo", "inspect m.onnx", "inspect m.onnx --json", "check m.onnx --input x.npy"] {
        // The reader is gone before the program starts.
        let script = format!("{{ sleep 0.2; $STOXNOR {command}; echo $? >code; }} | true");
        let ended = bed.shell(&script).with(0);
        assert_eq!(ended.err, "", "{command}");
        assert_eq!(std::fs::read_to_string(bed.path("code")).unwrap(), "0\n", "{command}");
    }
    // The same for standard error, where the diagnostic goes.
    bed.shell("{ sleep 0.2; $STOXNOR inspect missing.onnx; echo $? >code; } 2>&1 | true").with(0);
    assert_eq!(std::fs::read_to_string(bed.path("code")).unwrap(), "2\n");
}

#[test]
fn a_result_that_cannot_be_printed_is_an_error() {
    let ended = Bed::new().shell("$STOXNOR inspect m.onnx >/dev/full").with(2);
    assert!(
        ended.err.contains("output-unwritable") && ended.err.contains("standard output"),
        "{}",
        ended.err
    );
}

/// A directory whose `vvp` takes some seconds more than the real one, so that work is long on every machine.
fn slow(seconds: &str) -> Bed {
    let bed = Bed::with_frames(1);
    let real = bed.shell("command -v vvp").out;
    bed.program("vvp", &format!("sleep {seconds}\nexec {} \"$@\"", real.trim()));
    bed
}

const SLOW: &str = "check m.onnx --input x.npy --engines reference,icarus";

#[test]
fn no_bar_where_standard_error_is_no_terminal() {
    let ended = slow("2").faked(&SLOW.split(' ').collect::<Vec<_>>()).with(0);
    assert_eq!(ended.err, "");
    assert!(ended.out.starts_with("1 frame, reference = icarus\n"), "{}", ended.out);
}

/// What a user would see on a terminal, which util-linux's `script` makes.
fn on_a_terminal(bed: &Bed, command: &str) -> String {
    let line = format!("PATH=\"$PWD/bin:$PATH\" script -qec \"$STOXNOR {command}\" /dev/null </dev/null");
    bed.shell(&line).with(0).out
}

#[test]
fn bars_come_on_a_terminal_for_long_work_only() {
    let bed = slow("2");
    if bed.shell("command -v script >/dev/null").code != Some(0) {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "no program `script` (util-linux)");
        eprintln!("SKIPPED: no program `script` (util-linux)");
        return;
    }
    let bars = |bed: &Bed, rest: &str| {
        on_a_terminal(bed, &format!("{SLOW}{rest}")).matches("icarus       [").count()
    };
    assert!(bars(&bed, "") >= 3, "a bar for work over a second, and it lives");
    assert!(bars(&bed, " >out") >= 3, "it is on standard error");
    assert_eq!(bars(&bed, " 2>out"), 0, "nowhere else");
    assert_eq!(bars(&bed, " --quiet"), 0);
    assert_eq!(bars(&slow("0.4"), ""), 0, "none for short work");
}

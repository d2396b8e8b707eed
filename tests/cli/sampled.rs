//! Stochastic networks and ensembles, from the command line.

use serde_json::{Value, json};
use stoxnor::{engine, import};
use stoxnor_testbenches::data::read_npy;
use stoxnor_testbenches::onnx::{Builder, STOXNOR, SampledModel, sampled};

use crate::bed::Bed;
use crate::bed::WIDTHS;
use crate::bed::bytes;
use crate::bed::npy;

const FRAMES: usize = 6;

fn model(law: Option<&'static str>, members: usize, only: Option<usize>) -> Vec<u8> {
    model_of(0, law, members, only)
}

fn model_of(activation: u32, law: Option<&'static str>, members: usize, only: Option<usize>) -> Vec<u8> {
    sampled(5, &WIDTHS, SampledModel { law, bits: 2, share: 4, members, activation, only })
}

/// A ternary model `t.onnx`, the same weights without StochasticQuant in `r.onnx`, a binary one with own statistics of three members in
/// `c.onnx`, a ternary one with such and activations of three bits in `q.onnx`, and frames of raw pixels in `x.npy`.
fn bed() -> Bed {
    let bed = Bed::new();
    bed.write("t.onnx", model(Some("ternary"), 0, None));
    bed.write("r.onnx", model(None, 0, None));
    bed.write("c.onnx", model(Some("binary"), 3, None));
    bed.write("q.onnx", model_of(3, Some("ternary"), 3, None));
    bed.write("x.npy", npy("|u1", &[FRAMES, WIDTHS[0]], &bytes(FRAMES)));
    bed
}

/// A folding for a part takes any realisation but one that the configuration names.
#[test]
fn a_folding_for_a_part_finds_realisations() {
    let bed = bed();
    let realisations = |options: &[&str]| -> Vec<String> {
        let arguments =
            [&["inspect", "t.onnx", "--part", "25k", "--fps", "10000", "--json"], options].concat();
        let found = bed.run(&arguments).with(0).json();
        let layers = found["layers"].as_array().unwrap().iter();
        layers.map(|layer| layer["sampling"]["realisation"].as_str().unwrap().to_owned()).collect()
    };
    let free = realisations(&[]);
    for named in ["fly", "sampled", "stored"] {
        let layer = format!("[layers.l2_dense]\nweights = {{ realisation = \"{named}\" }}\n");
        bed.write("r.toml", layer.into_bytes());
        let found = realisations(&["--config", "r.toml"]);
        assert_eq!(found[1], named);
        assert_eq!((&found[0], &found[2]), (&free[0], &free[2]), "the others are as they are without");
    }
}

/// The sums of the plain network that a member is, for every frame.
fn sums_of(activation: u32, law: &'static str, members: usize, member: usize) -> Vec<Vec<i32>> {
    let network = import::read("member", &model_of(activation, Some(law), members, Some(member))).unwrap();
    let frames: Vec<Vec<i32>> = bytes(FRAMES)
        .chunks(WIDTHS[0])
        .map(|frame| network.quantise(&frame.iter().map(|p| f32::from(*p)).collect::<Vec<_>>()).unwrap())
        .collect();
    engine::sums(&network, &frames)
}

/// Sums over the first members of each frame, by plain networks.
fn wanted(activation: u32, law: &'static str, calibrated: usize, members: &[usize]) -> Vec<f64> {
    let of: Vec<Vec<Vec<i32>>> = (0..4).map(|m| sums_of(activation, law, calibrated, m.min(2))).collect();
    let outputs = WIDTHS[WIDTHS.len() - 1];
    (0..FRAMES * outputs)
        .map(|at| {
            let (frame, output) = (at / outputs, at % outputs);
            (0..members[frame % members.len()]).map(|m| f64::from(of[m][frame][output])).sum()
        })
        .collect()
}

#[test]
fn sums_are_those_of_the_plain_networks_that_the_members_are() {
    let bed = bed();
    let files = [("t.onnx", 0, "ternary", 0), ("c.onnx", 0, "binary", 3), ("q.onnx", 3, "ternary", 3)];
    for (file, activation, law, calibrated) in files {
        for engine in ["fast", "reference", "rtl"] {
            for members in ["1", "3", "2,1,3"] {
                let run = ["run", file, "--input", "x.npy", "--output", "y.npy", "--sums", "s.npy"];
                bed.run(&[&run[..], &["--engine", engine, "--members", members]].concat()).with(0);
                let list: Vec<usize> = members.split(',').map(|m| m.parse().unwrap()).collect();
                let (sums, outputs) =
                    (read_npy(&bed.path("s.npy")).unwrap(), read_npy(&bed.path("y.npy")).unwrap());
                assert_eq!(
                    sums.values,
                    wanted(activation, law, calibrated, &list),
                    "{file}, {engine}, {members}"
                );
                // The tail, once, of the mean over the members.
                for (at, (y, sum)) in outputs.values.iter().zip(&sums.values).enumerate() {
                    let mean = *sum as f32 / list[at / 4 % list.len()] as f32;
                    let scale = if activation == 0 { 1.0 } else { 0.5 };
                    assert_eq!(*y, f64::from(mean * scale * 0.0625 - 1.25));
                }
            }
        }
    }
}

#[test]
fn a_plain_model_is_sampled_where_the_configuration_says_so() {
    let bed = bed();
    let weights = "weights = { stochastic = \"ternary\", bits = 2, share = 4";
    let layers = |more: &str| -> String {
        (1..4).map(|i| format!("[layers.l{i}_dense]\n{weights}{more} }}\n")).collect::<String>()
    };
    let sums = |arguments: &[&str]| {
        let run = ["run", "--input", "x.npy", "--output", "y.npy", "--sums", "s.npy", "--members", "3"];
        bed.run(&[&run[..], arguments].concat()).with(0);
        read_npy(&bed.path("s.npy")).unwrap().values
    };
    let told = sums(&["t.onnx"]);
    for realisation in ["fly", "sampled", "stored"] {
        bed.write("c.toml", layers(&format!(", realisation = \"{realisation}\"")));
        assert_eq!(sums(&["r.onnx", "--config", "c.toml", "--engine", "rtl"]), told, "{realisation}");
    }
    assert_ne!(sums(&["t.onnx", "--seed", "2"]), told);
    bed.write("c.toml", "[ensemble]\nseed = 2\n");
    assert_eq!(sums(&["t.onnx", "--seed", "2"]), sums(&["t.onnx", "--config", "c.toml"]));
    // Only the realisation of a model that says the rest.
    bed.write("c.toml", "[layers.l2_dense.weights]\nrealisation = \"stored\"\n");
    assert_eq!(sums(&["t.onnx", "--config", "c.toml", "--engine", "rtl"]), told);
}

#[test]
fn check_covers_every_member_and_their_sum() {
    let bed = bed();
    let check = |arguments: &[&str]| {
        bed.run(&[&["check", "--input", "x.npy", "--json"], arguments].concat()).with(0).json()
    };
    let report = check(&["t.onnx", "--members", "3,1", "--stall", "1"]);
    let layers: Vec<Value> =
        report["layers"].as_array().unwrap().iter().map(|l| json!([l["name"], l["elements"]])).collect();
    // Six frames, of 3 and 1 members in turn: 12 passes.
    let wanted =
        [json!(["l1_dense", 144]), json!(["l2_dense", 96]), json!(["l3_dense", 48]), json!(["ensemble", 24])];
    assert_eq!(layers, wanted);
    // At one constant number of members, that of the first frame; a member takes as long as the slowest layer.
    assert_eq!(report["interval_cycles"], 3 * 288);
    let all = ["--engines", "reference,rtl,verilator,icarus", "--members", "2", "--frames", "2"];
    assert_eq!(check(&[&["c.onnx"], &all[..]].concat())["equal"], true);
    assert_eq!(check(&["t.onnx"])["interval_cycles"], 16 * 288, "16 where nobody says");
    assert_eq!(check(&["c.onnx"])["interval_cycles"], 3 * 288, "what it is calibrated for");
}

#[test]
fn eval_gives_every_number_of_members_in_one_pass() {
    let bed = bed();
    let run = ["run", "t.onnx", "--input", "x.npy", "--output", "y.npy", "--members"];
    let mut labels = Vec::new();
    for members in ["1", "2", "16"] {
        bed.run(&[&run[..], &[members]].concat()).with(0);
        let y = read_npy(&bed.path("y.npy")).unwrap();
        let class = |frame: &[f64]| (0..4).rev().max_by(|a, b| frame[*a].total_cmp(&frame[*b])).unwrap();
        labels.push(y.rows().map(class).collect::<Vec<_>>());
    }
    // The labels are the answers of two members: how far do the others agree?
    let agree = |a: &[usize], b: &[usize]| a.iter().zip(b).filter(|(a, b)| a == b).count();
    bed.write("l.npy", npy("|u1", &[FRAMES], &labels[1].iter().map(|l| *l as u8).collect::<Vec<_>>()));
    let eval = ["eval", "t.onnx", "--images", "x.npy", "--labels", "l.npy", "--members", "1,2,16"];
    for engine in ["fast", "reference"] {
        let found = bed.run(&[&eval[..], &["--json", "--engine", engine]].concat()).with(0).json();
        let wanted: Vec<Value> = [1, 2, 16]
            .iter()
            .zip(&labels)
            .map(|(m, l)| json!({"members": m, "correct": agree(l, &labels[1])}))
            .collect();
        assert_eq!(found["results"], Value::Array(wanted), "{engine}");
    }
    let text = bed.run(&eval).with(0).out;
    assert!(text.contains("members") && text.contains("with 16 members"), "{text}");
}

#[test]
fn what_makes_no_sense_is_refused() {
    let bed = bed();
    let refused = |arguments: &[&str], config: &str, words: &[&str]| {
        bed.write("c.toml", config);
        let ended = bed.run(&[arguments, &["--config", "c.toml"]].concat()).with(2);
        for word in words.iter().chain(&["config-value"]) {
            assert!(ended.err.contains(word), "no {word} in {}", ended.err);
        }
    };
    let inspect = |file| ["inspect", file];
    refused(
        &["inspect", "t.onnx", "--members", "17"],
        "",
        &["17 members, and the hardware supports 16", "give 1 to 16"],
    );
    refused(&["inspect", "t.onnx", "--members", "0"], "", &["0 members"]);
    refused(&["inspect", "c.onnx", "--members", "4"], "", &["4 members, and the hardware supports 3"]);
    refused(&["inspect", "m.onnx", "--members", "2"], "", &["no layer is sampled"]);
    refused(&["inspect", "m.onnx", "--seed", "2"], "", &["no layer is sampled"]);
    refused(
        &["inspect", "c.onnx", "--seed", "2"],
        "",
        &["calibrated for law binary, bits 2, share 4, seed 1"],
    );
    refused(&inspect("c.onnx"), "[ensemble]\nmax_members = 4\n", &["calibrated for 3"]);
    refused(&inspect("c.onnx"), "[layers.l1_dense.weights]\nbits = 1\n", &["layers.l1_dense.weights"]);
    refused(&inspect("t.onnx"), "[ensemble]\nmembers = 0\n", &["ensemble.members is 0", "1 to 256"]);
    refused(&inspect("t.onnx"), "[layers.l1_dense.weights]\nbits = 17\n", &["bits is 17", "1 to 16"]);
    refused(&inspect("m.onnx"), "[layers.l1_dense.weights]\nshare = 4\n", &["not sampled", "stochastic"]);
    bed.write("c.toml", "[layers.l1_dense]\npe = 3\n");
    let ended = bed.run(&["inspect", "t.onnx", "--config", "c.toml"]).with(2);
    assert!(
        ended.err.contains("lanes-do-not-divide") && ended.err.contains("use one of 1, 2, 4, 12"),
        "{}",
        ended.err
    );
    bed.write("c.toml", "[layers.l1_dense.weights]\nrealization = \"fly\"\n");
    let ended = bed.run(&["inspect", "t.onnx", "--config", "c.toml"]).with(2);
    assert!(ended.err.contains("did you mean realisation?"), "{}", ended.err);
}

#[test]
fn the_emitted_bench_passes_and_the_manifest_names_the_seeds() {
    let bed = bed();
    for (file, out) in [("t.onnx", "t"), ("c.onnx", "c")] {
        bed.run(&["compile", file, "--out", out, "--frames", "3", "--members", "2,1,3"]).with(0);
        let log = bed
            .shell(&format!("make -s -C {out}/tb icarus && make -s -C {out}/tb icarus STALL=1"))
            .with(0)
            .out;
        assert_eq!(log.matches("PASS").count(), 2, "{log}");
    }
    let manifest: Value =
        serde_json::from_slice(&std::fs::read(bed.path("t/manifest.json")).unwrap()).unwrap();
    assert_eq!(manifest["ensemble"], json!({"members": 2, "max_members": 16}));
    let layer = &manifest["layers"][2];
    assert_eq!(layer["sampling"]["realisation"], "fly");
    assert_eq!(layer["seeds"].as_array().unwrap().len(), 16);
    assert_eq!(layer["seeds"][1], format!("{:016x}", stoxnor::arith::lfsr::seed(1, 3, 1)));
    let readme = std::fs::read_to_string(bed.path("t/README.md")).unwrap();
    assert!(readme.contains("`s_user` is the number of members"), "{readme}");
}

/// Weights behind StochasticQuant are sampled or refused, never taken for what they are.
#[test]
fn marks_that_would_be_lost_are_told() {
    let bed = Bed::new();
    let refused = |change: fn(&mut Builder, &str) -> String, word: &str| {
        let mut m = Builder::new(&[1, 2]);
        let x = m.bipolar("x", 1.0);
        let w = m.floats(&[2, 3], &[0.5, -0.5, 0.5, 0.5, 0.5, -0.5]);
        let w = m.node_of(STOXNOR, "StochasticQuant", &[&w], vec![]);
        let w = change(&mut m, &w);
        let y = m.node("MatMul", &[&x, &w], vec![]);
        bed.write("l.onnx", m.finish(&y));
        let ended = bed.run(&["inspect", "l.onnx"]).with(2);
        assert!(ended.err.contains(word) && ended.err.contains("operator-unsupported"), "{}", ended.err);
    };
    refused(|m, w| m.scalar("Add", w, 0.0), "Add takes weights that StochasticQuant marks");
    refused(|m, w| m.node("Relu", &[w], vec![]), "Relu takes weights");
    refused(|m, w| m.bipolar(w, 1.0), "BipolarQuant takes weights");
    // What depends on the input is not sampled.
    let mut m = Builder::new(&[1, 2]);
    let x = m.bipolar("x", 1.0);
    let w = m.floats(&[2, 3], &[1.0; 6]);
    let y = m.node("MatMul", &[&x, &w], vec![]);
    let y = m.node_of(STOXNOR, "StochasticQuant", &[&y], vec![]);
    bed.write("l.onnx", m.finish(&y));
    assert!(bed.run(&["inspect", "l.onnx"]).with(2).err.contains("what depends on the graph's input"));
}

#[test]
fn demo_takes_what_is_built() {
    let bed = Bed::new();
    bed.write("c.toml", "[ensemble]\nmax_members = 2\n");
    let report = bed.without_tools(&["demo", "--json", "--config", "c.toml"]).with(0).json();
    assert_eq!(report["evaluation"]["results"].as_array().unwrap().len(), 2);
}

#[test]
fn a_serial_line_has_a_byte_for_the_members() {
    let bed = bed();
    bed.write("m.toml", "[ensemble]\nmax_members = 256\n");
    let build = ["build", "t.onnx", "--board", "ulx3s", "--out", "b", "--config", "m.toml"];
    let built = bed.run(&build).with(2);
    assert!(built.err.contains("ensemble.max_members") && built.err.contains("255"), "{}", built.err);
}

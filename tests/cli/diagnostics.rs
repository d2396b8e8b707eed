//! Every code of [`CODES`], provoked by the program and shown as a user sees it. The texts are golden: read them as a user
//! before you accept a change (`INSTA_UPDATE=always cargo test --test cli`).

use std::collections::BTreeSet;
use std::fs;

use stoxnor::diagnostic::CODES;
use stoxnor_testbenches::onnx::{Builder, TensorProto};

use crate::bed::Bed;
use crate::bed::Ended;
use crate::bed::float_bytes;
use crate::bed::npy;
use crate::synth::FULL;

type Fixture = fn(&Bed) -> Ended;

/// x -> BipolarQuant -> 2 x 3 layer -> `activation` -> 3 x 1 layer.
fn model(bed: &Bed, weights: &[f32; 6], activation: fn(&mut Builder, &str) -> String) -> Ended {
    let mut model = Builder::new(&[1, 2]);
    let x = model.bipolar("x", 1.0);
    let w = model.floats(&[2, 3], weights);
    let dots = model.node("MatMul", &[&x, &w], Vec::new());
    let x = activation(&mut model, &dots);
    let w = model.floats(&[3, 1], &[1.0, -1.0, 1.0]);
    let y = model.node("MatMul", &[&x, &w], Vec::new());
    inspect(bed, model.finish(&y))
}

const WEIGHTS: [f32; 6] = [0.5, -0.5, 0.5, 0.5, 0.5, -0.5];

fn inspect(bed: &Bed, bytes: Vec<u8>) -> Ended {
    bed.write("net.onnx", bytes);
    bed.run(&["inspect", "net.onnx"])
}

fn config(bed: &Bed, text: &str) -> Ended {
    bed.write("stoxnor.toml", text);
    bed.run(&["inspect", "m.onnx", "--config", "stoxnor.toml"])
}

fn input(bed: &Bed, content: Vec<u8>) -> Ended {
    bed.write("x.npy", content);
    bed.run(&["run", "m.onnx", "--input", "x.npy", "--output", "y.npy"])
}

/// The check runs in a directory whose name has always as many characters.
fn external(bed: &Bed) -> Ended {
    bed.write("x.npy", npy("<f4", &[1, 24], &float_bytes(&[0.75; 24])));
    bed.faked(&["check", "m.onnx", "--input", "x.npy", "--engines", "reference,icarus"])
}

const FIXTURES: &[(&str, Fixture)] = &[
    ("model-unreadable", |bed| inspect(bed, b"\xff\xd8\xff\xe0\0\x10JFIF\0".to_vec())),
    ("model-invalid", |bed| {
        model(bed, &WEIGHTS, |m, x| {
            let x = m.bipolar(x, 1.0);
            m.graph.nodes.last_mut().unwrap().inputs[0] = "t99".into();
            x
        })
    }),
    ("model-too-large", |bed| {
        let mut huge = Builder::new(&[1, 2]);
        let tensor = TensorProto { dims: vec![1 << 40, 3], ..TensorProto::floats("w", &[], &[]) };
        huge.graph.initialisers.push(tensor);
        let y = huge.node("MatMul", &["x", "w"], Vec::new());
        inspect(bed, huge.finish(&y))
    }),
    ("operator-unsupported", |bed| {
        model(bed, &WEIGHTS, |m, x| {
            let x = m.node("Hardmax", &[x], Vec::new());
            let x = m.node("Det", &[&x], Vec::new());
            m.bipolar(&x, 1.0)
        })
    }),
    ("weights-unsupported", |bed| {
        model(bed, &[0.5, 0.314_159, 0.5, 0.5, 0.271_828, -0.577_216], |m, x| m.bipolar(x, 1.0))
    }),
    ("activation-unsupported", |bed| model(bed, &WEIGHTS, |_, x| x.to_owned())),
    ("input-not-quantised", |bed| {
        let mut raw = Builder::new(&[1, 2]);
        let w = raw.floats(&[2, 1], &[1.0, -1.0]);
        let y = raw.node("MatMul", &["x", &w], Vec::new());
        inspect(bed, raw.finish(&y))
    }),
    ("threshold-inexact", |bed| {
        model(bed, &WEIGHTS, |m, x| {
            let x = m.scalar("Pow", x, -1.0);
            let x = m.scalar("Sub", &x, 0.5);
            m.bipolar(&x, 1.0)
        })
    }),
    ("join-scales", |bed| {
        let mut model = Builder::new(&[1, 2]);
        let x = model.bipolar("x", 1.0);
        let branch = |model: &mut Builder, scale| {
            let w = model.floats(&[2, 2], &[0.5, -0.5, 0.5, 0.5]);
            let y = model.node("MatMul", &[&x, &w], Vec::new());
            model.quant(&y, scale, 3, true, "ROUND")
        };
        let (a, b) = (branch(&mut model, 0.5), branch(&mut model, 0.314_159));
        let sum = model.node("Add", &[&a, &b], Vec::new());
        let w = model.floats(&[2, 1], &[1.0, -1.0]);
        let y = model.node("MatMul", &[&sum, &w], Vec::new());
        inspect(bed, model.finish(&y))
    }),
    ("sum-too-wide", |bed| {
        let mut wide = Builder::new(&[1, 300]);
        let weights: Vec<f32> = (0..300).map(|i| if i % 2 == 0 { 127.0 } else { 126.0 }).collect();
        let w = wide.floats(&[300, 1], &weights);
        let y = wide.node("MatMul", &["x", &w], Vec::new());
        bed.write("net.onnx", wide.finish(&y));
        bed.write("stoxnor.toml", "[input]\nbits = 16\nfraction_bits = 8\n");
        bed.run(&["inspect", "net.onnx", "--config", "stoxnor.toml"])
    }),
    ("lanes-do-not-divide", |bed| {
        config(bed, "[layers.l1_dense]\npe = 5\nsimd = 7\n[layers.l3_dense]\npe = 3\n")
    }),
    ("config-unreadable", |bed| config(bed, "[target]\ncycles = \"many\"\n")),
    ("config-unknown-key", |bed| config(bed, "[layers.l1_dense]\nsmid = 8\n\n[traget]\ncycles = 100\n")),
    ("config-value", |bed| bed.run(&["inspect", "m.onnx", "--fps", "1000"])),
    ("input-unreadable", |bed| input(bed, npy("<f8", &[1, 24], &[0; 192]))),
    ("input-shape", |bed| input(bed, npy("|u1", &[2, 28], &[0; 56]))),
    ("input-value", |bed| {
        let mut values = [0.75; 48];
        values[29] = f32::NAN;
        input(bed, npy("<f4", &[2, 24], &float_bytes(&values)))
    }),
    ("output-exists", |bed| {
        fs::create_dir(bed.path("out")).unwrap();
        bed.write("out/notes.txt", "mine");
        bed.run(&["compile", "m.onnx", "--out", "out", "--force"])
    }),
    ("output-unwritable", |bed| bed.run(&["compile", "m.onnx", "--out", "m.onnx/out"])),
    ("part-too-small", |bed| {
        bed.program("yosys", FULL);
        bed.program("nextpnr-ice40", "echo 'nextpnr-ice40 (Version 0.4)' >&2");
        bed.faked(&["synth", "m.onnx", "--part", "up5k"])
    }),
    ("tool-missing", |bed| {
        bed.write("x.npy", npy("<f4", &[1, 24], &float_bytes(&[0.75; 24])));
        bed.without_tools(&["check", "m.onnx", "--input", "x.npy", "--engines", "reference,verilator"])
    }),
    ("tool-failed", |bed| {
        bed.program("iverilog", "echo 'm_top.v:7: syntax error'; echo 'I give up.' >&2; exit 2");
        external(bed)
    }),
    ("board-silent", |bed| {
        bed.write("x.npy", npy("<f4", &[1, 24], &float_bytes(&[0.75; 24])));
        bed.run(&[
            "host",
            "m.onnx",
            "--board",
            "icebreaker",
            "--port",
            "nowhere",
            "--input",
            "x.npy",
            "--output",
            "y.npy",
        ])
    }),
    ("simulation-stuck", |bed| {
        bed.program("vvp", "echo 'end 99' >trace.txt");
        bed.write("x.npy", npy("<f4", &[1, 24], &float_bytes(&[0.75; 24])));
        bed.faked(&["run", "m.onnx", "--input", "x.npy", "--output", "y.npy", "--engine", "icarus"])
    }),
];

/// Names of temporary directories are random.
fn settled(text: &str) -> String {
    let mark = std::env::temp_dir().join("stoxnor-").display().to_string();
    let mut parts = text.split(&mark);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let name = part.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(part.len());
        let _ = fs::remove_dir_all(format!("{mark}{}", &part[..name]));
        out += &format!("TMP/stoxnor-XXXXXX{}", &part[name..]);
    }
    out
}

#[test]
fn every_code_has_a_fixture() {
    let have: BTreeSet<&str> = FIXTURES.iter().map(|(word, _)| *word).collect();
    // No input of ours provokes a fault of ours: a test of src/cli/mod.rs does.
    let there_are: BTreeSet<&str> = CODES.iter().map(|c| c.word).filter(|w| *w != "internal-error").collect();
    assert_eq!(have, there_are);
    assert_eq!(FIXTURES.len(), have.len(), "one fixture each");
}

#[test]
fn every_code_says_its_fact_its_place_and_a_way_out() {
    for (word, fixture) in FIXTURES {
        let code = CODES.iter().find(|c| c.word == *word).expect("a code");
        let bed = Bed::new();
        let ended = fixture(&bed);
        assert_eq!(ended.code, Some(code.exit.into()), "{word}");
        let ended = ended.with(code.exit.into());
        // Only inspect and synth say something beside the errors: how far the model got, and what it would take.
        let more = ["cannot be compiled", "the part"].iter().any(|says| ended.out.contains(says));
        assert!(ended.out.is_empty() || more, "{word}: {}", ended.out);
        let text = settled(&ended.err);
        let said = text.lines().filter_map(|l| l.strip_prefix("error[")?.split(']').next());
        let said: Vec<&str> = said.collect();
        assert!(!said.is_empty() && said.iter().all(|w| w == word), "{word} alone: {text}");
        assert!(text.contains("\n--> "), "{word} has no place: {text}");
        assert!(text.contains("\n = help: "), "{word} has no way out: {text}");
        insta::assert_snapshot!(*word, text.trim_end());
    }
}

/// x -> BipolarQuant, then one layer of real weights behind another: all have the same fault.
#[test]
fn errors_of_one_kind_are_one_block_with_a_count_and_the_first_places() {
    let mut model = Builder::new(&[1, 4]);
    let mut x = model.bipolar("x", 1.0);
    for layer in 0..8u8 {
        let weight = |i: u8| 0.1 + f32::from(i * (layer + 3)).sqrt();
        let w = model.floats(&[4, 4], &(0..16).map(weight).collect::<Vec<_>>());
        let sums = model.node("MatMul", &[&x, &w], Vec::new());
        x = model.bipolar(&sums, 1.0);
    }
    let bed = Bed::new();
    bed.write("net.onnx", model.finish(&x));
    let said = bed.run(&["inspect", "net.onnx"]).with(2).err;
    assert_eq!(said.matches("error[weights-unsupported]").count(), 1, "{said}");
    assert_eq!(said.matches("help:").count(), 1, "{said}");
    let places = "--> node MatMul_1 (MatMul, number 2 of the graph), node MatMul_3 (MatMul, number 4 of the graph), \
                  node MatMul_5 (MatMul, number 6 of the graph) and 5 more\n";
    assert!(said.contains(places), "{said}");
    assert!(said.contains("note: 8 errors of this kind; the message is that of the first\n"), "{said}");
    // Every command that reads the model says the same, and nothing on standard output.
    for command in [&["inspect", "net.onnx", "--json"][..], &["compile", "net.onnx", "--out", "out"]] {
        let ended = bed.run(command).with(2);
        assert_eq!((ended.err, ended.out), (said.clone(), String::new()), "{command:?}");
    }
}

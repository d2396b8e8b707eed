//! `eval`: IDX and npy, counts, ties, and what is refused.

use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use serde_json::json;
use stoxnor_testbenches::data::{data_dir, read_npy};

use crate::bed::Bed;
use crate::bed::Ended;
use crate::bed::bytes;
use crate::bed::npy;

const FRAMES: usize = 50;
const CLASSES: usize = 4;

/// The answers that the outputs of `run` decide on: the first maximum, and whether there are several.
fn answers(bed: &Bed) -> Vec<(usize, bool)> {
    bed.run(&["run", "m.onnx", "--input", "x.npy", "--output", "y.npy", "--scale", "1/255"]).with(0);
    let outputs = read_npy(&bed.path("y.npy")).unwrap();
    let answer = |row: &[f64]| {
        let most = row.iter().copied().fold(f64::MIN, f64::max);
        let of_it: Vec<usize> = (0..row.len()).filter(|i| row[*i] == most).collect();
        (of_it[0], of_it.len() > 1)
    };
    outputs.rows().map(answer).collect()
}

fn idx(extents: &[u32], data: &[u8]) -> Vec<u8> {
    let extents: Vec<u8> = extents.iter().flat_map(|e| e.to_be_bytes()).collect();
    [&[0, 0, 8, (extents.len() / 4) as u8][..], &extents, data].concat()
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

/// Images and labels in every form; half of the labels are wrong by one.
fn bed() -> (Bed, Vec<u8>) {
    let bed = Bed::new();
    let raw = bytes(FRAMES);
    bed.write("x.npy", npy("|u1", &[FRAMES, 24], &raw));
    let labels: Vec<u8> =
        answers(&bed).iter().enumerate().map(|(i, (class, _))| ((class + i % 2) % CLASSES) as u8).collect();
    bed.write("x.idx", idx(&[FRAMES as u32, 4, 6], &raw));
    bed.write("x.idx.gz", gzip(&idx(&[FRAMES as u32, 4, 6], &raw)));
    bed.write("y.idx", idx(&[FRAMES as u32], &labels));
    bed.write(
        "labels.npy",
        npy("<i8", &[FRAMES], &labels.iter().flat_map(|l| i64::from(*l).to_le_bytes()).collect::<Vec<_>>()),
    );
    (bed, labels)
}

fn eval(bed: &Bed, images: &str, labels: &str, more: &[&str]) -> Ended {
    let arguments = ["eval", "m.onnx", "--images", images, "--labels", labels, "--scale", "1/255"];
    bed.run(&[&arguments[..], more].concat())
}

#[test]
fn every_form_of_images_and_labels_and_every_engine_gives_the_same_counts() {
    let (bed, labels) = bed();
    let answers = answers(&bed);
    let mut counts = vec![vec![0; CLASSES]; CLASSES];
    answers.iter().zip(&labels).for_each(|((class, _), label)| counts[usize::from(*label)][*class] += 1);
    let ties = answers.iter().filter(|a| a.1).count();
    let wanted = json!({
        "total": FRAMES, "results": [{"members": 1, "correct": FRAMES / 2}], "counts": counts, "ties": ties,
    });
    for (images, labels) in [("x.npy", "y.idx"), ("x.idx", "labels.npy"), ("x.idx.gz", "y.idx")] {
        assert_eq!(eval(&bed, images, labels, &["--json"]).with(0).json(), wanted, "{images} {labels}");
    }
    for engine in ["reference", "rtl"] {
        assert_eq!(
            eval(&bed, "x.npy", "y.idx", &["--json", "--engine", engine]).with(0).json(),
            wanted,
            "{engine}"
        );
    }
    let words = eval(&bed, "x.idx", "y.idx", &["--confusion"]).with(0).out;
    assert!(words.contains(&format!("{} of {FRAMES} correct: 50.00 %", FRAMES / 2)), "{words}");
    assert!(words.contains("label \\ answer"), "{words}");
    assert_eq!(words.contains("several largest outputs"), ties > 0, "{words}");
}

#[test]
fn what_does_not_fit_is_refused() {
    let (bed, labels) = bed();
    bed.write("short.idx", idx(&[3], &labels[..3]));
    bed.write("flat.idx", idx(&[5, 10], &labels));
    bed.write("class.idx", idx(&[FRAMES as u32], &[9; FRAMES]));
    bed.write("cut.idx", &idx(&[FRAMES as u32], &labels)[..20]);
    bed.write("cut.gz", &gzip(&idx(&[FRAMES as u32], &labels))[..30]);
    bed.write("floats.npy", npy("<f4", &[FRAMES], &[0; 4 * FRAMES]));
    bed.write("negative.npy", npy("<i4", &[1], &(-1i32).to_le_bytes()));
    bed.write("wide.idx", idx(&[FRAMES as u32, 5, 6], &[0; 30 * FRAMES]));
    for (images, labels, word) in [
        ("x.idx", "short.idx", "3 labels for 50 images"),
        ("x.idx", "flat.idx", "not [N]"),
        ("x.idx", "class.idx", "label 9 of frame 0, where the network has 4 classes"),
        ("x.idx", "cut.idx", "12 bytes follow"),
        ("x.idx", "cut.gz", "labels are an IDX file"),
        ("x.idx", "floats.npy", "of type <f4"),
        ("x.idx", "negative.npy", "the label -1"),
        ("x.idx", "nothing", "No such file"),
        ("wide.idx", "y.idx", "50 frames of 30 elements, not of 24"),
        ("cut.idx", "y.idx", "bytes follow"),
    ] {
        let ended = eval(&bed, images, labels, &[]).with(2);
        assert!(ended.err.contains(word), "{images} {labels}: {}", ended.err);
        assert_eq!(ended.out, "");
    }
}

/// The public network on the whole test set, from the files as they are published.
#[test]
fn the_public_network_has_its_published_accuracy() {
    let Some(data) = data_dir() else { return };
    let path = |name: &str| data.join(name).canonicalize().unwrap().display().to_string();
    let (images, labels) = (path("mnist/t10k-images-idx3-ubyte.gz"), path("mnist/t10k-labels-idx1-ubyte.gz"));
    let bed = Bed::new();
    for (model, scale) in [("qonnx-zoo/TFC_1W1A.onnx", "1/255"), ("finn-tfc-w1a1/model.onnx", "1")] {
        let ended = bed.run(&[
            "eval",
            &path(model),
            "--images",
            &images,
            "--labels",
            &labels,
            "--scale",
            scale,
            "--json",
        ]);
        let found = ended.with(0).json();
        assert_eq!(found["total"], 10_000);
        assert_eq!(found["results"], json!([{"members": 1, "correct": 9296}]), "{model}");
    }
}

/// Labels are the true answers; the graph ends in every way that decides on a class.
#[test]
fn outputs_are_read_by_what_the_graph_ends_in() {
    use stoxnor_testbenches::onnx::{Attribute, Builder};
    type Tail = fn(&mut Builder, &str) -> String;
    let index: Tail = |m, y| {
        let y = m.node("ArgMax", &[y], vec![Attribute::int("axis", 1)]);
        m.node("Squeeze", &[&y], vec![Attribute::ints("axes", &[1])])
    };
    let plain: Tail = |_, y| y.to_owned();
    let flat: Tail = |m, y| m.node("Flatten", &[y], vec![]);
    let sigmoid: Tail = |m, y| m.node("Sigmoid", &[y], vec![]);
    for (name, outputs, tail) in [
        ("index", 3, index),
        ("plain", 3, plain),
        ("flat", 3, flat),
        ("score", 1, plain),
        ("sigmoid", 1, sigmoid),
    ] {
        let bed = Bed::new();
        let mut m = Builder::new(&[1, 24]);
        let x = m.scalar("Sub", "x", 127.5);
        let x = m.bipolar(&x, 1.0);
        let weights: Vec<f32> =
            (0..24 * outputs).map(|i| if (i * i + i / 3) % 5 < 2 { 1.0 } else { -1.0 }).collect();
        let w = m.floats(&[24, outputs], &weights);
        let y = m.node("MatMul", &[&x, &w], vec![]);
        let y = tail(&mut m, &y);
        bed.write("m.onnx", m.finish(&y));
        let raw = bytes(FRAMES);
        bed.write("x.npy", npy("|u1", &[FRAMES, 24], &raw));
        let label = |frame: &[u8]| {
            let sum = |o: usize| -> i32 {
                let sign = |i: usize| weights[i * outputs + o] as i32;
                frame.iter().enumerate().map(|(i, p)| if *p > 127 { sign(i) } else { -sign(i) }).sum()
            };
            let sums: Vec<i32> = (0..outputs).map(sum).collect();
            if outputs == 1 {
                u8::from(sums[0] > 0)
            } else {
                (0..outputs).rev().max_by_key(|o| sums[*o]).unwrap() as u8
            }
        };
        let labels: Vec<u8> = raw.chunks(24).map(label).collect();
        bed.write("y.idx", idx(&[FRAMES as u32], &labels));
        let found =
            bed.run(&["eval", "m.onnx", "--images", "x.npy", "--labels", "y.idx", "--json"]).with(0).json();
        assert_eq!(found["results"][0]["correct"], FRAMES, "{name}");
    }
}

#[test]
fn a_bomb_and_a_header_of_no_axes_are_refused() {
    let (bed, _) = bed();
    bed.write("none.idx", [0, 0, 8, 0, 7]);
    bed.write(
        "bomb.gz",
        gzip(&[&[0, 0, 8, 3, 0, 0, 0, 9, 0, 0, 0, 4, 0, 0, 0, 6][..], &vec![0; 50_000_000]].concat()),
    );
    bed.write("huge.npy", npy("<i8", &[FRAMES], &[0x7f; 8 * FRAMES]));
    for (images, labels) in
        [("none.idx", "y.idx"), ("bomb.gz", "y.idx"), ("x.npy", "huge.npy"), ("x.npy", "none.idx")]
    {
        let ended = eval(&bed, images, labels, &[]).with(2);
        assert_eq!(ended.out, "");
    }
}

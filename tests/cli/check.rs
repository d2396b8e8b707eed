//! check: what it compares, its JSON, its exit codes, the waveform's place.

use std::fs::File;
use std::io::BufReader;

use serde_json::{Value, json};

use crate::bed::Bed;
use crate::commands::keys;

const CHECK: [&str; 4] = ["check", "m.onnx", "--input", "x.npy"];

/// A `vvp` that runs the real one and then changes the trace that it left, as a simulator with a fault would.
fn fault(bed: &Bed, change: &str) {
    let real = bed.shell("command -v vvp").out;
    bed.program("vvp", &format!("{} \"$@\" || exit 1\n{change} trace.txt >t && mv t trace.txt", real.trim()));
}

#[test]
fn json_has_exactly_the_keys_of_the_contract() {
    let bed = Bed::with_frames(5);
    let ended = bed.run(&[&CHECK[..], &["--json"]].concat()).with(0);
    assert_eq!(ended.err, "");
    let report = ended.json();
    assert_eq!(
        keys(&report),
        [
            "engines",
            "equal",
            "figures_members",
            "first_difference",
            "frames",
            "interval_cycles",
            "latency_cycles",
            "layers"
        ]
    );
    assert_eq!(
        report["layers"],
        json!([
            {"name": "l1_dense", "elements": 60, "mismatches": 0},
            {"name": "l2_dense", "elements": 40, "mismatches": 0},
            {"name": "l3_dense", "elements": 20, "mismatches": 0},
        ])
    );
    assert_eq!(
        (&report["equal"], &report["frames"], &report["engines"], &report["first_difference"]),
        (&json!(true), &json!(5), &json!(["reference", "fast", "rtl"]), &Value::Null)
    );
    let inspected = bed.run(&["inspect", "m.onnx", "--json"]).with(0).json();
    for figure in ["latency_cycles", "interval_cycles"] {
        assert_eq!(report[figure], inspected[figure], "measured and by the schedule");
    }
}

#[test]
fn frames_engines_and_stalls() {
    let bed = Bed::with_frames(5);
    let report = |arguments: &[&str]| bed.run(&[&CHECK[..], &["--json"], arguments].concat()).with(0).json();
    let plain = report(&[]);
    let few = report(&["--frames", "2", "--engines", "rtl,reference", "--stall", "3"]);
    assert_eq!((&few["frames"], &few["engines"]), (&json!(2), &json!(["rtl", "reference"])));
    assert_eq!(few["layers"][0]["elements"], 24);
    assert_eq!(few["latency_cycles"], plain["latency_cycles"], "figures are always the unstalled ones");
    assert_eq!(few["interval_cycles"], plain["interval_cycles"]);
    assert_eq!(report(&["--frames", "99"])["frames"], 5, "there are no more than five");
    let timeless = report(&["--engines", "reference,fast"]);
    assert_eq!(timeless["interval_cycles"], plain["interval_cycles"], "by the schedule");
    let all = report(&["--engines", "reference,fast,rtl,verilator,icarus", "--frames", "1", "--stall", "1"]);
    assert_eq!(all["engines"].as_array().unwrap().len(), 5);
    assert!(
        bed.run(&[&CHECK[..], &["--engines", "rtl"]].concat()).with(0).out.contains("nothing was compared")
    );
}

#[test]
fn a_simulator_with_a_wrong_value_is_exit_code_1() {
    let bed = Bed::with_frames(2);
    // Layer 2 (tap 1) has one bit an element at PE 1: its element 3 of frame 1 is the 12th beat.
    fault(&bed, r#"awk '$1 == 1 && ++n == 12 { $5 = 1 - $5 } { print }'"#);
    let arguments = [&CHECK[..], &["--engines", "reference,icarus", "--json", "--wave", "w"]].concat();
    let ended = bed.faked(&arguments).with(1);
    let report = ended.json();
    assert_eq!(report["equal"], false);
    let found = &report["first_difference"];
    assert_eq!(
        keys(found),
        ["cycle", "element", "engine", "expected", "found", "frame", "kind", "layer", "member"]
    );
    let (was, is) = (found["expected"].as_i64().unwrap(), found["found"].as_i64().unwrap());
    assert_eq!((was.abs(), is), (1, -was));
    assert_eq!(
        json!([
            found["kind"],
            found["engine"],
            found["layer"],
            found["frame"],
            found["member"],
            found["element"]
        ]),
        json!(["value", "icarus", "l2_dense", 1, 0, 3])
    );
    let mismatches: Vec<&Value> =
        report["layers"].as_array().unwrap().iter().map(|l| &l["mismatches"]).collect();
    assert_eq!(mismatches, [0, 1, 0]);
    assert_eq!(ended.err, "waveform: w/first_difference.vcd\n");
    let cycle = found["cycle"].as_u64().unwrap();
    assert!(window(&bed, "w/first_difference.vcd").contains(&cycle), "the waveform shows cycle {cycle}");
    let words = bed.faked(&[&CHECK[..], &["--engines", "reference,icarus"]].concat()).with(1).out;
    let said = format!("first difference: in icarus at l2_dense, frame 1, element 3, cycle {cycle}");
    assert!(words.contains(&said) && words.contains("DIFFERENT"), "{words}");
    // No output gets lost where the reader has gone: the exit code still says it.
    let gone = "export PATH=$PWD/bin:$PATH; { sleep 0.2; $STOXNOR check m.onnx --input x.npy --engines reference,icarus; echo $? >code; } | true";
    bed.shell(gone);
    assert_eq!(std::fs::read_to_string(bed.path("code")).unwrap(), "1\n");
}

#[test]
fn a_beat_on_another_cycle_is_a_difference() {
    let bed = Bed::with_frames(2);
    fault(&bed, r#"awk '$1 == 2 && ++n == 5 { $2 = $2 + 1 } { print }'"#);
    let report = bed.faked(&[&CHECK[..], &["--engines", "rtl,icarus", "--json"]].concat()).with(1).json();
    let found = &report["first_difference"];
    assert_eq!(
        json!([found["kind"], found["layer"], found["frame"], found["element"]]),
        json!(["cycle", "l3_dense", 1, 0])
    );
    assert_eq!(found["found"].as_i64().unwrap(), found["expected"].as_i64().unwrap() + 1);
    let report =
        bed.faked(&[&CHECK[..], &["--engines", "reference,icarus", "--json"]].concat()).with(0).json();
    assert_eq!(report["equal"], true, "nobody else counts cycles");
}

#[test]
fn a_beat_that_does_not_come_is_a_difference() {
    let bed = Bed::with_frames(2);
    fault(&bed, r#"awk '!($1 == 2 && ++n == 8) { print }'"#);
    let report =
        bed.faked(&[&CHECK[..], &["--engines", "reference,icarus", "--json", "--wave", "w"]].concat());
    let report = report.with(1).json();
    let found = &report["first_difference"];
    assert_eq!(
        json!([
            found["kind"],
            found["layer"],
            found["frame"],
            found["element"],
            found["cycle"],
            found["found"]
        ]),
        json!(["missing", "l3_dense", 1, 3, null, null])
    );
    assert!(found["expected"].is_i64());
}

/// The cycles that a waveform shows: time 10 t is cycle t.
fn window(bed: &Bed, name: &str) -> std::ops::RangeInclusive<u64> {
    let mut parser = vcd::Parser::new(BufReader::new(File::open(bed.path(name)).unwrap()));
    parser.parse_header().unwrap();
    let times: Vec<u64> = parser
        .map(Result::unwrap)
        .filter_map(|command| match command {
            vcd::Command::Timestamp(time) => Some(time / 10),
            _ => None,
        })
        .collect();
    *times.first().unwrap()..=*times.last().unwrap()
}

#[test]
fn the_waveform_of_a_check_without_a_difference_is_the_first_frame() {
    let bed = Bed::with_frames(3);
    let ended = bed.run(&[&CHECK[..], &["--wave", "a/b", "--json"]].concat()).with(0);
    assert_eq!(ended.err, "waveform: a/b/first_frame.vcd\n");
    let latency = ended.json()["latency_cycles"].as_u64().unwrap();
    let shown = window(&bed, "a/b/first_frame.vcd");
    assert_eq!(*shown.start(), 0);
    assert!(
        shown.contains(&latency) && *shown.end() < 2 * latency,
        "{shown:?}, a frame takes {latency} cycles"
    );
    bed.write("file", "");
    let ended = bed.run(&[&CHECK[..], &["--wave", "file/w"]].concat()).with(2);
    assert!(ended.err.contains("output-unwritable"), "{}", ended.err);
}

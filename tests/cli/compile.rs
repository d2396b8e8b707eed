//! compile: what stands in the directory, and what happens to one that is there already.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::bed::Bed;

const COMPILE: [&str; 4] = ["compile", "m.onnx", "--out", "out"];

/// All files below a directory.
fn tree(at: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(at).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        if entry.path().is_dir() {
            let below = tree(&entry.path()).into_iter();
            files.extend(below.map(|(path, content)| (format!("{name}/{path}"), content)));
        } else {
            files.insert(name, fs::read(entry.path()).unwrap());
        }
    }
    files
}

#[test]
fn it_writes_what_its_json_and_manifest_say() {
    let bed = Bed::new();
    let ended = bed.run(&[&COMPILE[..], &["--json"]].concat()).with(0);
    assert_eq!(ended.err, "");
    let said = ended.json();
    let files = tree(&bed.path("out"));
    assert_eq!(said["top"], "m_top");
    assert_eq!(said["files"], Value::from(files.keys().cloned().collect::<Vec<_>>()));
    assert!(files.contains_key("rtl/m_top.v") && files.contains_key("README.md"));
    assert!(files.contains_key("rtl/m_l2_dense.v"));
    let manifest: Value = serde_json::from_slice(&files["manifest.json"]).unwrap();
    assert_eq!(manifest["latency_cycles"], said["latency_cycles"]);
    let readme = String::from_utf8(files["README.md"].clone()).unwrap();
    let tops = files["rtl/m_top.v"].clone();
    assert!(readme.contains("| `ice40-up5k` | ") && readme.contains("| `xc7a100t` | "), "{readme}");
    for port in manifest["ports"].as_array().unwrap() {
        let name = port["name"].as_str().unwrap();
        assert!(
            String::from_utf8_lossy(&tops).contains(name) && readme.contains(&format!(".{name}()")),
            "{name}"
        );
    }
}

#[test]
fn two_compilations_give_identical_bytes() {
    let (one, two) = (Bed::new(), Bed::new());
    one.write("c.toml", "[layers.l2_dense]\npe = 2\n");
    two.write("c.toml", "[layers.l2_dense]\npe = 2\n");
    for bed in [&one, &two] {
        bed.run(&[&COMPILE[..], &["--config", "c.toml"]].concat()).with(0);
    }
    let (a, b) = (tree(&one.path("out")), tree(&two.path("out")));
    assert!(a == b && a.len() > 10, "{:?} and {:?}", a.keys(), b.keys());
    two.write("c.toml", "[layers.l2_dense]\npe = 4\n");
    two.run(&[&COMPILE[..], &["--config", "c.toml", "--force"]].concat()).with(0);
    assert!(tree(&two.path("out")) != a, "another folding is another design");
}

#[test]
fn an_existing_directory_needs_force() {
    let bed = Bed::new();
    bed.run(&COMPILE).with(0);
    let before = tree(&bed.path("out"));
    assert!(bed.run(&COMPILE).with(2).err.contains("output-exists"));
    assert_eq!(tree(&bed.path("out")), before);
    let force = [&COMPILE[..], &["--force"]].concat();
    fs::write(bed.path("out/rtl/mine.v"), "// years of work").unwrap();
    let refused = bed.run(&force).with(2).err;
    assert!(refused.contains("1 file that compile did not write, rtl/mine.v"), "{refused}");
    assert!(bed.path("out/rtl/mine.v").exists());
    fs::remove_file(bed.path("out/rtl/mine.v")).unwrap();
    // What the test bench leaves goes with the rest.
    fs::write(bed.path("out/tb/icarus.log"), "PASS").unwrap();
    fs::write(bed.path("out/rtl/m_l1_dense.v"), "changed").unwrap();
    bed.run(&force).with(0);
    assert_eq!(tree(&bed.path("out")), before, "replaced as a whole");
    assert_eq!(bed.list("."), ["m.onnx", "out"]);
    fs::create_dir(bed.path("empty")).unwrap();
    assert!(bed.run(&["compile", "m.onnx", "--out", "empty"]).with(2).err.contains("output-exists"));
    bed.run(&["compile", "m.onnx", "--out", "empty", "--force"]).with(0);
    assert_eq!(tree(&bed.path("empty")), before);
}

#[test]
fn force_leaves_what_compile_did_not_write() {
    let bed = Bed::new();
    fs::create_dir(bed.path("mine")).unwrap();
    bed.write("mine/thesis.tex", "years of work");
    fs::create_dir(bed.path("other")).unwrap();
    bed.write("other/manifest.json", "{\"name\": \"a browser extension\"}");
    bed.write("file", "text");
    bed.run(&COMPILE).with(0);
    std::os::unix::fs::symlink("out", bed.path("link")).unwrap();
    let before = tree(&bed.path("."));
    for out in ["mine", "other", "file", "link", "."] {
        let ended = bed.run(&["compile", "m.onnx", "--out", out, "--force"]).with(2);
        assert!(ended.err.contains("output-exists"), "{out}: {}", ended.err);
        assert_eq!(tree(&bed.path(".")), before, "{out}");
    }
}

/// Tests run as root too, which may write everywhere: so below a file, and where a file may not grow.
#[test]
fn a_write_that_fails_leaves_nothing_behind() {
    let bed = Bed::new();
    bed.write("file", "");
    for out in ["file/out", "file/sub/out", "no/such/parent"] {
        let ended = bed.run(&["compile", "m.onnx", "--out", out]).with(2);
        assert!(ended.err.contains("output-unwritable") && ended.err.contains("parent"), "{}", ended.err);
    }
    assert_eq!(bed.list("."), ["file", "m.onnx"]);
    // Files may have 1 kB: some are written, then one is too long.
    let limited = "trap '' XFSZ; ulimit -f 1; exec $STOXNOR compile m.onnx --out out";
    let ended = bed.shell(limited).with(2);
    assert!(ended.err.contains("output-unwritable"), "{}", ended.err);
    assert_eq!(bed.list("."), ["file", "m.onnx"]);
    bed.run(&COMPILE).with(0);
    let before = tree(&bed.path("out"));
    bed.shell(&format!("{limited} --force")).with(2);
    assert_eq!(tree(&bed.path("out")), before, "the old one stays");
    assert_eq!(bed.list("."), ["file", "m.onnx", "out"]);
}

#[test]
fn a_name_of_a_model_becomes_a_module_name() {
    let bed = Bed::new();
    fs::rename(bed.path("m.onnx"), bed.path("2 Layers-of.mine.onnx")).unwrap();
    let said = bed.run(&["compile", "2 Layers-of.mine.onnx", "--out", "out", "--json"]).with(0).json();
    assert_eq!(said["top"], "m2_layers_of_mine_top");
    assert!(bed.path("out/rtl/m2_layers_of_mine_top.v").is_file());
}

#[test]
fn every_module_and_image_begins_with_the_core_s_name() {
    let bed = Bed::new();
    bed.run(&[&COMPILE[..], &["--name", "sorter"]].concat()).with(0);
    let files = tree(&bed.path("out"));
    let rtl: Vec<&String> = files.keys().filter(|name| name.starts_with("rtl/")).collect();
    assert!(rtl.len() > 10 && rtl.iter().all(|name| name.starts_with("rtl/sorter_")), "{rtl:?}");
    for name in ["Sorter", "2nd", "module", "a-b", ""] {
        let refused = bed.run(&["inspect", "m.onnx", "--name", name]).with(2).err;
        assert!(refused.contains("config-value") && refused.contains("--name"), "{refused}");
    }
    fs::copy(bed.path("m.onnx"), bed.path(&format!("{}.onnx", "n".repeat(200)))).unwrap();
    bed.run(&["compile", &format!("{}.onnx", "n".repeat(200)), "--out", "long"]).with(0);
    let longest = tree(&bed.path("long")).into_keys().map(|name| name.len()).max();
    assert!(longest < Some("rtl/.mem".len() + 101), "{longest:?}");
}

#[test]
fn inline_memories_need_no_file() {
    let bed = Bed::new();
    bed.run(&[&COMPILE[..], &["--memories", "inline"]].concat()).with(0);
    let files = tree(&bed.path("out"));
    assert!(
        !files.keys().any(|name| name.starts_with("rtl/") && name.ends_with(".mem")),
        "{:?}",
        files.keys()
    );
    let text = String::from_utf8_lossy(&files["rtl/m_l1_dense_weights.v"]);
    assert!(text.contains("words[0] = ") && !text.contains("$readmemh"), "{text}");
    assert!(bed.run(&["inspect", "m.onnx", "--memories", "flash"]).with(2).err.contains("files or inline"));
}

/// The second layer counts its four lanes in portable cells, and its 1,024 words are a block RAM all the same.
#[test]
fn the_family_ecp5_has_block_rams_for_units_of_every_form() {
    let bed = Bed::new();
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/models/dense_784_64_64_64_10.onnx");
    let arguments = ["compile", model, "--clock-mhz", "100", "--name", "core", "--out", "out"];
    for (family, placed) in [("generic", false), ("ecp5", true)] {
        bed.run(&[&arguments[..], &["--force", "--family", family]].concat()).with(0);
        let files = bed.list("out/rtl");
        let has = |name: &str| files.contains(&name.to_owned());
        assert_eq!(has("core_l2_dense_weights.v"), placed, "{family}: {files:?}");
        assert_eq!(has("core_l2_dense_weights.mem"), !placed, "{family}: {files:?}");
        assert!(has("core_xnor_popcount_4.v"), "{family}: {files:?}");
    }
}

#[test]
fn the_family_ice40_has_block_rams_for_written_memories() {
    let bed = Bed::new();
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/models/dense_784_64_64_64_10.onnx");
    for (family, asked) in [("generic", false), ("ice40", true)] {
        bed.run(&["compile", model, "--family", family, "--name", "core", "--out", "out", "--force"]).with(0);
        let text = |file: &str| fs::read_to_string(bed.path("out/rtl").join(file)).unwrap();
        assert_eq!(text("core_ram_64x1.v").contains("ram_style = \"block\""), asked, "{family}");
        assert!(text("core_ram_64x1.v").contains("no_rw_check"), "{family}");
    }
}

#[test]
fn a_clock_chooses_registers_and_a_form_must_fit_its_layer() {
    let bed = Bed::new();
    let layers = |arguments: &[&str]| {
        let said = bed.run(&[&["inspect", "m.onnx", "--json"], arguments].concat()).with(0).json();
        said["layers"].as_array().unwrap().iter().map(|l| l["cuts"].clone()).collect::<Vec<_>>()
    };
    assert!(layers(&[]).iter().all(|cuts| cuts == "fewest"), "no clock, no registers");
    let fast = layers(&["--clock-mhz", "1000"]);
    assert!(fast.iter().all(|cuts| cuts != "fewest"), "{fast:?}");
    assert_ne!(layers(&["--clock-mhz", "90"]), layers(&["--clock-mhz", "90", "--family", "ice40"]));
    bed.write("c.toml", "[layers.l1_dense]\ncuts = \"trees\"\nsimd = 1\nform = \"parity\"\n");
    let refused = bed.run(&["inspect", "m.onnx", "--config", "c.toml"]).with(2).err;
    assert!(refused.contains("config-value") && refused.contains("layers.l1_dense.form"), "{refused}");
    bed.write("c.toml", "[layers.l1_dense]\nthresholds = \"search\"\n");
    let refused = bed.run(&["inspect", "m.onnx", "--config", "c.toml"]).with(2).err;
    assert!(refused.contains("config-value") && refused.contains("layers.l1_dense.thresholds"), "{refused}");
    let carry = "[layers.l1_dense]\nsimd = 8\nform = \"carry\"\n";
    bed.write("c.toml", carry);
    let refused = bed.run(&["inspect", "m.onnx", "--config", "c.toml"]).with(2).err;
    assert!(refused.contains("config-value") && refused.contains("family = \"ecp5\""), "{refused}");
    bed.write("c.toml", "[layers.l1_dense]\nsimd = 8\n");
    let chosen = bed.run(&["inspect", "m.onnx", "--config", "c.toml", "--family", "ecp5", "--json"]).with(0);
    assert_eq!(
        chosen.json()["layers"][0]["form"],
        "carry",
        "the family's own form, where there are lanes enough"
    );
    bed.run(&["compile", "m.onnx", "--config", "c.toml", "--family", "ecp5", "--out", "cells"]).with(0);
    let text = |file: &String| fs::read_to_string(bed.path("cells/rtl").join(file)).unwrap();
    let made = bed.list("cells/rtl").into_iter().filter(|file| text(file).contains("CCU2C #("));
    assert!(made.into_iter().any(|file| file.contains("popcount")), "a popcount in cells");
    assert!(bed.path("cells/tb/cells/CCU2C.v").is_file());
    let readme = fs::read_to_string(bed.path("cells/README.md")).unwrap();
    assert!(readme.contains("the models in `tb/cells/CCU2C.v`"), "{readme}");
    bed.run(&["compile", "m.onnx", "--config", "c.toml", "--family", "xilinx7", "--out", "slices"]).with(0);
    let models = bed.list("slices/tb/cells");
    assert!(["CARRY4.v", "LUT6_2.v"].iter().all(|cell| models.contains(&(*cell).to_owned())), "{models:?}");
    let slice = "[layers.l1_dense]\nform = \"slice\"\n";
    bed.write("c.toml", slice);
    let refused = bed.run(&["inspect", "m.onnx", "--config", "c.toml", "--family", "ecp5"]).with(2).err;
    assert!(refused.contains("config-value") && refused.contains("family = \"xilinx7\""), "{refused}");
    bed.write("c.toml", "[layers.l1_dense]\ncuts = \"trees\"\n");
    assert_eq!(layers(&["--config", "c.toml"])[0], "trees");
    let refused = bed.run(&["inspect", "m.onnx", "--clock-mhz", "-1"]).with(2).err;
    assert!(refused.contains("target.clock_mhz"), "{refused}");
}

#[test]
fn axis_ports_are_a_module_more_that_the_manifest_describes() {
    let bed = Bed::new();
    bed.run(&COMPILE).with(0);
    let plain = tree(&bed.path("out"));
    bed.run(&[&COMPILE[..], &["--wrap", "axis", "--force"]].concat()).with(0);
    let wrapped = tree(&bed.path("out"));
    for (file, content) in plain.iter().filter(|(file, _)| file.starts_with("rtl/")) {
        assert_eq!(&wrapped[file], content, "{file} is the same with and without");
    }
    let manifest: Value = serde_json::from_slice(&wrapped["manifest.json"]).unwrap();
    let stream = &manifest["axis"]["streams"][0];
    let width = stream["bytes_per_element"].as_u64().unwrap()
        * manifest["input"]["elements_per_beat"].as_u64().unwrap()
        * 8;
    assert_eq!(stream["tdata_bits"], width);
    let verilog = String::from_utf8_lossy(&wrapped["rtl/m_axis.v"]).into_owned();
    assert!(verilog.contains(&format!("input  wire [{}:0] s_axis_tdata", width - 1)), "{verilog}");
    // What the tests of other tools leave does not hinder another compilation.
    for left in
        ["tb/sim_build/sim.vvp", "tb/results.xml", "tb/__pycache__/test.pyc", "__pycache__/m_litex.pyc"]
    {
        let path = bed.path("out").join(left);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }
    bed.run(&[&COMPILE[..], &["--force"]].concat()).with(0);
    assert_eq!(tree(&bed.path("out")), plain);
    let other = bed.run(&["compile", "m.onnx", "--out", "new", "--wrap", "wishbone"]).with(2);
    assert!(other.err.contains("axis"), "{}", other.err);
}

/// The README's row of a part is the estimate for the part; a core of a family's cells has rows of its parts alone.
#[test]
fn the_readme_says_what_parts_need() {
    let bed = Bed::new();
    for (part, other) in [("ecp5-25k", "xc7a35t"), ("xc7a35t", "ecp5-25k")] {
        let arguments = ["compile", "m.onnx", "--out", part, "--part", part, "--json"];
        let said = bed.run(&arguments).with(0).json();
        let readme = fs::read_to_string(bed.path(part).join("README.md")).unwrap();
        let cells = |name: &str| said["estimate"][name].as_u64().unwrap();
        let luts = cells("lut") + 4 * cells("lut_ram");
        let row = format!("| `{part}` | {luts} | {} | {} | yes |", cells("ff"), cells("ram"));
        assert!(readme.contains(&row) && !readme.contains(other), "{row} in {readme}");
    }
}

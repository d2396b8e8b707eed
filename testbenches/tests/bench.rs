//! The test bench that `compile` writes, run by the commands that it writes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use stoxnor::arith::sampling::Realisation;
use stoxnor::arith::stochastic::{Law, Rounding};
use stoxnor::emit;
use stoxnor::emit::Request;
use stoxnor::emit::bench::random_frames;
use stoxnor::lower::lower;
use stoxnor::network::Network;
use stoxnor::unit::family::Family;
use stoxnor::unit::folding::{Counting, Cuts, Folding, Roms};
use stoxnor_hdl::Module;
use stoxnor_hdl::inline::inlined;
use stoxnor_testbenches::conformance::{
    Sampled, default_folds, random, random_dense, random_few_bit, random_folds, random_sampled,
};

/// What `make` prints, and whether it was content.
fn make(directory: &Path, arguments: &[&str]) -> (bool, String) {
    let output = Command::new("make")
        .args(arguments)
        .current_dir(directory.join("tb"))
        .output()
        .expect("make is there");
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

fn models() -> Vec<(Network, Vec<Folding>)> {
    let dense = random_dense(8, &[40, 24, 16, 10]);
    let mut models = vec![(dense.clone(), default_folds(&dense, 60))];
    for seed in [3, 5] {
        let network = random_few_bit(seed, &[12, 8, 6, 4]);
        let folds = random_folds(&mut random(seed), &network);
        models.push((network, folds));
    }
    models
}

#[test]
fn it_passes_in_both_simulators_with_and_without_stalls_and_finds_a_corrupted_memory() {
    for (index, (network, folds)) in models().into_iter().enumerate() {
        let hardware = lower(&network, &folds);
        let temporary = tempfile::tempdir().unwrap();
        let directory = temporary.path().join("out");
        emit::write(
            &directory,
            &emit::files(&network, &hardware, &Request::new(&random_frames(&network, 5, &[]))),
            false,
        )
        .unwrap();
        for simulator in ["icarus", "verilator"] {
            for stall in ["STALL=0", "STALL=1"] {
                let (passed, text) = make(&directory, &[simulator, stall]);
                assert!(
                    passed && text.contains("PASS: 5 frames"),
                    "model {index}, {simulator}, {stall}: {text}"
                );
            }
        }
        // Every digit of a layer's weights turned over: the sums of the last layer, and some activations, must show it.
        for layer in [&network.nodes[0].name, &network.nodes[network.nodes.len() - 1].name] {
            let path = directory.join(format!("rtl/{}_{layer}_weights.mem", network.name));
            let good = fs::read_to_string(&path).unwrap();
            let width = hardware.design.top.parameters.iter().filter_map(|p| p.image.as_ref());
            let width = width.clone().find(|i| path.ends_with(&i.file)).unwrap().words[0].width();
            let turned: String = good
                .lines()
                .map(|line| {
                    let word = stoxnor_hdl::Bits::from_hex(width, line).unwrap();
                    let inverted = word.words().iter().map(|w| !w);
                    format!("{}\n", stoxnor_hdl::Bits::from_words(width, inverted))
                })
                .collect();
            fs::write(&path, turned).unwrap();
            for simulator in ["icarus", "verilator"] {
                let (passed, text) = make(&directory, &[simulator]);
                let found = format!("FAIL: first difference at {layer}, frame ");
                assert!(!passed && text.contains(&found), "model {index}, {layer} in {simulator}: {text}");
            }
            fs::write(&path, good).unwrap();
        }
    }
}

/// What becomes of a design's memories.
type Memories = fn(&Arc<Module>) -> Arc<Module>;

/// A network's files in a new directory.
fn written(network: &Network, folds: &[Folding], memories: Memories) -> (tempfile::TempDir, PathBuf) {
    let mut hardware = lower(network, folds);
    hardware.design.top = memories(&hardware.design.top);
    let temporary = tempfile::tempdir().unwrap();
    let directory = temporary.path().join("out");
    let files = emit::files(network, &hardware, &Request::new(&random_frames(network, 2, &[])));
    emit::write(&directory, &files, false).unwrap();
    (temporary, directory)
}

#[test]
fn a_missing_or_short_memory_image_ends_the_simulation() {
    let network = random_dense(8, &[24, 16, 4]);
    let (_kept, directory) = written(&network, &default_folds(&network, 60), Arc::clone);
    let path = directory.join("rtl/conformance_l1_dense_weights.mem");
    let whole = fs::read_to_string(&path).unwrap();
    for simulator in ["icarus", "verilator"] {
        fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        let (passed, text) = make(&directory, &[simulator]);
        assert!(!passed && text.contains("FAIL: memory image"), "short, {simulator}: {text}");
        fs::remove_file(&path).unwrap();
        let (passed, text) = make(&directory, &[simulator]);
        assert!(!passed && text.contains("has 0 bytes"), "missing, {simulator}: {text}");
    }
}

#[test]
fn inline_memories_pass_without_files() {
    for (network, folds) in models() {
        let (_kept, directory) = written(&network, &folds, inlined);
        for simulator in ["icarus", "verilator"] {
            let (passed, text) = make(&directory, &[simulator]);
            assert!(passed, "{simulator}: {text}");
        }
    }
}

/// Two cores that have blocks in common, in one design: both are elaborated side by side, and each passes its bench among the files
/// of both.
#[test]
fn two_cores_fit_one_design() {
    let mut networks = [random_dense(8, &[24, 16, 4]), random_dense(9, &[24, 16, 4])];
    let mut pair = "module pair (input wire clk, input wire rst);\n".to_owned();
    let cores: Vec<_> = ["left", "right"]
        .into_iter()
        .zip(&mut networks)
        .map(|(name, network)| {
            name.clone_into(&mut network.name);
            pair += &format!("  {name}_top u_{name} (.clk(clk), .rst(rst), .s_data(), .s_valid(1'b0), .s_last(1'b0), .s_ready(), .m_data(), .m_valid(), .m_last(), .m_ready(1'b1));\n");
            written(network, &default_folds(network, 60), Arc::clone)
        })
        .collect();
    pair += "endmodule\n";
    let mut files: Vec<PathBuf> = cores
        .iter()
        .flat_map(|(_, core)| fs::read_dir(core.join("rtl")).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "v"))
        .collect();
    for (_, core) in &cores {
        let design: Vec<String> = files.iter().map(|f| f.display().to_string()).collect();
        for simulator in ["icarus", "verilator"] {
            let (passed, text) = make(core, &[simulator, &format!("DESIGN={}", design.join(" "))]);
            assert!(passed, "{simulator}: {text}");
        }
    }
    let beside = tempfile::tempdir().unwrap();
    let path = beside.path().join("pair.v");
    fs::write(&path, pair).unwrap();
    files.push(path);
    for command in [
        "iverilog -g2005 -s pair -o pair",
        "verilator --lint-only -Wall -Wno-PINCONNECTEMPTY -Wno-PINMISSING --top-module pair",
    ] {
        let mut words = command.split(' ');
        let tool = words.next().unwrap();
        let output = Command::new(tool).args(words).args(&files).current_dir(&beside).output().unwrap();
        assert!(output.status.success(), "{tool}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// A synthesis by yosys: the family's directory, the form of matrix units, the commands, and a cell that occurs in the netlist.
type Synthesis = (&'static str, Counting, &'static str, &'static str);

/// What yosys makes of a network passes the bench.
fn netlist_passes(network: &Network, (family, form, synth, cell): Synthesis) {
    let roms = if family == "ecp5" { Roms::Ecp5 } else { Roms::Inferred };
    let folds = [(4, 8), (1, 8)].map(|(pe, simd)| Folding {
        cuts: Cuts::Trees,
        form,
        roms,
        ..Folding::new(pe, simd)
    });
    let memories: Memories = if family == "ice40" { |top| Family::Ice40.placed(top) } else { Arc::clone };
    let (_kept, directory) = written(network, &folds, memories);
    let script = format!("read_verilog *.v; {synth}; write_verilog -noattr ../tb/net.v");
    let output = Command::new("yosys")
        .args(["-q", "-p", &script])
        .current_dir(directory.join("rtl"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let netlist = fs::read_to_string(directory.join("tb/net.v")).unwrap();
    assert!(netlist.contains(cell), "{family}: no {cell} is used");
    let share = yosys_share();
    let cells = fs::read_to_string(share.join(family).join("cells_sim.v")).unwrap();
    let cells = match cells.split_once("module DP16KD") {
        Some((before, after)) => before.to_owned() + after.split_once("endmodule").unwrap().1,
        None => cells,
    };
    fs::write(directory.join("tb/cells.v"), cells).unwrap();
    let flags = format!("FLAGS=-DNO_ICE40_DEFAULT_ASSIGNMENTS -I{}", share.join(family).display());
    let model = if family == "ecp5" { "models/dp16kd.v" } else { "" };
    let design = format!("DESIGN=net.v cells.v {model}");
    for stall in ["STALL=0", "STALL=1"] {
        let (passed, text) = make(&directory, &["icarus", "OUTPUTS_ONLY=1", stall, &design, &flags]);
        assert!(passed && text.contains("every beat of the outputs"), "{family}, {stall}: {text}");
    }
    // A weight memory of the netlist that holds the complement of its contents shows at the outputs; where memories are logic, a pair of
    // lanes whose sum is turned over.
    let faulty = match form {
        Counting::Slice => netlist.replacen("64'h9669", "64'h6996", 1),
        _ => inverted(&netlist),
    };
    assert_ne!(faulty, netlist, "{family}");
    fs::write(directory.join("tb/net.v"), faulty).unwrap();
    let (passed, text) = make(&directory, &["icarus", "OUTPUTS_ONLY=1", &design, &flags]);
    assert!(!passed && text.contains("FAIL: first difference at "), "{family}: {text}");
}

/// yosys' models of cells.
pub(crate) fn yosys_share() -> PathBuf {
    let found = |path: PathBuf| path.join("yosys").is_file().then(|| path.join("../share/yosys"));
    std::env::split_paths(&std::env::var_os("PATH").unwrap()).find_map(found).expect("yosys is there")
}

/// A netlist in which every initial word of a block RAM has 0 for 1 and 1 for 0.
fn inverted(netlist: &str) -> String {
    let memory = |line: &str| [".INIT_", ".INITVAL_"].iter().any(|name| line.trim_start().starts_with(name));
    let line = |line: &str| match memory(line) {
        true => match line.split_once("'h") {
            Some((front, digits)) => {
                let end = digits.find(|c: char| !c.is_ascii_hexdigit() && c != 'x').unwrap_or(digits.len());
                let turned = digits[..end]
                    .chars()
                    .map(|c| c.to_digit(16).map_or(c, |d| char::from_digit(15 - d, 16).expect("a digit")));
                format!("{front}'h{}{}\n", turned.collect::<String>(), &digits[end..])
            }
            None => format!("{line}\n"),
        },
        false => format!("{line}\n"),
    };
    netlist.lines().map(line).collect()
}

const ECP5: Synthesis = ("ecp5", Counting::Carry, "synth_ecp5 -nowidelut -top conformance_top", "DP16KD");
const ICE40: Synthesis = ("ice40", Counting::Parity, "synth_ice40 -top conformance_top", "SB_RAM40_4K");
/// Memories become logic: yosys has no behaviour of RAMB18E1. The attribute `rom_style` would have block RAM in spite of `-nobram`.
const XILINX: Synthesis = (
    "xilinx",
    Counting::Slice,
    "synth_xilinx -flatten -nobram -top conformance_top -run begin:map_memory; \
     setattr -unset rom_style t:$mem*; \
     synth_xilinx -flatten -nobram -top conformance_top -run map_memory:",
    "LUT6_2",
);

fn on_the_fly() -> Network {
    let rounding = Rounding { law: Law::Ternary, bits: 1, share: 4, seed: 1 };
    let realisations = vec![Some(Realisation::Fly)];
    random_sampled(3, &[96, 64, 8], &Sampled { rounding, realisations, members: 2, own_thresholds: false })
}

#[test]
fn a_netlist_of_binary_weights_passes_on_ice40() {
    netlist_passes(&random_dense(8, &[96, 64, 8]), ICE40);
}

#[test]
fn a_netlist_of_binary_weights_passes_on_xilinx() {
    netlist_passes(&random_dense(9, &[96, 64, 8]), XILINX);
}

#[test]
fn a_netlist_of_weights_rounded_on_the_fly_passes_on_ecp5() {
    netlist_passes(&on_the_fly(), ECP5);
}

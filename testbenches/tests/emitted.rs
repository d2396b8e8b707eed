//! The emitted Verilog as a product: clean under two linters without a waiver, the same bytes every time, block RAM inferable.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use stoxnor::arith::sampling::Realisation;
use stoxnor::arith::stochastic::{Law, Rounding};
use stoxnor::emit;
use stoxnor::emit::Request;
use stoxnor::emit::bench::random_frames;
use stoxnor::layer::KINDS;
use stoxnor::lower::{Hardware, lower};
use stoxnor::network::Network;
use stoxnor::unit::folding::Folding;
use stoxnor_testbenches::conformance::{
    Sampled, default_folds, random, random_dense, random_few_bit, random_folds, random_sampled, single,
};

fn written(network: &Network, hardware: &Hardware) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    emit::write(
        &directory.path().join("out"),
        &emit::files(network, hardware, &Request::new(&random_frames(network, 2, &[]))),
        false,
    )
    .unwrap();
    directory
}

fn run(program: &str, arguments: &[&str], files: &[String], directory: &Path) -> String {
    let output = Command::new(program)
        .args(arguments)
        .args(files)
        .current_dir(directory)
        .output()
        .unwrap_or_else(|e| panic!("{program} is needed for the tests: {e}"));
    let text = [output.stdout, output.stderr].concat();
    format!("{}{}", String::from_utf8_lossy(&text), if output.status.success() { "" } else { "FAILED" })
}

fn verilog_files(directory: &Path) -> Vec<String> {
    let names = fs::read_dir(directory).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|n| n.ends_with(".v")).collect();
    names.sort();
    names
}

fn designs() -> Vec<(String, Network, Vec<Folding>)> {
    let mut designs = Vec::new();
    let large = random_dense(3, &[784, 64, 64, 64, 10]);
    designs.push(("default folding".to_owned(), large.clone(), default_folds(&large, 1024)));
    let small = random_dense(3, &[24, 12, 8, 4]);
    for seed in 0..12 {
        let folds = random_folds(&mut random(seed), &small);
        designs.push((format!("{folds:?}"), small.clone(), folds));
    }
    for seed in 0..12 {
        let network = random_few_bit(seed, &[12, 8, 6, 4]);
        let folds = random_folds(&mut random(seed), &network);
        designs.push((format!("few-bit network {seed}, {folds:?}"), network, folds));
    }
    // Ensembles: every law, number of bits and realisation, with and without rows that share.
    let realisations = [Realisation::Fly, Realisation::Sampled, Realisation::Stored];
    for seed in 0..18 {
        let law = [Law::Binary, Law::Ternary][seed % 2];
        let (bits, share) = ([1, 2, 5][seed / 2 % 3], [1, 2, 4, 64][seed % 4]);
        let sampled = Sampled {
            rounding: Rounding { law, bits, share, seed: 1 },
            realisations: vec![Some(realisations[seed / 6]), None, Some(realisations[seed % 3])],
            members: 1 + seed % 5,
            own_thresholds: seed % 3 == 0,
        };
        let network = random_sampled(seed as u64, &[24, 12, 8, 4], &sampled);
        let folds = random_folds(&mut random(seed as u64), &network);
        designs.push((format!("{sampled:?}, {folds:?}"), network, folds));
    }
    for kind in KINDS {
        for (index, (port, layer)) in (kind.samples)().into_iter().enumerate() {
            let network = single(port, layer);
            let folds = random_folds(&mut random(index as u64), &network);
            designs.push((format!("{} sample {index}, {folds:?}", kind.name), network, folds));
        }
    }
    let whole = [(12, 24), (8, 12), (4, 8)].map(|(pe, simd)| Folding::new(pe, simd));
    designs.push(("parallel".to_owned(), small.clone(), whole.to_vec()));
    designs.push(("serial".to_owned(), small, vec![Folding::new(1, 1); 3]));
    designs
}

#[test]
fn linters_print_nothing_and_nothing_is_waived() {
    for (what, network, folds) in designs() {
        let hardware = lower(&network, &folds);
        let directory = written(&network, &hardware);
        let rtl = directory.path().join("out/rtl");
        let files = verilog_files(&rtl);
        let cells = directory.path().join("out/tb/cells");
        let cells = if cells.exists() { verilog_files(&cells) } else { vec![] };
        let cells = cells.iter().map(|cell| format!("../tb/cells/{cell}"));
        let all: Vec<String> = files.iter().cloned().chain(cells).collect();
        let top = &hardware.design.top.name;
        assert_eq!(
            run("verilator", &["--lint-only", "-Wall", "--top-module", top], &all, &rtl),
            "",
            "{what}"
        );
        let icarus = ["-g2005", "-Wall", "-s", top, "-o", "/dev/null"];
        assert_eq!(run("iverilog", &icarus, &all, &rtl), "", "{what}");
        for file in &files {
            let text = fs::read_to_string(rtl.join(file)).unwrap();
            assert!(!text.contains("lint_off"), "{file} waives a warning");
            assert!(text.is_ascii(), "{file} is not plain ASCII");
            assert!(!text.contains('$') || text.contains("$readmemh"), "{file} has a $");
            assert!(
                text.contains(&format!("module {}", file.trim_end_matches(".v"))),
                "{file}: named after its module"
            );
        }
    }
}

/// Names that a file uses above their declaration: tools differ on whether they take that.
fn used_too_early(text: &str) -> Vec<String> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut seen = BTreeSet::new();
    let mut early = Vec::new();
    for line in text.lines().map(|line| line.split("//").next().unwrap_or_default()) {
        // The port names of an instance, behind a dot, are names of another module.
        let names = line.split('.').enumerate().flat_map(|(at, part)| {
            let own = if at == 0 { part } else { part.trim_start_matches(word) };
            own.split(|c| !word(c)).filter(|name| !name.is_empty())
        });
        let mut declaration = line.split_whitespace().filter(|w| !w.starts_with('['));
        if declaration.next().is_some_and(|w| ["wire", "reg", "input", "output"].contains(&w)) {
            let name = declaration.find(|w| !["wire", "reg"].contains(w)).unwrap_or_default();
            let name = name.trim_end_matches([';', ',']);
            if seen.contains(name) {
                early.push(name.to_owned());
            }
        }
        seen.extend(names.map(str::to_owned));
    }
    early
}

#[test]
fn every_name_is_declared_before_it_is_used() {
    assert_eq!(used_too_early("  assign a = b;\n  wire [1:0] b = c;\n  u u_u (.d(a));\n  reg  d;\n"), ["b"]);
    for (what, network, folds) in designs() {
        for (file, text) in
            emit::files(&network, &lower(&network, &folds), &Request::new(&random_frames(&network, 2, &[])))
        {
            if file.ends_with(".v") {
                assert_eq!(used_too_early(&text), Vec::<String>::new(), "{what}: {file}");
            }
        }
    }
}

#[test]
fn identical_inputs_give_identical_bytes() {
    let make = || {
        let network = random_dense(3, &[24, 12, 8, 4]);
        let folds = default_folds(&network, 40);
        emit::files(
            &network,
            &lower(&network, &folds),
            &Request { config_sha256: Some("0123"), ..Request::new(&random_frames(&network, 2, &[])) },
        )
    };
    assert_eq!(make(), make());
}

/// A weight ROM of 13 kbit becomes block RAM on iCE40 and ECP5, not logic.
#[test]
fn weight_memories_become_block_ram() {
    let network = random_dense(3, &[256, 64, 4]);
    let folds = [Folding::new(1, 16), Folding::new(1, 16)];
    let hardware = lower(&network, &folds);
    let directory = written(&network, &hardware);
    let rtl = directory.path().join("out/rtl");
    let top = &hardware.design.top.name;
    for (synth, cell) in [("synth_ice40", "SB_RAM40_4K"), ("synth_ecp5 -nowidelut", "DP16KD")] {
        let script = format!("read_verilog {}; {synth} -top {top}; stat", verilog_files(&rtl).join(" "));
        let text = run("yosys", &["-p", &script], &[], &rtl);
        let statistics = text.rfind("design hierarchy").map_or(text.as_str(), |at| &text[at..]);
        let count = statistics
            .lines()
            .find_map(|l| l.trim().strip_prefix(cell).and_then(|n| n.trim().parse::<u32>().ok()));
        assert!(count.is_some_and(|n| n >= 1), "{synth}: no {cell} in\n{statistics}");
    }
}

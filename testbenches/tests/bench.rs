//! The test bench that `compile` writes, run by the commands that it writes.

use std::fs;
use std::path::Path;
use std::process::Command;

use stoxnor::emit;
use stoxnor::emit::bench::random_frames;
use stoxnor::lower::lower;
use stoxnor::network::Network;
use stoxnor_testbenches::conformance::{default_folds, random, random_dense, random_few_bit, random_folds};

/// What `make` prints, and whether it was content.
fn make(directory: &Path, arguments: &[&str]) -> (bool, String) {
    let output = Command::new("make")
        .args(arguments)
        .current_dir(directory.join("tb"))
        .output()
        .expect("make is there");
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

fn models() -> Vec<(Network, Vec<stoxnor::unit::folding::Folding>)> {
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
            &emit::files(&network, &hardware, None, None, &random_frames(&network, 5, &[])),
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
            let path = directory.join(format!("rtl/{layer}_weights.mem"));
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

//! Random networks on every engine, and the cases that were kept of them.

use std::sync::Mutex;
use std::time::Duration;

use rayon::prelude::*;
use stoxnor::engine::Engine;
use stoxnor::lower::Hardware;
use stoxnor_testbenches::fault::edit_module;
use stoxnor_testbenches::random::draw::{Size, draw};
use stoxnor_testbenches::random::run::{Checks, Way, modules, run, run_with};
use stoxnor_testbenches::random::shrink::shrink;
use stoxnor_testbenches::random::{Counts, Recipe, kept};

/// Graphs on reference, fast and rtl, and how many small ones in the simulators.
const GRAPHS: u64 = 1000;
const IN_VERILATOR: u64 = 50;
const IN_ICARUS: u64 = 10;

/// Runs recipes and demands that none fails; what fails is made smaller.
fn all_equal(recipes: Vec<Recipe>, outside: &[Engine]) -> Counts {
    let counts = Mutex::new(Counts::default());
    let failed = recipes.par_iter().find_map_any(|recipe| match run(recipe, outside) {
        Ok(features) => {
            counts.lock().unwrap().add(&features);
            None
        }
        Err(failure) => Some((recipe, failure)),
    });
    if let Some((recipe, failure)) = failed {
        eprintln!("seed {}: {failure}", recipe.seed);
        let checks = Checks { outside, ..Checks::PLAIN };
        let (small, failure) = shrink(recipe, failure, &checks, Duration::from_secs(120));
        panic!("seed {}, made smaller: {failure}\n{}", recipe.seed, small.json());
    }
    counts.into_inner().unwrap()
}

#[test]
fn a_thousand_graphs_are_equal_on_reference_fast_and_rtl_and_keep_their_schedules() {
    let counts = all_equal((0..GRAPHS).map(|seed| draw(seed, Size::WHOLE)).collect(), &[]);
    eprint!("{}", counts.table());
    assert!(counts.missing().is_empty(), "never drawn: {:?}", counts.missing());
}

#[test]
fn small_graphs_are_equal_in_verilator_and_icarus() {
    let of = |seeds: std::ops::Range<u64>| seeds.map(|seed| draw(seed, Size::SMALL)).collect::<Vec<_>>();
    all_equal(of(0..IN_ICARUS), &[Engine::Icarus, Engine::Verilator]);
    all_equal(of(IN_ICARUS..IN_VERILATOR), &[Engine::Verilator]);
}

#[test]
fn kept_cases_are_equal() {
    let cases = kept();
    assert!(!cases.is_empty(), "no cases are kept");
    for (name, recipe) in cases {
        assert_eq!(Recipe::of_json(&recipe.json()).as_ref(), Ok(&recipe), "{name}: read and written");
        let checks = Checks { fifos: true, ..Checks::PLAIN };
        if let Err(failure) = run_with(&recipe, &checks) {
            panic!("{name}: {failure}");
        }
    }
}

/// What cannot fail proves nothing: a stream register that loses `last` is found, and one layer is left of the graph.
#[test]
fn a_planted_fault_is_found_and_made_small() {
    let lost = |hardware: &Hardware| {
        let registers = modules(&hardware.design.top);
        let name = registers.iter().find(|m| m.name.starts_with("stream_register"))?.name.clone();
        Some(edit_module(hardware, &name, |m| {
            let valid = m.ports.iter().find(|p| p.name == "m_valid").expect("a stream").net;
            let last = m.ports.iter_mut().find(|p| p.name == "m_last").expect("a stream");
            // It is said in every beat, and not at a frame's end alone.
            last.net = valid;
        }))
    };
    let checks = Checks { fault: &lost, ..Checks::PLAIN };
    let (recipe, failure) = (0..20)
        .map(|seed| draw(seed, Size::WHOLE))
        .find_map(|recipe| run_with(&recipe, &checks).err().map(|failure| (recipe, failure)))
        .expect("a fault that shows");
    assert!(matches!(failure.way, Way::Value(Engine::Rtl)), "{failure}");
    let (small, _) = shrink(&recipe, failure, &checks, Duration::from_secs(60));
    assert!(small.layers.len() <= 2, "{}", small.json());
}

//! Random networks on every engine, and the cases that were kept of them.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rayon::prelude::*;
use stoxnor::engine::Engine;
use stoxnor::lower::Hardware;
use stoxnor_hdl::{Bits, Module};
use stoxnor_testbenches::fault::{add_cell, edit_module, own_name};

use stoxnor_testbenches::random::draw::{Size, draw};
use stoxnor_testbenches::random::fuzz::{Plan, bar, fuzz};
use stoxnor_testbenches::random::run::{Checks, Way, modules, run_with};
use stoxnor_testbenches::random::shrink::shrink;
use stoxnor_testbenches::random::{Counts, Recipe, kept};
use stoxnor_testbenches::runs;

/// Graphs on reference, fast and rtl.
const GRAPHS: u64 = 1000;
/// In every so many-th graph each FIFO is shown to have no entry too many.
const FIFOS: u64 = 20;

/// Runs recipes and demands that none fails; what fails is made smaller.
fn all_equal(recipes: Vec<Recipe>, outside: &[Engine]) -> Counts {
    let counts = Mutex::new(Counts::default());
    let checks =
        |recipe: &Recipe| Checks { outside, fifos: recipe.seed.is_multiple_of(FIFOS), ..Checks::PLAIN };
    let failed = recipes.par_iter().find_map_any(|recipe| match run_with(recipe, &checks(recipe)) {
        Ok(features) => {
            counts.lock().unwrap().add(&features);
            None
        }
        Err(failure) => Some((recipe, failure)),
    });
    if let Some((recipe, failure)) = failed {
        eprintln!("seed {}: {failure}", recipe.seed);
        let (small, failure) = shrink(recipe, failure, &checks(recipe), Duration::from_secs(120));
        panic!("seed {}, made smaller: {failure}\n{}", recipe.seed, small.json());
    }
    counts.into_inner().unwrap()
}

#[test]
fn graphs_are_equal_on_reference_fast_and_rtl_and_keep_their_schedules() {
    let counts = all_equal((0..runs(GRAPHS / 3, GRAPHS)).map(|seed| draw(seed, Size::WHOLE)).collect(), &[]);
    eprint!("{}", counts.table());
    assert!(counts.missing().is_empty(), "never drawn: {:?}", counts.missing());
}

#[test]
fn small_graphs_are_equal_in_verilator_and_icarus() {
    let of = |seeds: std::ops::Range<u64>| seeds.map(|seed| draw(seed, Size::SMALL)).collect::<Vec<_>>();
    let (icarus, verilator) = runs((4, 16), (10, 50));
    all_equal(of(0..icarus), &[Engine::Icarus, Engine::Verilator]);
    all_equal(of(icarus..verilator), &[Engine::Verilator]);
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
        let mut names = registers.iter().map(|m| own_name(hardware, &m.name).to_owned());
        let name = names.find(|name| name.starts_with("stream_register"))?;
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

/// Changes every module whose name begins like this; nothing where there is none, or where `change` has nothing to change.
fn edited(hardware: &Hardware, prefix: &str, change: impl Fn(&mut Module) -> bool) -> Option<Hardware> {
    let all = modules(&hardware.design.top);
    let names = all.iter().map(|m| own_name(hardware, &m.name).to_owned());
    let names: BTreeSet<String> = names.filter(|name| name.starts_with(prefix)).collect();
    let changed = Cell::new(false);
    let faulty = names.iter().fold(hardware.clone(), |hardware, name| {
        edit_module(&hardware, name, |m| changed.set(changed.get() | change(m)))
    });
    changed.get().then_some(faulty)
}

/// A register begins one too far after the reset: a counter that is off by one.
fn begins_late(m: &mut Module, register: &str) -> bool {
    let q = m.net(register);
    let found = m.registers.iter_mut().find(|r| Some(r.q) == q);
    let Some(reset) = found.and_then(|r| r.reset.as_mut()) else { return false };
    let one_more = (reset.extract(0, reset.width()) + 1) & (u64::MAX >> (64 - reset.width()));
    *reset = Bits::new(reset.width(), one_more);
    true
}

/// `last` never comes, or with every beat.
fn loses_last(m: &mut Module, always: bool) -> bool {
    let valid = m.ports.iter().find(|p| p.name == "m_valid").map(|p| p.net);
    let Some(valid) = valid else { return false };
    let never = add_cell(m, "never", 1, stoxnor_hdl::Cell::Const(Bits::zero(1)));
    let last = m.ports.iter_mut().find(|p| p.name == "m_last").expect("a stream");
    last.net = if always { valid } else { never };
    true
}

/// Registers go on where they should stand still.
fn never_stands(m: &mut Module, register: &str) -> bool {
    let q = m.net(register);
    let found = m.registers.iter_mut().find(|r| Some(r.q) == q && r.enable.is_some());
    found.map(|r| r.enable = None).is_some()
}

/// Faults in blocks as they stand in networks. What has no place in a graph is not run there; each has to be found before long.
#[test]
fn faults_in_blocks_are_found_by_random_graphs() {
    type Change = Box<dyn Fn(&mut Module) -> bool + Sync>;
    let late = |register: &'static str| -> Change { Box::new(move |m| begins_late(m, register)) };
    let last = |always: bool| -> Change { Box::new(move |m| loses_last(m, always)) };
    let moves = |register: &'static str| -> Change { Box::new(move |m| never_stands(m, register)) };
    let faults: Vec<(&str, &str, Change)> = vec![
        ("fifo", "writes one place further", late("write_at_q")),
        ("fifo", "loses last", last(false)),
        ("stream_register", "last with every beat", last(true)),
        ("widener", "the first word is a part short", late("part_q")),
        ("widener", "loses last", last(false)),
        ("narrower", "the first part is left out", late("part_q")),
        ("narrower", "last with every part", last(true)),
        ("fork", "one stream's first beat is left out", late("has_0_q")),
        ("in_turn", "begins one beat late", late("place_q")),
        ("in_turn", "loses last", last(false)),
        ("replay", "begins with the second beat", late("position_q")),
        ("replay", "a frame has begun before it comes", late("begun_0_q")),
        ("replay", "begins with the other half", late("half_q")),
        ("replay", "last with every beat", last(true)),
        ("frame_sum", "begins with the second beat", late("at_q")),
        ("lfsr", "a stall moves it", moves("state_q")),
        ("l", "reads weights one word further", late("weight_at_q")),
        ("l", "computes before its operand comes", late("loading_q")),
        ("l", "a row of positions begins late", late("x_position_q")),
        ("l", "a place of the ring too many", late("room_q")),
    ];
    let missed: Vec<String> = faults
        .iter()
        .filter_map(|(block, what, change)| {
            let start = Instant::now();
            let fault = |hardware: &Hardware| edited(hardware, block, change);
            let checks = Checks { fault: &fault, ..Checks::PLAIN };
            let found = (0..400u64)
                .into_par_iter()
                .find_first(|seed| run_with(&draw(*seed, Size::WHOLE), &checks).is_err());
            let Some(seed) = found else { return Some(format!("{block}: {what}")) };
            let failure = run_with(&draw(seed, Size::WHOLE), &checks).expect_err("it failed before");
            eprintln!(
                "{block} | {what} | graph {seed}, {:?} | {:.1} s",
                failure.way,
                start.elapsed().as_secs_f64()
            );
            None
        })
        .collect();
    assert!(missed.is_empty(), "not found: {missed:?}");
}

/// As many networks are told as were run, whether their number was asked for, or a time that ends first.
#[test]
fn fuzzing_counts_what_it_ran() {
    let plan = Plan { time: Duration::ZERO, graphs: None, seed: 1, fifos: 20 };
    let run = |plan: Plan| {
        let bar = bar(plan);
        let outcome = fuzz(plan, &bar, |_, failure, _| panic!("{failure}"));
        bar.finish_and_clear();
        [outcome.graphs, bar.position()]
    };
    assert_eq!(run(plan), [0, 0]);
    assert_eq!(run(Plan { time: Duration::MAX, graphs: Some(3), ..plan }), [3, 3]);
}

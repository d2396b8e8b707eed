//! A recipe on all engines: what has to be equal, and in what way it is not.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use indicatif::ProgressBar;
use stoxnor::engine;
use stoxnor::engine::{Conditions, Engine, Results};
use stoxnor::engine::{Figures, measure, passes_slowly};
use stoxnor::lower::fifos;
use stoxnor::lower::fifos::depth_of;
use stoxnor::lower::plan::Run;
use stoxnor::lower::{Hardware, build as build_hardware, lower};
use stoxnor::network::Network;
use stoxnor::unit::folding::Folding;
use stoxnor_hdl::Module;

use super::Recipe;
use super::build;
use super::features_of;
use crate::conformance::random_frames;

/// In what way a recipe fails: a smaller one has to fail in the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// It is no network.
    Illegal,
    /// A panic, of this message without its numbers.
    Panic(String),
    /// Another value, or a beat that is missing or too many.
    Value(Engine),
    /// A beat on another cycle than the schedule says.
    Cycle(Engine),
    /// Another latency or interval than the schedule says.
    Figures,
    /// No steady state.
    Stuck,
    /// A FIFO with an entry too many.
    Fifo,
    /// A program that failed.
    Tool(Engine),
}

/// A failure.
#[derive(Debug, Clone)]
pub struct Failure {
    /// In what way.
    pub way: Way,
    /// Where, and what was found.
    pub what: String,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}: {}", self.way, self.what)
    }
}

/// Cycles between beats that come slowly: long enough for every pipeline to come to rest.
const SLOW: u64 = 64;

/// What is checked.
pub struct Checks<'a> {
    /// Verilator and Icarus, where they are wanted, against rtl.
    pub outside: &'a [Engine],
    /// Whether an entry less in each FIFO has to be slower.
    pub fifos: bool,
    /// A fault to plant; `None` where the hardware has no place for it, and then nothing is run.
    pub fault: &'a (dyn Fn(&Hardware) -> Option<Hardware> + Sync),
}

impl Checks<'_> {
    /// Reference, fast and rtl.
    pub const PLAIN: Checks<'static> =
        Checks { outside: &[], fifos: false, fault: &|hardware| Some(hardware.clone()) };
}

/// Runs a recipe on reference, fast and rtl, without stalls and with the recipe's, and on the engines outside. Returns its features.
///
/// # Errors
/// Where something differs, or panics.
pub fn run(recipe: &Recipe, outside: &[Engine]) -> Result<BTreeSet<String>, Failure> {
    run_with(recipe, &Checks { outside, ..Checks::PLAIN })
}

/// [`run`] with more to check.
///
/// # Errors
/// As [`run`].
pub fn run_with(recipe: &Recipe, checks: &Checks<'_>) -> Result<BTreeSet<String>, Failure> {
    catch_unwind(AssertUnwindSafe(|| checked(recipe, checks))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let what = text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned())).unwrap_or_default();
        let way = what.chars().filter(|c| !c.is_ascii_digit()).take(40).collect();
        Err(Failure { way: Way::Panic(way), what })
    })
}

fn checked(recipe: &Recipe, checks: &Checks<'_>) -> Result<BTreeSet<String>, Failure> {
    let (network, folds) = build::build(recipe).map_err(|what| Failure { way: Way::Illegal, what })?;
    let hardware = lower(&network, &folds);
    let features = features_of(recipe, &hardware.plan);
    let Some(hardware) = (checks.fault)(&hardware) else { return Ok(features) };
    let bed =
        Bed { network: &network, hardware: &hardware, frames: random_frames(7, &network, recipe.frames) };
    let members = if network.ensemble.is_some() { recipe.of_frames.clone() } else { vec![] };
    let conditions = Conditions { stall: None, members };
    let wanted = bed.results(Engine::Reference, &conditions)?;
    bed.same_values(Engine::Fast, &wanted, &bed.results(Engine::Fast, &conditions)?)?;
    let rtl = bed.results(Engine::Rtl, &conditions)?;
    bed.same_values(Engine::Rtl, &wanted, &rtl)?;
    bed.on_schedule(Engine::Rtl, &rtl, &conditions)?;
    bed.figures(conditions.first_members(&network))?;
    let mut last = (conditions.clone(), rtl);
    if recipe.stall.is_some() {
        let stalled = Conditions { stall: recipe.stall, ..conditions };
        let rtl = bed.results(Engine::Rtl, &stalled)?;
        bed.same_values(Engine::Rtl, &wanted, &rtl)?;
        bed.on_schedule(Engine::Rtl, &rtl, &stalled)?;
        last = (stalled, rtl);
    }
    for engine in checks.outside {
        let results = bed.results(*engine, &last.0)?;
        bed.same_values(*engine, &last.1, &results)?;
        bed.on_schedule(*engine, &results, &last.0)?;
    }
    if checks.fifos {
        let most = network.ensemble.as_ref().map_or(1, |e| e.max_members);
        if let Some(members) = (1..=most).find(|members| !passes_slowly(&hardware, *members, 3, SLOW)) {
            let what = format!("slow frames of {members} members do not come out");
            return Err(Failure { way: Way::Stuck, what });
        }
        no_entry_too_many(&network, &folds, &hardware)?;
    }
    Ok(features)
}

/// What a recipe is run on.
struct Bed<'a> {
    network: &'a Network,
    hardware: &'a Hardware,
    frames: Vec<Vec<i32>>,
}

impl Bed<'_> {
    fn results(&self, engine: Engine, conditions: &Conditions) -> Result<Results, Failure> {
        let hidden = ProgressBar::hidden();
        engine::run(engine, self.network, self.hardware, &self.frames, conditions, &hidden)
            .map_err(|e| Failure { way: Way::Tool(engine), what: e.to_string() })
    }

    fn same_values(&self, engine: Engine, wanted: &Results, found: &Results) -> Result<(), Failure> {
        for ((boundary, wanted), found) in self.hardware.boundaries.iter().zip(wanted).zip(found) {
            let (wanted, found) = (&wanted.values, &found.values);
            if wanted != found {
                let at = wanted.iter().zip(found).take_while(|(a, b)| a == b).count();
                let what = format!(
                    "{engine} at {}: value {at} of {} is {:?}, not {:?} ({} came)",
                    boundary.name,
                    wanted.len(),
                    found.get(at),
                    wanted.get(at),
                    found.len()
                );
                return Err(Failure { way: Way::Value(engine), what });
            }
        }
        Ok(())
    }

    fn on_schedule(&self, engine: Engine, found: &Results, conditions: &Conditions) -> Result<(), Failure> {
        let members = conditions.members(self.network, self.frames.len()).into();
        let due =
            self.hardware.plan.times(&Run { members, frames: self.frames.len(), stall: conditions.stall });
        for (boundary, result) in self.hardware.boundaries.iter().zip(found) {
            let (due, found) = (&due[boundary.link].accepted, result.cycles.as_deref().unwrap_or_default());
            if due != found {
                let at = due.iter().zip(found).take_while(|(a, b)| a == b).count();
                let what = format!(
                    "{engine} at {}, stall {:?}: beat {at} comes at {:?}, not at {:?}",
                    boundary.name,
                    conditions.stall,
                    found.get(at),
                    due.get(at)
                );
                return Err(Failure { way: Way::Cycle(engine), what });
            }
        }
        Ok(())
    }

    fn figures(&self, members: u32) -> Result<(), Failure> {
        let due = Figures::of_schedule(self.hardware, members);
        let measured = measure(self.hardware, members, &ProgressBar::hidden())
            .map_err(|e| Failure { way: Way::Stuck, what: e.to_string() })?;
        if measured != due {
            let what = format!("{members} members: measured {measured:?}, schedules {due:?}");
            return Err(Failure { way: Way::Figures, what });
        }
        Ok(())
    }
}

/// With an entry less in any FIFO, frames of some number of members come later, or may stand still by the schedule. Returns the
/// FIFOs, with their depths.
///
/// # Errors
/// Where that is not so.
pub fn no_entry_too_many(
    network: &Network,
    folds: &[Folding],
    hardware: &Hardware,
) -> Result<Vec<(String, u64)>, Failure> {
    let most = network.ensemble.as_ref().map_or(1, |e| e.max_members);
    let plan = &hardware.plan;
    let mut found = Vec::new();
    for fifo in fifos::fifos(plan) {
        let (name, depth) = (plan.stages[fifo].name.clone(), depth_of(plan, fifo));
        if depth == 0 {
            continue;
        }
        let mut less = plan.clone();
        fifos::set(&mut less, fifo, depth - 1);
        let stuck = (1..=most).any(|members| !fifos::flows(&less, members));
        let smaller = build_hardware(network, folds, less);
        let slower = |members: u32| {
            let due = Figures::of_schedule(hardware, members).interval;
            measure(&smaller, members, &ProgressBar::hidden()).map_or(true, |figures| figures.interval > due)
                || !passes_slowly(&smaller, members, 3, SLOW)
        };
        if !stuck && !(1..=most).any(slower) {
            let what = format!("{name} of {depth} entries is not slower with one less");
            return Err(Failure { way: Way::Fifo, what });
        }
        found.push((name, depth));
    }
    Ok(found)
}

/// Every module below one, that one included.
pub fn modules(top: &Module) -> Vec<&Module> {
    let mut all = vec![top];
    for instance in &top.instances {
        all.extend(modules(&instance.module));
    }
    all
}

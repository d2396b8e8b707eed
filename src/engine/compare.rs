//! Engines side by side, and the first place where they differ.

use indicatif::ProgressBar;

use crate::diagnostic::Result;
use crate::engine::Engine;
use crate::engine::Figures;
use crate::engine::results::{Boundary, Conditions, Results};
use crate::lower::Hardware;
use crate::network::Network;
use crate::{engine, lower};

/// How two engines differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DifferenceKind {
    /// Another value.
    Value,
    /// The same value on another cycle.
    Cycle,
    /// A beat that did not come.
    Missing,
}

/// One place where an engine differs from the yardstick.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Difference {
    /// How.
    pub kind: DifferenceKind,
    /// The engine that differs.
    pub engine: Engine,
    /// At which layer's output; `ensemble` for the sums over the members.
    pub layer: String,
    /// In which frame.
    pub frame: usize,
    /// In which member of an ensemble; 0 where there is none.
    pub member: usize,
    /// At which element of the layer's frame.
    pub element: usize,
    /// On which cycle of the engine that differs, where it counts them.
    pub cycle: Option<u64>,
    /// What the yardstick has: a value, or for `kind` cycle the cycle.
    pub expected: Option<i64>,
    /// What the engine has.
    pub found: Option<i64>,
}

/// One layer's part of the comparison.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct LayerReport {
    /// The layer.
    pub name: String,
    /// Elements compared with each engine: frames times elements of the boundary, times members where it passes once for each.
    pub elements: usize,
    /// Elements that differ in value, are missing or come on another cycle, over all engines.
    pub mismatches: usize,
}

/// What `check` finds; its JSON is this.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Report {
    /// Whether no engine differs.
    pub equal: bool,
    /// The engines; the first is the yardstick.
    pub engines: Vec<Engine>,
    /// Frames compared.
    pub frames: usize,
    /// The layers.
    pub layers: Vec<LayerReport>,
    /// Latency and interval of an unstalled run.
    #[serde(flatten)]
    pub figures: Figures,
    /// Members of a frame that they hold for.
    pub figures_members: u32,
    /// The first difference: the earliest layer, there the earliest frame and element.
    pub first_difference: Option<Difference>,
}

impl Report {
    /// Hardware whose latency or interval is not what its schedule says: told at the last layer's final element.
    fn differs_in_time(&mut self, hardware: &Hardware, measured: Figures, due: Figures) {
        let late = measured.latency != due.latency;
        let (expected, found) =
            if late { (due.latency, measured.latency) } else { (due.interval, measured.interval) };
        let last = &hardware.boundaries[hardware.boundaries.len() - 1];
        self.equal = false;
        self.layers.iter_mut().last().into_iter().for_each(|l| l.mismatches += last.lanes);
        self.first_difference = Some(Difference {
            kind: DifferenceKind::Cycle,
            engine: Engine::Rtl,
            layer: last.name.clone(),
            frame: usize::from(!late),
            member: 0,
            element: last.elements - last.lanes,
            cycle: Some(measured.latency),
            expected: Some(expected as i64),
            found: Some(found as i64),
        });
    }
}

/// Runs every engine on the frames and compares each with the first one; cycles are compared with those of the first engine that
/// has some.
///
/// # Errors
/// Where an external tool is missing or fails.
pub fn check(
    network: &Network,
    hardware: &Hardware,
    frames: &[Vec<i32>],
    engines: &[Engine],
    conditions: &Conditions,
    progress: &ProgressBar,
) -> Result<Report> {
    let mut results: Vec<(Engine, Results)> = Vec::new();
    for &engine in engines {
        results.push((engine, engine::run(engine, network, hardware, frames, conditions, progress)?));
    }
    let members = conditions.members(network, frames.len());
    let constant = conditions.first_members(network);
    let due = Figures::of_schedule(hardware, constant);
    let mut report = compare(hardware, &members, &results, (due, constant));
    if engines.contains(&Engine::Rtl) {
        progress.set_message("latency and interval");
        match engine::measure(hardware, constant, progress) {
            Ok(measured) => {
                report.figures = measured;
                if measured != due && report.equal {
                    report.differs_in_time(hardware, measured, due);
                }
            }
            // Hardware that differs may stand still for ever; the difference is what there is to tell.
            Err(_) if !report.equal => {}
            Err(stuck) => return Err(stuck),
        }
    }
    Ok(report)
}

fn compare(
    hardware: &Hardware,
    members: &[u32],
    results: &[(Engine, Results)],
    (figures, figures_members): (Figures, u32),
) -> Report {
    let timed = results.iter().find(|(engine, _)| engine.has_cycles());
    let mut layers = Vec::new();
    let mut first = None;
    for (index, boundary) in hardware.boundaries.iter().enumerate() {
        let layer = Layer { boundary, members };
        let mut mismatches = 0;
        let mut earliest: Option<Difference> = None;
        let (yardstick, others) = results.split_first().expect("at least one engine");
        for (engine, boundaries) in others {
            let clock = timed.filter(|(e, _)| e != engine).map(|(_, r)| &r[index]);
            let (count, difference) =
                layer.differences(*engine, &yardstick.1[index], &boundaries[index], clock);
            mismatches += count;
            let place = |d: &Difference| (d.frame, d.member, d.element);
            if let Some(d) = difference
                && earliest.as_ref().is_none_or(|e| place(&d) < place(e))
            {
                earliest = Some(d);
            }
        }
        first = first.or(earliest);
        layers.push(LayerReport { name: boundary.name.clone(), elements: layer.total(), mismatches });
    }
    Report {
        equal: first.is_none(),
        engines: results.iter().map(|(e, _)| *e).collect(),
        frames: members.len(),
        layers,
        figures,
        figures_members,
        first_difference: first,
    }
}

struct Layer<'a> {
    boundary: &'a lower::Boundary,
    /// Members of each frame.
    members: &'a [u32],
}

impl Layer<'_> {
    /// Elements of all frames.
    fn total(&self) -> usize {
        self.members.iter().map(|m| self.boundary.passes(*m)).sum::<usize>() * self.boundary.elements
    }

    /// Frame and member that a pass belongs to; behind the last one, further frames of one member.
    fn place(&self, pass: usize) -> (usize, usize) {
        let mut before = 0;
        for (frame, members) in self.members.iter().enumerate() {
            let passes = self.boundary.passes(*members);
            if pass < before + passes {
                return (frame, pass - before);
            }
            before += passes;
        }
        (self.members.len() + pass - before, 0)
    }

    /// Number of differing elements, and the first of them.
    fn differences(
        &self,
        engine: Engine,
        expected: &Boundary,
        found: &Boundary,
        clock: Option<&Boundary>,
    ) -> (usize, Option<Difference>) {
        let mut count = 0;
        let mut first = None;
        // Beats beyond the last frame are differences too: something came that nobody expects.
        for at in 0..self.total().max(found.values.len()) {
            let beat = at / self.boundary.lanes;
            let cycle_of = |b: &Boundary| b.cycles.as_ref().and_then(|c| c.get(beat).copied());
            let (cycle, due) = (cycle_of(found), clock.and_then(cycle_of));
            let (value, wanted) = (found.values.get(at).copied(), expected.values.get(at).copied());
            let kind = if value.is_none() != wanted.is_none() || (value.is_none() && wanted.is_none()) {
                DifferenceKind::Missing
            } else if value != wanted {
                DifferenceKind::Value
            } else if cycle.is_some() && due.is_some() && cycle != due {
                DifferenceKind::Cycle
            } else {
                continue;
            };
            count += 1;
            if first.is_none() {
                let in_cycles = kind == DifferenceKind::Cycle;
                let (frame, member) = self.place(at / self.boundary.elements);
                first = Some(Difference {
                    kind,
                    engine,
                    layer: self.boundary.name.clone(),
                    frame,
                    member,
                    element: at % self.boundary.elements,
                    cycle,
                    expected: if in_cycles { due.map(|c| c as i64) } else { wanted.map(i64::from) },
                    found: if in_cycles { cycle.map(|c| c as i64) } else { value.map(i64::from) },
                });
            }
        }
        (count, first)
    }
}

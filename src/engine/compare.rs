//! Comparison of engines, and the first difference between them.

use indicatif::ProgressBar;

use crate::diagnostic::Result;
use crate::engine::Engine;
use crate::engine::Figures;
use crate::engine::results::{Boundary, Conditions, Results};
use crate::lower::Hardware;
use crate::network::Network;
use crate::{engine, lower};

/// The kind of a difference between two engines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DifferenceKind {
    /// The values differ.
    Value,
    /// The values are equal, the cycles differ.
    Cycle,
    /// A beat is missing in one of the two.
    Missing,
}

/// A difference between an engine and the reference, the first engine of the list.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Difference {
    /// The kind of difference.
    pub kind: DifferenceKind,
    /// The engine that differs.
    pub engine: Engine,
    /// The layer at whose output it is; `ensemble` for the sums over the members.
    pub layer: String,
    /// Index of the frame.
    pub frame: usize,
    /// Index of the member; 0 without an ensemble.
    pub member: usize,
    /// Index of the element in the layer's frame.
    pub element: usize,
    /// The cycle in the differing engine, if that counts cycles.
    pub cycle: Option<u64>,
    /// The reference's value; for `kind` cycle, the expected cycle.
    pub expected: Option<i64>,
    /// The engine's value or cycle.
    pub found: Option<i64>,
}

/// The comparison at one layer boundary.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct LayerReport {
    /// The layer.
    pub name: String,
    /// Number of elements compared with each engine: frames times elements at the boundary, times members if frames pass once per
    /// member.
    pub elements: usize,
    /// Number of elements that differ in value, are missing or have another cycle, over all engines.
    pub mismatches: usize,
}

/// The result of `check`, which is also its JSON output.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Report {
    /// Whether all engines agree.
    pub equal: bool,
    /// The engines; the first one is the reference.
    pub engines: Vec<Engine>,
    /// Frames compared.
    pub frames: usize,
    /// The layers.
    pub layers: Vec<LayerReport>,
    /// Latency and interval of an unstalled run.
    #[serde(flatten)]
    pub figures: Figures,
    /// Members per frame for which the figures hold.
    pub figures_members: u32,
    /// The first difference: in the earliest layer, there in the earliest frame and element.
    pub first_difference: Option<Difference>,
}

impl Report {
    /// Reports that the measured latency or interval differs from the schedule, at the last layer's last beat.
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

/// Runs every engine on the frames and compares each with the first one. Cycles are compared with those of the first engine that
/// counts them.
///
/// # Errors
/// If an external tool is missing or fails.
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
            // Faulty hardware may deadlock; then the difference is the result.
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
    /// Number of elements of all frames.
    fn total(&self) -> usize {
        self.members.iter().map(|m| self.boundary.passes(*m)).sum::<usize>() * self.boundary.elements
    }

    /// The frame and member of a pass. Passes after the last frame count as further frames with one member.
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

    /// The number of differing elements, and the first of them.
    fn differences(
        &self,
        engine: Engine,
        expected: &Boundary,
        found: &Boundary,
        clock: Option<&Boundary>,
    ) -> (usize, Option<Difference>) {
        let mut count = 0;
        let mut first = None;
        // Beats after the last frame are differences too.
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

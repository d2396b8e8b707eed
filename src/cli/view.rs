//! Printing for people.

use std::io::{ErrorKind, IsTerminal, Write};

use annotate_snippets::{Group, Level, Origin, Renderer};
use comfy_table::{CellAlignment, Table, TableStyle, presets};
use serde::Serialize;

use crate::area::Cells;
use crate::diagnostic::{Diagnostic, Diagnostics, OUTPUT_UNWRITABLE};
use crate::engine::Engine;
use crate::engine::Figures;
use crate::engine::compare::{DifferenceKind, Report};
use crate::frame::port::Port;
use crate::graph::step::HostGraph;
use crate::network::Network;
use crate::synth::estimate::Estimate;
use crate::synth::fold::{Bound, Found};
use crate::synth::part::Room;
use crate::unit::folding::Folding;

/// Prints a line. A closed output (`| head`) is no error: the command continues to its exit code.
pub fn line(text: &str) {
    // Names from a model file are untrusted: control characters must not reach the terminal.
    let text: String =
        text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect();
    let Err(e) = writeln!(std::io::stdout().lock(), "{text}") else { return };
    if e.kind() != ErrorKind::BrokenPipe {
        let lost = Diagnostic::new(&OUTPUT_UNWRITABLE, e.to_string())
            .at("standard output")
            .help("the result is lost: make room, or send it elsewhere");
        diagnostics(&lost.into());
        std::process::exit(OUTPUT_UNWRITABLE.exit.into());
    }
}

/// A count with its noun, in singular or plural.
pub fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// Prints one JSON object.
pub fn json(value: &impl Serialize) {
    line(&serde_json::to_string_pretty(value).expect("plain values"));
}

/// Horizontal rules above the head, below the head and at the end.
const STYLE: TableStyle = presets::UTF8_HORIZONTAL_ONLY.row_separator(comfy_table::LineStyle::none());

/// Prints a table. Columns after the first are right-aligned if they hold numbers.
pub fn table<R: IntoIterator<Item = Vec<String>>>(head: &[&str], rows: R) {
    let mut table = Table::new();
    table.load_style(STYLE).set_header(head);
    let rows: Vec<Vec<String>> = rows.into_iter().collect();
    let numeric = |column: usize| rows.iter().all(|r| r[column].chars().all(|c| "0123456789.% ".contains(c)));
    let numbers: Vec<usize> = (0..head.len()).filter(|c| numeric(*c)).collect();
    table.add_rows(rows);
    for column in numbers {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    line(&table.to_string());
}

/// A port as text.
pub fn port(port: &Port) -> String {
    format!("{:?} {}", port.shape, port.element)
}

/// A host graph as text: its chain of operators.
pub fn host(graph: &HostGraph, nothing: &str) -> String {
    let steps: Vec<&str> = graph.steps().iter().map(|s| s.operator.name).collect();
    let ends = format!("{:?} to {:?}", graph.input_shape(), graph.output_shape());
    if steps.is_empty() { nothing.to_owned() } else { format!("{ends}: {}", steps.join(", ")) }
}

/// The number of members that figures refer to, as text; empty without an ensemble.
fn at_members(network: &Network, members: u32) -> String {
    let said = network.ensemble.as_ref().map(|_| count(members as usize, "member"));
    said.map_or_else(String::new, |members| format!(" at {members}"))
}

/// Prints latency and interval.
pub fn figures(figures: Figures, network: &Network, clock_mhz: Option<f64>) {
    line(&format!(
        "latency {} cycles, a frame every {} cycles{}{}",
        figures.latency,
        figures.interval,
        at_members(network, network.members()),
        rate(figures.interval, clock_mhz)
    ));
}

/// Prints a warning on standard error.
pub fn warn(text: &str) {
    let _ = writeln!(std::io::stderr(), "warning: {text}");
}

/// Prints the estimate for a part, and on standard error a warning where the network will not fit.
pub fn estimate(estimate: &Estimate) {
    line(&format!("estimated on {}, without a tool:", estimate.part));
    let row = |name: &str, cells: &Cells| {
        let Cells { lut, ff, carry, lut_ram, ram, .. } = *cells;
        [name.to_owned()]
            .into_iter()
            .chain([lut, ff, carry, lut_ram, ram].map(|n| n.to_string()))
            .collect::<Vec<_>>()
    };
    let mut rows: Vec<Vec<String>> =
        estimate.layers.iter().map(|layer| row(&layer.name, &layer.cells)).collect();
    rows.push(row("all", &estimate.estimate));
    let Room { lut, ff, ram } = estimate.available;
    let none = String::new;
    rows.push(vec!["the part".to_owned(), lut.to_string(), ff.to_string(), none(), none(), ram.to_string()]);
    table(&["layer", "LUT", "FF", "carry", "LUT RAM", "block RAM"], rows);
    if let Some(warning) = estimate.warning() {
        warn(&warning);
    }
}

/// Prints how near a folding that was found is to the bound.
pub fn folding(found: &Found) {
    let Found { interval_cycles, luts, bound, gap_percent, .. } = found;
    let bound = match bound {
        Bound::Cycles(cycles) => format!("the layers alone would fit with one every {cycles}"),
        Bound::Luts(least) => format!("the layers alone take {least} of the {luts} LUTs"),
    };
    line(&format!(
        "folded for the part: a frame every {interval_cycles} cycles; {bound} ({gap_percent:.1} % more than the bound)"
    ));
}

/// Frames per second at the user's clock, or for each MHz.
fn rate(interval: u64, clock_mhz: Option<f64>) -> String {
    let each = 1e6 / interval as f64;
    match clock_mhz {
        Some(clock) => format!(" ({:.0} frames/s at {clock} MHz)", clock * each),
        None => format!(" ({each:.1} frames/s for each MHz of the clock)"),
    }
}

/// Prints the result of a check.
pub fn report(report: &Report, folds: &[Folding], network: &Network, clock_mhz: Option<f64>) {
    let engines: Vec<&str> = report.engines.iter().map(|e| e.name()).collect();
    let sign = if report.equal { " = " } else { ", " };
    line(&format!("{}, {}", count(report.frames, "frame"), engines.join(sign)));
    let rows = report.layers.iter().enumerate().map(|(index, layer)| {
        // The sums over the members come after the layers.
        let fold = folds.get(index).zip(network.nodes.get(index));
        vec![
            layer.name.clone(),
            fold.map_or_else(String::new, |(fold, _)| format!("{}x{}", fold.pe, fold.simd)),
            fold.map_or_else(String::new, |(fold, node)| node.layer.lanes().cycles(*fold).to_string()),
            layer.elements.to_string(),
            layer.mismatches.to_string(),
            if layer.mismatches == 0 { "equal".to_owned() } else { "DIFFERENT".to_owned() },
        ]
    });
    table(&["layer", "PE x SIMD", "cycles", "elements", "mismatches", ""], rows);
    let measured = if report.engines.contains(&Engine::Rtl) { "measured" } else { "by the schedule" };
    line(&format!(
        "latency {} cycles, a frame every {} cycles{}, {measured}{}",
        report.figures.latency,
        report.figures.interval,
        at_members(network, report.figures_members),
        rate(report.figures.interval, clock_mhz)
    ));
    let Some(d) = &report.first_difference else {
        if engines.len() == 1 {
            line("one engine ran, so nothing was compared: name two or more in --engines");
        }
        return;
    };
    let number = |n: Option<i64>| n.map_or("nothing".to_owned(), |n| n.to_string());
    let what = match d.kind {
        DifferenceKind::Value => "has another value",
        DifferenceKind::Cycle => "comes on another cycle",
        DifferenceKind::Missing => "is missing",
    };
    let cycle = d.cycle.map_or(String::new(), |c| format!(", cycle {c}"));
    let member = if network.ensemble.is_some() { format!(", member {}", d.member) } else { String::new() };
    line(&format!(
        "first difference: in {} at {}, frame {}{member}, element {}{cycle}: the element {what}: {} expected, {} found",
        d.engine,
        d.layer,
        d.frame,
        d.element,
        number(d.expected),
        number(d.found)
    ));
}

/// The number of places that a group of errors names.
const PLACES: usize = 3;

/// Prints errors on standard error: one block for each kind, with its first places and the number of the others.
pub fn diagnostics(errors: &Diagnostics) {
    let renderer = if std::io::stderr().is_terminal() { Renderer::styled() } else { Renderer::plain() };
    let kinds = errors.kinds();
    let mut list = kinds.iter().peekable();
    while let Some(kind) = list.next() {
        let first = kind[0];
        let mut group = Group::with_title(Level::ERROR.primary_title(&first.message).id(first.code.word));
        if let Some(places) = places(kind) {
            group = group.element(Origin::path(places));
        }
        if kind.len() > 1 {
            let differ = kind.iter().any(|one| one.message != first.message);
            let own = if differ { "; the message is that of the first" } else { "" };
            group = group
                .element(Level::NOTE.message(format!("{} of this kind{own}", count(kind.len(), "error"))));
        }
        // A help text shared by several consecutive kinds is printed once, after the last.
        let repeated = list.peek().is_some_and(|next| next[0].help == first.help);
        if let Some(help) = first.help.as_ref().filter(|_| !repeated) {
            group = group.element(Level::HELP.message(help));
        }
        // A closed standard error loses this text only; the exit code still reports the error.
        let _ = writeln!(std::io::stderr(), "{}\n", renderer.render(&[group]));
    }
}

/// The places of errors of one kind, each once: the first of them, and the number of the others.
fn places(kind: &[&Diagnostic]) -> Option<String> {
    let mut all: Vec<&str> = Vec::new();
    for place in kind.iter().filter_map(|one| one.at.as_deref()) {
        if !all.contains(&place) {
            all.push(place);
        }
    }
    let (named, others) = all.split_at(all.len().min(PLACES));
    let others = if others.is_empty() { String::new() } else { format!(" and {} more", others.len()) };
    (!named.is_empty()).then(|| named.join(", ") + &others)
}

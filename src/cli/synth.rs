//! `stoxnor synth`.

use std::process::ExitCode;

use crate::area::Cells;
use crate::cli::args::{Common, Synth, Target};
use crate::cli::view;
use crate::diagnostic::{Diagnostic, PART_TOO_SMALL, Result};
use crate::synth::part::Part;
use crate::synth::timing::Span;
use crate::synth::{Request, Share, Synthesis, synthesise};

pub fn run(arguments: &Synth, common: &Common) -> Result<ExitCode> {
    let part = arguments.part;
    let clock_mhz = part.complete(&mut common.config()?)?;
    let target = Target { part: Some(part), fit: arguments.fit };
    let (model, folding) = common.model_on(&arguments.model.model, &target)?;
    let request = Request { part, clock_mhz, seeds: arguments.seeds, out: arguments.out.as_deref() };
    let progress = common.progress(0);
    let found = synthesise(model.network(), model.hardware(), model.figures(), &request, &progress)?;
    if common.json {
        view::json(&found);
    } else {
        tell(&found, part);
        if let Some(folding) = &folding {
            view::folding(folding);
        }
        if let Some(out) = &arguments.out {
            view::line(&format!("Verilog, netlist, scripts and logs in {}", out.display()));
        }
    }
    if found.fits {
        return Ok(ExitCode::SUCCESS);
    }
    let Cells { lut, lut_ram, ff, ram, .. } = found.cells;
    let room = part.room;
    let left = if room.holds(&found.cells) { "; nextpnr had cells left over" } else { "" };
    let message = format!(
        "the network takes {lut} LUTs, {lut_ram} memories in LUTs, {ff} flip-flops and {ram} block RAMs, and {} has {} LUTs, {} flip-flops and {} block RAMs{left}",
        part.name, room.lut, room.ff, room.ram
    );
    Err(Diagnostic::new(&PART_TOO_SMALL, message)
        .at("--part")
        .help("fold for the part (--fit), or take a larger one")
        .into())
}

const HEAD: [&str; 9] =
    ["layer", "LUT", "FF", "carry", "LUT RAM", "block RAM", "DSP", "memory bits", "of block RAM"];

/// The counts of each kind of cell, as the table shows them: beside each the estimate.
fn counts(cells: &Cells, estimate: &Cells) -> Vec<String> {
    let of = |cells: &Cells| {
        let Cells { lut, ff, carry, lut_ram, ram, dsp } = *cells;
        [lut, ff, carry, lut_ram, ram, dsp]
    };
    of(cells).iter().zip(of(estimate)).map(|(is, estimate)| format!("{is} ({estimate})")).collect()
}

fn tell(found: &Synthesis, part: &Part) {
    let row = |name: &str, [cells, estimate]: [&Cells; 2], memory_bits: u64| {
        let room = cells.ram * part.ram_bits();
        let filled =
            (100 * memory_bits).checked_div(room).map_or_else(String::new, |part| format!("{part} %"));
        [&[name.to_owned()], &counts(cells, estimate)[..], &[memory_bits.to_string(), filled]].concat()
    };
    let layer = |layer: &Share| row(&layer.name, [&layer.cells, &layer.estimate], layer.memory_bits);
    let mut rows: Vec<Vec<String>> = found.layers.iter().map(layer).collect();
    let bits = found.layers.iter().map(|layer| layer.memory_bits).sum();
    rows.push(row("all", [&found.cells, &found.estimate], bits));
    let mut has = vec![String::new(); HEAD.len()];
    for (at, text) in [
        (0, "the part".to_owned()),
        (1, part.room.lut.to_string()),
        (2, part.room.ff.to_string()),
        (5, part.room.ram.to_string()),
    ] {
        has[at] = text;
    }
    rows.push(has);
    view::line(&format!("{} on {}; in brackets the estimates", found.tools.join(", "), part.name));
    view::table(&HEAD, rows);
    match (found.fmax_mhz, found.fps, found.latency_us) {
        (Some(clock), Some(fps), Some(latency)) => {
            let met = if clock >= found.clock_mhz { "met" } else { "missed" };
            view::line(&format!(
                "clock {clock:.1} MHz; {} MHz asked for, {met}; {fps:.0} frames/s, latency {latency:.1} us",
                found.clock_mhz
            ));
            if found.seeds.len() > 1 {
                let each = found.seeds.iter().map(|one| format!("{:.1}", one.fmax_mhz));
                view::line(&format!("MHz by seed: {}", each.collect::<Vec<_>>().join(", ")));
            }
            let ns: f64 = found.critical_path.iter().map(|span| span.logic_ns + span.routing_ns).sum();
            view::line(&format!("critical path, {ns:.2} ns:"));
            view::table(
                &["layer", "from", "to", "logic ns", "routing ns"],
                found.critical_path.iter().map(piece),
            );
        }
        _ if !part.routes() => view::line("no open tool routes this part, so there is no clock"),
        _ => {}
    }
}

fn piece(span: &Span) -> Vec<String> {
    let own = |cell: &str| cell.strip_prefix("u_core.").unwrap_or(cell).to_owned();
    vec![
        span.layer.clone(),
        own(&span.from),
        own(&span.to),
        format!("{:.2}", span.logic_ns),
        format!("{:.2}", span.routing_ns),
    ]
}

//! The clock and the critical path, from nextpnr's report.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::area::OUTSIDE;
use crate::diagnostic::{Diagnostic, Result, TOOL_FAILED};
use crate::synth::netlist::Names;

/// A routed core.
#[derive(Debug, PartialEq)]
pub struct Routed {
    /// The clock that it reaches, in MHz.
    pub fmax_mhz: f64,
    /// Its critical path.
    pub path: Vec<Span>,
}

/// A piece of a path, in one layer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Span {
    /// The layer; `-` outside of all.
    pub layer: String,
    /// The cell in which it begins there, as yosys names it.
    pub from: String,
    /// The cell in which it ends there.
    pub to: String,
    /// Nanoseconds in cells.
    pub logic_ns: f64,
    /// Nanoseconds in wires, up to the next piece.
    pub routing_ns: f64,
}

#[derive(Debug, Deserialize)]
struct Json {
    fmax: BTreeMap<String, Fmax>,
    critical_paths: Vec<Path>,
}

#[derive(Debug, Deserialize)]
struct Fmax {
    achieved: f64,
}

#[derive(Debug, Deserialize)]
struct Path {
    from: String,
    to: String,
    path: Vec<Step>,
}

#[derive(Debug, Deserialize)]
struct Step {
    delay: f64,
    from: End,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Debug, Deserialize)]
struct End {
    cell: String,
}

impl Json {
    /// The slowest clock, in MHz.
    fn clock(&self) -> Result<f64> {
        let clock = self.fmax.values().map(|clock| clock.achieved).min_by(f64::total_cmp);
        Ok(clock.ok_or_else(|| unreadable("it names no clock"))?)
    }
}

fn unreadable(reason: &str) -> Diagnostic {
    Diagnostic::new(&TOOL_FAILED, format!("its report cannot be read: {reason}"))
        .at("nextpnr")
        .help("try another version of nextpnr")
}

fn parsed(json: &str) -> Result<Json> {
    Ok(serde_json::from_str(json).map_err(|e| unreadable(&e.to_string()))?)
}

/// The clock in MHz that nextpnr's report says.
///
/// # Errors
/// If the report cannot be read.
pub fn fmax(json: &str) -> Result<f64> {
    parsed(json)?.clock()
}

impl Routed {
    /// Reads nextpnr's report.
    pub(crate) fn read(json: &str, names: &Names<'_>) -> Result<Self> {
        let report = parsed(json)?;
        let inside = |path: &&Path| [&path.from, &path.to].iter().all(|end| end.starts_with("posedge"));
        let path = report.critical_paths.iter().find(inside);
        Ok(Self {
            fmax_mhz: report.clock()?,
            path: path.map_or_else(Vec::new, |path| spans(&path.path, names)),
        })
    }
}

/// Consecutive steps in one layer make one piece.
fn spans(steps: &[Step], names: &Names<'_>) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    for step in steps {
        // nextpnr's own cells, such as parts of carry chains, belong to what is before them.
        let before = spans.last().map_or(OUTSIDE, |span| span.layer.as_str());
        let layer = names.layer(&step.from.cell).unwrap_or(before).to_owned();
        if spans.last().is_none_or(|span| span.layer != layer) {
            let cell = step.from.cell.clone();
            spans.push(Span { layer, from: cell.clone(), to: cell, logic_ns: 0.0, routing_ns: 0.0 });
        }
        let span = spans.last_mut().expect("one was put there");
        span.to.clone_from(&step.from.cell);
        *(if step.kind == "routing" { &mut span.routing_ns } else { &mut span.logic_ns }) += step.delay;
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_told_by_its_layers() {
        let step = |cell: &str, kind: &str, delay: f64| {
            format!("{{\"delay\": {delay}, \"type\": \"{kind}\", \"from\": {{\"cell\": \"{cell}\"}}}}")
        };
        let steps = [
            step("u_core.u_l1.a_q", "clk-to-q", 0.5),
            step("u_core.u_l1.a_q", "routing", 1.0),
            step("$nextpnr_ICESTORM_LC_8", "logic", 0.125),
            step("u_core.u_l1.b", "logic", 0.125),
            step("u_core.u_l1.b", "routing", 2.0),
            step("u_core.u_l2_fifo.c", "setup", 0.125),
        ];
        let json = format!(
            "{{\"fmax\": {{\"clk\": {{\"achieved\": 200.5}}}}, \"critical_paths\": [
              {{\"from\": \"<async>\", \"to\": \"posedge clk\", \"path\": []}},
              {{\"from\": \"posedge clk\", \"to\": \"posedge clk\", \"path\": [{}]}}]}}",
            steps.join(",")
        );
        let names = Names::of(&["l1", "l2"], &[]);
        let routed = Routed::read(&json, &names).unwrap();
        assert!((routed.fmax_mhz - 200.5).abs() < 1e-9);
        let told: Vec<(&str, f64, f64)> =
            routed.path.iter().map(|span| (span.layer.as_str(), span.logic_ns, span.routing_ns)).collect();
        assert_eq!(told, [("l1", 0.75, 3.0), ("l2", 0.125, 0.0)]);
        assert_eq!(
            (routed.path[0].from.as_str(), routed.path[0].to.as_str()),
            ("u_core.u_l1.a_q", "u_core.u_l1.b")
        );
        assert!(Routed::read("{\"fmax\": {}, \"critical_paths\": []}", &names).is_err());
    }
}

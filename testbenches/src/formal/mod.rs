//! Proofs of blocks: what they have to do is written as assertions in a harness around the emitted text, and yosys and z3 look for a run
//! that breaks one. By induction where what a block remembers can be told from outside, else for all runs of so many cycles.

pub mod harness;
pub mod proofs;
pub mod replay;
pub mod window;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use stoxnor_hdl::{Module, verilog};

/// How a proof is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// By induction over so many cycles: for runs of any length.
    Induction(u32),
    /// For all runs of so many cycles from a reset on.
    Bounded(u32),
    /// There is no state: for all inputs.
    Combinational,
}

impl std::fmt::Display for Method {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Induction(cycles) => write!(f, "induction, {cycles} cycles"),
            Self::Bounded(cycles) => write!(f, "bounded, {cycles} cycles"),
            Self::Combinational => f.write_str("combinational"),
        }
    }
}

/// What is to be proved of a block.
#[derive(Debug, Clone)]
pub struct Proof {
    /// What is proved, in words.
    pub what: String,
    /// The block, instance `dut` in the harness.
    pub module: Arc<Module>,
    /// SystemVerilog of the module `proof`.
    pub harness: String,
    /// Wires of the harness, without drivers there, and the block's own signals that they show.
    pub inside: Vec<(String, String)>,
    /// How.
    pub method: Method,
    /// Cycles in which every `cover` of the harness has to be reached; 0 where there is none.
    pub covered_in: u32,
}

/// What came of a proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It holds.
    Proved,
    /// A run breaks an assertion: which one, and in what cycle.
    Broken(String),
    /// Induction does not go through: an assertion may fail after a state that no run need reach.
    NotInductive(String),
    /// A cover is not reached.
    Unreached(String),
}

/// Why nothing is known.
#[derive(Debug)]
pub struct Failed(String);

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Models of vendors' cells, and yosys' own libraries of them.
const LIBRARIES: &[(&str, &str)] = &[
    ("CARRY4.v", "+/xilinx/cells_sim.v"),
    ("CCU2C.v", "+/ecp5/cells_sim.v"),
    ("LUT6_2.v", "+/xilinx/cells_sim.v"),
];

impl Proof {
    /// Proves it, of the text that is shipped, with `change` made to each file (its name, its text). Also tells how long it took.
    ///
    /// # Errors
    /// Where a program is missing, or does not understand its input.
    pub fn prove_changed(
        &self,
        change: &dyn Fn(&str, String) -> String,
    ) -> Result<(Verdict, Duration), Failed> {
        let start = Instant::now();
        let directory = tempfile::tempdir().map_err(|e| Failed(format!("no directory: {e}")))?;
        let at = directory.path();
        let write = |name: &str, text: &str| {
            fs::write(at.join(name), text).map_err(|e| Failed(format!("{name} cannot be written: {e}")))
        };
        let mut names = Vec::new();
        for file in verilog::files(&self.module, &[]) {
            write(&file.name, &change(&file.name, file.text))?;
            names.push(file.name);
        }
        write("proof.sv", &self.harness)?;
        // The block's signals are shown once everything is one module; memories are registers then, so that their words have names.
        let shown: String =
            self.inside.iter().map(|(own, of)| format!("connect -set {own} \\dut.{of}\n")).collect();
        // A vendor's cells are what the library of yosys says.
        let library = |model: &verilog::File| {
            let (_, library) = LIBRARIES.iter().find(|(cell, _)| model.name == *cell).expect("a library");
            format!("read_verilog {library}\n")
        };
        let libraries: BTreeSet<String> = verilog::models(&self.module).iter().map(library).collect();
        let libraries = String::from_iter(libraries);
        let script = format!(
            "{libraries}read_verilog -formal {}\nread_verilog -formal -sv proof.sv\nhierarchy -check -top proof\nsetattr -set keep 1 w:*\nproc\nflatten\n\
             memory -nordff\nmemory_map\ncd proof\n{shown}cd ..\nopt_clean\nasync2sync\ndffunmap\n\
             write_smt2 -wires proof.smt2\n",
            names.join(" ")
        );
        write("proof.ys", &script)?;
        let (ok, text) = call(at, "yosys", &["-q", "-s", "proof.ys"])?;
        if !ok {
            return Err(Failed(format!("{}: yosys: {}", self.what, end_of(&text))));
        }
        let verdict = self.solve(at)?;
        Ok((verdict, start.elapsed()))
    }

    /// Whether a run of so many cycles breaks an assertion of the changed text.
    ///
    /// # Errors
    /// As in [`prove_changed`](Self::prove_changed).
    pub fn breaks(
        &self,
        change: &dyn Fn(&str, String) -> String,
        cycles: u32,
    ) -> Result<(Verdict, Duration), Failed> {
        Self { method: Method::Bounded(cycles), covered_in: 0, ..self.clone() }.prove_changed(change)
    }

    /// [`prove_changed`](Self::prove_changed) of the text as it is.
    ///
    /// # Errors
    /// As there.
    pub fn prove(&self) -> Result<(Verdict, Duration), Failed> {
        self.prove_changed(&|_, text| text)
    }

    fn solve(&self, at: &Path) -> Result<Verdict, Failed> {
        // From a reset on: for an induction, where it begins.
        let cycles = match self.method {
            Method::Induction(cycles) => cycles + 1,
            Method::Bounded(cycles) => cycles,
            Method::Combinational => 1,
        };
        if let Some(text) = failure(at, &["--presat", "-t", &cycles.to_string()])? {
            return Ok(Verdict::Broken(text));
        }
        if let Method::Induction(cycles) = self.method
            && let Some(text) = failure(at, &["-i", "-t", &cycles.to_string()])?
        {
            return Ok(Verdict::NotInductive(text));
        }
        if self.covered_in > 0
            && let Some(text) = failure(at, &["-c", "-t", &self.covered_in.to_string()])?
        {
            return Ok(Verdict::Unreached(text));
        }
        Ok(Verdict::Proved)
    }
}

/// Runs the solver; tells what fails.
fn failure(at: &Path, arguments: &[&str]) -> Result<Option<String>, Failed> {
    let (ok, text) = call(
        at,
        "yosys-smtbmc",
        &[&["-s", "z3", "--unroll", "--noprogress"], arguments, &["proof.smt2"]].concat(),
    )?;
    if ok && text.contains("Status: passed") || text.contains("Status: PASSED") {
        return Ok(None);
    }
    if text.contains("Status: failed") || text.contains("Status: FAILED") {
        let behind = |mark: &str| {
            let own = move |line: &str| {
                line.split_once(mark).map(|(_, rest)| rest.trim_end_matches('.').to_owned())
            };
            text.lines().filter_map(own).collect::<Vec<String>>()
        };
        let step = behind("assertions in step ").pop();
        let lines = [behind("Assert failed in proof: "), behind("Unreached cover statement at ")].concat();
        let lines: Vec<&str> = lines.iter().filter_map(|line| line.split_whitespace().next()).collect();
        let cycle = step.map_or_else(String::new, |step| format!("cycle {step}, "));
        return Ok(Some(format!("{cycle}{}", lines.join(" "))));
    }
    Err(Failed(format!("yosys-smtbmc: {}", end_of(&text))))
}

fn call(at: &Path, program: &str, arguments: &[&str]) -> Result<(bool, String), Failed> {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(at)
        .output()
        .map_err(|e| Failed(format!("{program} is needed for proofs: {e}")))?;
    let text = [output.stdout, output.stderr].concat();
    Ok((output.status.success(), String::from_utf8_lossy(&text).into_owned()))
}

fn end_of(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(12)..].join("\n")
}

//! Simulation of a design's Verilog in Icarus Verilog.

use std::path::PathBuf;

use crate::external::{BENCH, read_trace, write_sources, write_stimulus};
use crate::stimulus::{Design, Stimulus, Trace};
use crate::tool::{ToolError, judge, run};
use crate::work::WorkDirectory;

/// The Icarus Verilog programs; by default `iverilog` and `vvp` on the path.
#[derive(Debug, Clone)]
pub struct Icarus {
    /// The compiler.
    pub iverilog: PathBuf,
    /// The simulator.
    pub vvp: PathBuf,
}

impl Default for Icarus {
    fn default() -> Self {
        Self { iverilog: "iverilog".into(), vvp: "vvp".into() }
    }
}

impl Icarus {
    /// Compiles and simulates the printed Verilog. An unknown value in an accepted beat is an error.
    ///
    /// # Errors
    /// If a tool is missing or fails (its directory is kept then), or the run reaches its limit.
    pub fn simulate(&self, design: &Design, stimulus: &Stimulus) -> Result<Trace, ToolError> {
        let mut work = WorkDirectory::new()?;
        let result = self.simulate_in(design, stimulus, &work);
        judge(&mut work, &result);
        result
    }

    fn simulate_in(
        &self,
        design: &Design,
        stimulus: &Stimulus,
        work: &WorkDirectory,
    ) -> Result<Trace, ToolError> {
        let directory = work.path();
        let sources = write_sources(design, stimulus.capacity(), directory)?;
        let clock = format!(
            "module clock;\n  reg clk = 1'b0;\n  always #1 clk = ~clk;\n  {BENCH} bench (.clk(clk));\nendmodule\n"
        );
        std::fs::write(directory.join("clock.v"), clock)?;
        let mut arguments: Vec<String> =
            ["-g2005", "-s", "clock", "-o", "bench.vvp", "clock.v"].map(str::to_owned).to_vec();
        arguments.extend(sources);
        run(&self.iverilog, &arguments, directory)?;
        let mut arguments = vec!["-n".to_owned(), "bench.vvp".to_owned()];
        arguments.extend(write_stimulus(design, stimulus, directory)?);
        run(&self.vvp, &arguments, directory)?;
        read_trace(design, stimulus, &format!("{} {}", self.vvp.display(), arguments.join(" ")), directory)
    }
}

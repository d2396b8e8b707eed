//! `stoxnor host`.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use serde::Serialize;
use serial2::SerialPort;

use crate::board::host::{Host, payloads};
use crate::cli::args::{self, Common};
use crate::cli::{inputs, view};
use crate::data::arrays::write_npy;
use crate::diagnostic::{BOARD_SILENT, Diagnostic, Result};

/// A board that says nothing for so long, beside the time of a frame, says nothing more: longer than the pauses of the operating
/// system's drivers.
const SILENCE: Duration = Duration::from_millis(500);

#[derive(Serialize)]
struct Done<'a> {
    frames: usize,
    output: &'a Path,
    output_shape: Vec<usize>,
    repeated: u64,
}

pub fn run(arguments: &args::Host, common: &Common) -> Result<ExitCode> {
    let (model, _) = common.model_on_board(&arguments.model.model, arguments.board, arguments.fit)?;
    let network = model.network();
    let frames = inputs::read(&model, &arguments.input)?;
    let quantised = model.quantised(&frames, frames.count())?;
    let hardware = model.hardware();
    let members = model.conditions(None).members(network, frames.count());
    let slowest = hardware.latency(members.iter().copied().max().unwrap_or(1));
    let frame = Duration::from_secs_f64(slowest as f64 / (arguments.board.said.clock_mhz * 1e6));
    let port = open(&arguments.port, arguments.board.said.baud, SILENCE + frame)?;
    let mut host = Host::new(port, hardware);
    let progress = common.progress(frames.count() as u64);
    let user = |members: &u32| (hardware.design.inputs[0].user > 0).then_some(*members as u8);
    let mut sums = Vec::new();
    for (payload, members) in payloads(network, hardware, &quantised).iter().zip(&members) {
        sums.push(host.frame(user(members), payload)?);
        progress.inc(1);
    }
    progress.finish_and_clear();
    let output = model.outputs(&sums, &members)?.remove(0);
    write_npy(&arguments.output, &output.shape, &output.values)?;
    let done = Done {
        frames: frames.count(),
        output: &arguments.output,
        output_shape: output.shape,
        repeated: host.repeated,
    };
    if common.json {
        view::json(&done);
    } else {
        view::line(&format!(
            "{} by the board, {} sent again: {:?} in {}",
            view::count(done.frames, "frame"),
            view::count(done.repeated as usize, "request"),
            done.output_shape,
            done.output.display()
        ));
    }
    Ok(ExitCode::SUCCESS)
}

fn open(path: &Path, baud: u32, silence: Duration) -> Result<SerialPort> {
    let opened = SerialPort::open(path, baud).and_then(|mut port| {
        port.set_read_timeout(silence)?;
        Ok(port)
    });
    opened.map_err(|error| {
        Diagnostic::new(&BOARD_SILENT, format!("it cannot be opened at {baud} baud: {error}"))
            .at(path.display().to_string())
            .help("name the board's port, for example /dev/ttyUSB1; reading it may take membership of the group dialout")
            .into()
    })
}

//! Waveforms: runs the rtl engine again and writes the cycles of interest to a VCD file.

use std::fs;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use stoxnor_sim::vcd::Waveform;
use stoxnor_sim::{Simulator, simulate};

use crate::diagnostic::{Diagnostic, OUTPUT_UNWRITABLE, Result};
use crate::engine::compare::Difference;
use crate::engine::results::Conditions;
use crate::engine::stimulus;
use crate::lower::Hardware;
use crate::network::Network;

/// Number of cycles shown before and after a difference.
const AROUND: u64 = 100;

/// Writes a VCD file into `directory`. It shows the cycles around `difference`, or the first frame if there is none. If the
/// difference has no cycle (between engines that do not count cycles), it shows the whole run of that frame.
///
/// # Errors
/// If the file cannot be written.
pub fn write(
    directory: &Path,
    network: &Network,
    hardware: &Hardware,
    frames: &[Vec<i32>],
    conditions: &Conditions,
    difference: Option<&Difference>,
) -> Result<PathBuf> {
    let (name, shown, window) = match difference {
        None => ("first_frame.vcd", 0..frames.len().min(1), 0..u64::MAX),
        Some(d) => match d.cycle {
            Some(cycle) => {
                ("first_difference.vcd", 0..frames.len(), cycle.saturating_sub(AROUND)..cycle + AROUND + 1)
            }
            None => ("first_difference.vcd", d.frame..d.frame + 1, 0..u64::MAX),
        },
    };
    let members = conditions.members(network, frames.len())[shown.clone()].to_vec();
    let conditions = Conditions { members, ..conditions.clone() };
    let frames = &frames[shown];
    let path = directory.join(name);
    let attempt = || -> std::io::Result<()> {
        fs::create_dir_all(directory)?;
        let mut simulator = Simulator::new(&hardware.design.top);
        let mut out = BufWriter::new(File::create(&path)?);
        let mut waveform = Waveform::new(&mut out, &hardware.design.top.name, &simulator)?;
        let mut written = Ok(());
        let mut stimulus = stimulus(network, hardware, frames, &conditions);
        stimulus.limit = stimulus.limit.min(window.end);
        let sample = |cycle: u64, s: &Simulator| {
            if window.contains(&cycle) && written.is_ok() {
                written = waveform.sample(cycle, s);
            }
        };
        // A run may end early, at the end of the window or at a deadlock; the waveform is complete then.
        let _ = simulate(&hardware.design, &mut simulator, &stimulus, sample);
        written?;
        out.flush()
    };
    attempt().map_err(|e| {
        Diagnostic::new(&OUTPUT_UNWRITABLE, e.to_string())
            .at(path.display().to_string())
            .help("check the path")
    })?;
    Ok(path)
}

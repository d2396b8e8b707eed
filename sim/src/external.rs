//! What the adapters of external simulators share: one Verilog test bench, its files and its results.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use stoxnor_hdl::{Bits, verilog};

use crate::stall::{SINK, SOURCE, VERILOG, start};
use crate::stimulus::{Beat, DRAIN, Design, Stimulus, Stuck, Trace};
use crate::tool::ToolError;

/// The top module of the bench; its one port is `clk`.
pub const BENCH: &str = "stoxnor_bench";

/// Writes the design's Verilog, its memory images and the bench; returns the names of the Verilog files.
pub fn write_sources(design: &Design, capacity: usize, directory: &Path) -> Result<Vec<String>, ToolError> {
    let mut names = Vec::new();
    for file in verilog::files(&design.top, &[]) {
        fs::write(directory.join(&file.name), file.text)?;
        names.push(file.name);
    }
    for image in design.top.parameters.iter().filter_map(|p| p.image.as_ref()) {
        fs::write(directory.join(&image.file), image.text())?;
    }
    fs::write(directory.join("bench.v"), bench(design, capacity))?;
    fs::write(directory.join("stall_pattern.v"), VERILOG)?;
    names.extend(["bench.v", "stall_pattern.v"].map(str::to_owned));
    Ok(names)
}

fn bench(design: &Design, capacity: usize) -> String {
    let (width, user) = (design.input.width, design.input.user);
    let mut connections = vec![
        ".clk(clk)".to_owned(),
        ".rst(rst)".to_owned(),
        ".s_data(word[WIDTH-1:0])".to_owned(),
        ".s_valid(s_valid)".to_owned(),
        ".s_ready(s_ready)".to_owned(),
        ".s_last(word[WIDTH])".to_owned(),
        ".m_ready(m_ready)".to_owned(),
    ];
    if user > 0 {
        connections.push(".s_user(word[WORD-1:WIDTH+1])".to_owned());
    }
    // Outputs that no tap watches stay open.
    for port in design.top.ports.iter().filter(|p| p.output && p.name != "s_ready") {
        connections.push(format!(".{}()", port.name));
    }
    let mut taps = String::new();
    for (index, tap) in design.taps.iter().enumerate() {
        let name = &tap.name;
        let user = if tap.user > 0 { format!("dut.{name}_user") } else { "1'b0".to_owned() };
        let _ = writeln!(taps, "        if (dut.{name}_valid && dut.{name}_ready) begin");
        if index + 1 == design.taps.len() {
            let _ = writeln!(taps, "          accepted <= accepted + 1;");
        }
        let _ = writeln!(
            taps,
            "          $fwrite(trace, \"{index} %0d %b %h %h\\n\", cycle, dut.{name}_last, {user}, dut.{name}_data);\n        end"
        );
    }
    let last =
        design.taps.last().map_or("1'b0".to_owned(), |t| format!("dut.{0}_valid && dut.{0}_ready", t.name));
    include_str!("bench.v")
        .replace("@WIDTH@", &width.to_string())
        .replace("@WORD@", &(width + 1 + user).to_string())
        .replace("@CAPACITY@", &capacity.max(1).to_string())
        .replace("@TOP@", &design.top.name)
        .replace(
            "@CONNECTIONS@",
            &connections.iter().map(|c| format!("    {c}")).collect::<Vec<_>>().join(",\n"),
        )
        .replace("@TAPS@", taps.trim_end())
        .replace("@LAST_ACCEPTED@", &last)
}

/// Writes the stimulus; returns the arguments that tell the bench the rest.
pub fn write_stimulus(
    design: &Design,
    stimulus: &Stimulus,
    directory: &Path,
) -> Result<Vec<String>, ToolError> {
    // A trace of an earlier run must not pass for that of a run that wrote none.
    let _ = fs::remove_file(directory.join("trace.txt"));
    let words = stimulus.words(&design.input);
    let text: String = words.iter().map(|w| format!("{w}\n")).collect();
    fs::write(directory.join("words.mem"), text)?;
    let mut arguments = vec![
        format!("+count={}", words.len()),
        format!("+wanted={}", stimulus.output_beats),
        format!("+limit={}", stimulus.limit),
        format!("+hold={}", stimulus.hold),
        format!("+drain={}", DRAIN + stimulus.late),
    ];
    if let Some(seed) = stimulus.stall {
        arguments.push(format!("+source={:016x}", start(seed, SOURCE)));
        arguments.push(format!("+sink={:016x}", start(seed, SINK)));
    }
    if let Some(reset) = stimulus.reset {
        arguments.push(format!("+reset_at={}", reset.at));
        arguments.push(format!("+reset_end={}", reset.at + reset.cycles));
    }
    Ok(arguments)
}

/// Reads what the bench recorded. An `x` in an accepted beat is an error of `command`.
pub fn read_trace(
    design: &Design,
    stimulus: &Stimulus,
    command: &str,
    directory: &Path,
) -> Result<Trace, ToolError> {
    let text = fs::read_to_string(directory.join("trace.txt"))?;
    let failed = |tail: String| ToolError::Failed {
        command: command.to_owned(),
        code: Some(0),
        tail,
        directory: directory.to_path_buf(),
    };
    let mut trace = Trace { taps: vec![Vec::new(); design.taps.len()], cycles: 0 };
    for line in text.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        match fields[..] {
            ["end", cycles] => {
                trace.cycles = cycles.parse().map_err(|_| failed(format!("not understood: {line}")))?
            }
            [tap, cycle, last, user, data] => {
                let beat = || {
                    let tap: usize = tap.parse().ok()?;
                    let beat = Beat {
                        cycle: cycle.parse().ok()?,
                        data: Bits::from_hex(design.taps.get(tap)?.width, data)?,
                        last: match last {
                            "0" => false,
                            "1" => true,
                            _ => return None,
                        },
                        user: u64::from_str_radix(user, 16).ok()?,
                    };
                    Some((tap, beat))
                };
                let (tap, beat) =
                    beat().ok_or_else(|| failed(format!("an accepted beat is not a number: {line}")))?;
                trace.taps[tap].push(beat);
            }
            _ => return Err(failed(format!("not understood: {line}"))),
        }
    }
    let since = stimulus.reset.map_or(0, |r| r.at + r.cycles);
    let found = trace.taps.last().map_or(0, |t| t.iter().filter(|b| b.cycle >= since).count());
    if found < stimulus.output_beats {
        return Err(ToolError::Stuck(Stuck { trace, wanted: stimulus.output_beats }));
    }
    Ok(trace)
}

//! The common part of the adapters of external simulators: a Verilog test bench, its files and its results.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use stoxnor_hdl::{Bits, verilog};

use crate::stall::{SINK, SOURCE, VERILOG, start};
use crate::stimulus::{Beat, DRAIN, Design, Stimulus, StreamShape, Stuck, Trace, exit_name};
use crate::tool::ToolError;

/// The top module of the test bench. Its only port is `clk`.
pub const BENCH: &str = "stoxnor_bench";

/// Writes the design's Verilog, its memory images and the test bench. Returns the names of the Verilog files.
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
    ];
    let exits = || design.exits.iter().enumerate();
    connections.extend(exits().map(|(k, _)| format!(".{0}_ready({0}_ready)", exit_name(k))));
    if user > 0 {
        connections.push(".s_user(word[WORD-1:WIDTH+1])".to_owned());
    }
    // Outputs that no tap observes are left unconnected.
    for port in design.top.ports.iter().filter(|p| p.output && p.name != "s_ready") {
        connections.push(format!(".{}()", port.name));
    }
    let mut taps = String::new();
    for (index, tap) in design.taps.iter().enumerate() {
        let name = &tap.name;
        let user = if tap.user > 0 { format!("dut.{name}_user") } else { "1'b0".to_owned() };
        let _ = writeln!(taps, "        if (dut.{name}_valid && dut.{name}_ready) begin");
        let _ = writeln!(taps, "          accepted_{index} <= accepted_{index} + 1;");
        let _ = writeln!(
            taps,
            "          $fwrite(trace, \"{index} %0d %b %h %h\\n\", cycle, dut.{name}_last, {user}, dut.{name}_data);\n        end"
        );
    }
    let each = |part: &dyn Fn(&str) -> String| {
        exits().map(|(k, _)| part(&exit_name(k))).collect::<Vec<_>>().join("\n")
    };
    let each_tap = |part: &dyn Fn(usize, &str) -> String, between: &str| {
        let of = |(index, tap): (usize, &StreamShape)| part(index, &tap.name);
        design.taps.iter().enumerate().map(of).collect::<Vec<_>>().join(between)
    };
    let completes = |index: usize, tap: &str| {
        format!("accepted_{index} + (dut.{tap}_valid && dut.{tap}_ready ? 1 : 0) >= wanted_{index}")
    };
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
        .replace("@SINKS@", &each(&|m| format!("  reg  [63:0] {m}_first;")))
        .replace(
            "@SINK_ARGUMENTS@",
            &each(&|m| format!("    if (!$value$plusargs(\"{m}_first=%h\", {m}_first)) {m}_first = 64'd0;")),
        )
        .replace(
            "@SINK_READIES@",
            &each(&|m| {
                format!("  wire {m}_stalls;\n  stall_pattern u_{m}_stall (.clk(clk), .running(running), .first({m}_first), .stalls({m}_stalls));\n  wire {m}_ready = !rst && !{m}_stalls && cycle >= hold;")
            }),
        )
        .replace("@TAP_COUNTS@", &each_tap(&|i, _| format!("  integer wanted_{i};\n  integer accepted_{i};"), "\n"))
        .replace(
            "@TAP_ARGUMENTS@",
            &each_tap(
                &|i, _| {
                    format!("    if (!$value$plusargs(\"wanted_{i}=%d\", wanted_{i})) wanted_{i} = 0;\n    accepted_{i} = 0;")
                },
                "\n",
            ),
        )
        .replace("@TAP_RESETS@", &each_tap(&|i, _| format!("        accepted_{i} <= 0;"), "\n"))
        .replace("@COMPLETE@", &each_tap(&|i, _| format!("accepted_{i} >= wanted_{i}"), " && "))
        .replace("@COMPLETES@", &each_tap(&completes, " && "))
}

/// Writes the stimulus. Returns the command-line arguments for the test bench.
pub fn write_stimulus(
    design: &Design,
    stimulus: &Stimulus,
    directory: &Path,
) -> Result<Vec<String>, ToolError> {
    // A stale trace of an earlier run must not be read.
    let _ = fs::remove_file(directory.join("trace.txt"));
    let words = stimulus.words(&design.input);
    let text: String = words.iter().map(|w| format!("{w}\n")).collect();
    fs::write(directory.join("words.mem"), text)?;
    let mut arguments = vec![
        format!("+count={}", words.len()),
        format!("+limit={}", stimulus.limit),
        format!("+hold={}", stimulus.hold),
        format!("+drain={}", DRAIN),
    ];
    for (index, wanted) in stimulus.tap_beats.iter().enumerate() {
        arguments.push(format!("+wanted_{index}={wanted}"));
    }
    if let Some(seed) = stimulus.stall {
        arguments.push(format!("+source={:016x}", start(seed, SOURCE)));
        let sinks = (0..design.exits.len()).map(|k| (exit_name(k), start(seed, SINK + k as u64)));
        arguments.extend(sinks.map(|(m, first)| format!("+{m}_first={first:016x}")));
    }
    if let Some(reset) = stimulus.reset {
        arguments.push(format!("+reset_at={}", reset.at));
        arguments.push(format!("+reset_end={}", reset.at + reset.cycles));
    }
    Ok(arguments)
}

/// Reads the recorded trace. An `x` in an accepted beat is an error of `command`.
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
    let found: Vec<usize> =
        trace.taps.iter().map(|tap| tap.iter().filter(|b| b.cycle >= since).count()).collect();
    Stuck::of(design, trace, &stimulus.tap_beats, &found).map_err(ToolError::Stuck)
}

//! The common part of the adapters of external simulators: a Verilog test bench, its files and its results.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use stoxnor_hdl::{Bits, verilog};

use crate::stall::{VERILOG, sink, source, start};
use crate::stimulus::{Beat, DRAIN, Design, Stimulus, StreamShape, Stuck, Trace, entry_name, exit_name};
use crate::tool::ToolError;

/// The top module of the test bench. Its only port is `clk`.
pub const BENCH: &str = "stoxnor_bench";

/// Writes the design's Verilog, its memory images and the test bench. Returns the names of the Verilog files.
pub fn write_sources(design: &Design, capacity: usize, directory: &Path) -> Result<Vec<String>, ToolError> {
    let mut names = Vec::new();
    for file in verilog::files(&design.top, &[]).into_iter().chain(verilog::models(&design.top)) {
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
    let mut connections = vec![".clk(clk)".to_owned(), ".rst(rst)".to_owned()];
    for (k, input) in design.inputs.iter().enumerate() {
        let (s, width, user) = (entry_name(k), input.width, input.user);
        connections.push(format!(".{s}_data({s}_word[{width}-1:0])"));
        connections.extend(["valid", "ready"].map(|part| format!(".{s}_{part}({s}_{part})")));
        connections.push(format!(".{s}_last({s}_word[{width}])"));
        if user > 0 {
            connections.push(format!(".{s}_user({s}_word[{}:{}])", width + user, width + 1));
        }
    }
    let exits = || design.exits.iter().enumerate();
    connections.extend(exits().map(|(k, _)| format!(".{0}_ready({0}_ready)", exit_name(k))));
    // Outputs that no tap observes are left unconnected.
    let readies: Vec<String> = (0..design.inputs.len()).map(|k| format!("{}_ready", entry_name(k))).collect();
    for port in design.top.ports.iter().filter(|p| p.output && !readies.contains(&p.name)) {
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
    let each_source = |part: &dyn Fn(&str, &StreamShape) -> String| {
        let of = |(k, input): (usize, &StreamShape)| part(&entry_name(k), input);
        design.inputs.iter().enumerate().map(of).collect::<Vec<_>>().join("\n")
    };
    let words = |s: &str, input: &StreamShape| {
        let high = input.width + input.user;
        format!(
            "  reg  [{high}:0] {s}_words [0:CAPACITY-1];\n  integer {s}_count;\n  integer {s}_next;\n  reg  {s}_holding;\n  reg  [63:0] {s}_first;"
        )
    };
    let arguments = |s: &str, _: &StreamShape| {
        format!(
            "    if (!$value$plusargs(\"{s}_count=%d\", {s}_count)) {s}_count = 0;\n    if (!$value$plusargs(\"{s}_first=%h\", {s}_first)) {s}_first = 64'd0;\n    $readmemh(\"{s}_words.mem\", {s}_words, 0, {s}_count - 1);\n    {s}_next = 0;\n    {s}_holding = 1'b0;"
        )
    };
    let sources = |s: &str, input: &StreamShape| {
        let high = input.width + input.user;
        format!(
            "  wire {s}_stalls;\n  stall_pattern u_{s}_stall (.clk(clk), .running(running), .first({s}_first), .stalls({s}_stalls));\n  wire {s}_valid = !rst && {s}_next < {s}_count && ({s}_holding || !{s}_stalls);\n  wire {s}_ready;\n  wire [{high}:0] {s}_word = {s}_words[{s}_next < {s}_count ? {s}_next : 0];"
        )
    };
    include_str!("bench.v")
        .replace("@CAPACITY@", &capacity.max(1).to_string())
        .replace("@SOURCES@", &each_source(&words))
        .replace("@SOURCE_ARGUMENTS@", &each_source(&arguments))
        .replace("@SOURCE_WORDS@", &each_source(&sources))
        .replace(
            "@SOURCE_RESETS@",
            &each_source(&|s, _| format!("        {s}_next <= 0;\n        {s}_holding <= 1'b0;")),
        )
        .replace(
            "@SOURCE_STEPS@",
            &each_source(&|s, _| {
                format!(
                    "        {s}_holding <= {s}_valid && !{s}_ready;\n        if ({s}_valid && {s}_ready) {s}_next <= {s}_next + 1;"
                )
            }),
        )
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
    let mut arguments = vec![
        format!("+limit={}", stimulus.limit),
        format!("+hold={}", stimulus.hold),
        format!("+drain={}", DRAIN),
    ];
    for (k, input) in design.inputs.iter().enumerate() {
        let (s, words) = (entry_name(k), stimulus.words(k, input));
        let text: String = words.iter().map(|w| format!("{w}\n")).collect();
        fs::write(directory.join(format!("{s}_words.mem")), text)?;
        arguments.push(format!("+{s}_count={}", words.len()));
    }
    for (index, wanted) in stimulus.tap_beats.iter().enumerate() {
        arguments.push(format!("+wanted_{index}={wanted}"));
    }
    if let Some(seed) = stimulus.stall {
        let sources = (0..design.inputs.len()).map(|k| (entry_name(k), source(k)));
        let ports = sources.chain((0..design.exits.len()).map(|k| (exit_name(k), sink(k))));
        arguments.extend(ports.map(|(name, port)| format!("+{name}_first={:016x}", start(seed, port))));
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

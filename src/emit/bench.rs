//! The self-checking Verilog-2005 test bench that `compile` writes, with its stimulus and the expected beats at every layer
//! boundary.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use stoxnor_hdl::{Bits, verilog};
use stoxnor_sim::stall::{VERILOG, sink, source, start};
use stoxnor_sim::verilator::driver;
use stoxnor_sim::{DRAIN, StreamShape, entry_name, exit_name};

use crate::engine;
use crate::engine::{cycle_limit, entry_beats, frames_to_beats};
use crate::frame::element::Element;
use crate::lower::Hardware;
use crate::network::Network;

/// Seed of the random frames of a test bench.
const SEED: u64 = 1;
/// The stall seed for `STALL=1`.
const STALL_SEED: u64 = 1;

/// The frames of a test bench.
#[derive(Debug, Clone)]
pub struct BenchFrames {
    /// The input integers of each frame: those of all inputs, one input after another.
    pub frames: Vec<Vec<i32>>,
    /// Members of each frame; empty without an ensemble.
    pub members: Vec<u32>,
}

impl BenchFrames {
    /// Frames with the given numbers of members, used cyclically. If none are given, 2 and 1 alternate, because simulators are
    /// slow.
    pub fn new(network: &Network, frames: Vec<Vec<i32>>, members: &[u32]) -> Self {
        let few = [network.ensemble.as_ref().map_or(1, |e| e.max_members.min(2)), 1];
        let members = if members.is_empty() { &few } else { members };
        let members = members.iter().copied().cycle().take(frames.len()).collect();
        Self { frames, members }
    }
}

/// Random frames, identical on every machine.
pub fn random_frames(network: &Network, count: usize, members: &[u32]) -> BenchFrames {
    let mut random = ChaCha8Rng::seed_from_u64(SEED);
    let mut one = |element: Element| match element {
        Element::Bipolar => {
            if random.random() {
                1
            } else {
                -1
            }
        }
        other => {
            let (least, most) = other.range();
            random.random_range(least..=most) as i32
        }
    };
    let ports = || network.entries.iter().map(|entry| &entry.port);
    let mut frame =
        || ports().flat_map(|p| std::iter::repeat_n(p.element, p.elements())).map(&mut one).collect();
    let frames = (0..count).map(|_| frame()).collect();
    BenchFrames::new(network, frames, members)
}

/// The files of `tb/`, with outputs computed by the reference engine: relative paths and contents. `axis` is the module with
/// AXI4-Stream ports, if there is one: the same commands run its test bench.
pub fn files(
    network: &Network,
    hardware: &Hardware,
    of: &BenchFrames,
    axis: Option<&str>,
) -> BTreeMap<String, String> {
    let user = hardware.design.inputs[0].user;
    let members: Vec<Bits> =
        of.members.iter().map(|m| Bits::new(user, if user == 0 { 0 } else { (*m).into() })).collect();
    let mut files = BTreeMap::new();
    let mut beats = Vec::new();
    for k in 0..network.entries.len() {
        let input = entry_beats(network, hardware, &of.frames, k);
        files.insert(format!("tb/{}", stimulus_file(k)), image(&input, &members));
        beats.push(input.iter().map(Vec::len).sum());
    }
    let mut boundaries = Vec::new();
    let results = engine::reference(network, &of.frames, &of.members);
    for (boundary, result) in hardware.boundaries.iter().zip(results) {
        let passes: Vec<Vec<i32>> = result.values.chunks(boundary.elements).map(<[i32]>::to_vec).collect();
        let beats = frames_to_beats(&passes, boundary.lanes, boundary.element);
        files.insert(format!("tb/{}_expected.mem", boundary.name), image(&beats, &[]));
        boundaries.push(Boundary {
            name: &boundary.name,
            element: boundary.element,
            pe: boundary.lanes,
            beats: boundary.elements / boundary.lanes,
            passes: passes.len(),
        });
    }
    let top = &hardware.design.top.name;
    files.insert(format!("tb/{top}_tb.v"), bench(hardware, &boundaries, &of.members, &beats));
    let mut bench = format!("  {top}_tb bench (.clk(clk));\n");
    if let Some(name) = axis {
        bench = format!("`ifdef AXIS\n  {name}_tb bench (.clk(clk));\n`else\n{bench}`endif\n");
    }
    files.insert("tb/clock.v".to_owned(), format!(
        "// The clock, for simulators that are not driven from outside.\n\nmodule clock;\n  reg clk = 1'b0;\n  always #5 clk = ~clk;\n{bench}endmodule\n"
    ));
    files.insert("tb/main.cpp".to_owned(), driver("bench"));
    files.insert("tb/models/dp16kd.v".to_owned(), verilog::DP16KD.to_owned());
    for model in verilog::models(&hardware.design.top) {
        files.insert(format!("tb/cells/{}", model.name), model.text);
    }
    files.insert("tb/stall_pattern.v".to_owned(), VERILOG.to_owned());
    files.insert("tb/Makefile".to_owned(), makefile(hardware, axis));
    files
}

struct Boundary<'a> {
    name: &'a str,
    element: Element,
    pe: usize,
    /// Beats per frame.
    beats: usize,
    /// Total number of passes over all frames.
    passes: usize,
}

/// Beats as lines of a memory image. From the least significant bits: data, `last`, and the frame's user bits.
fn image(frames: &[Vec<Bits>], users: &[Bits]) -> String {
    let mut text = String::new();
    for (at, frame) in frames.iter().enumerate() {
        let user = users.get(at).filter(|u| u.width() > 0);
        for (index, beat) in frame.iter().enumerate() {
            let width = beat.width() + 1 + user.map_or(0, Bits::width);
            let mut word = Bits::from_words(width, beat.words().iter().copied());
            word.set(beat.width(), index + 1 == frame.len());
            if let Some(user) = user {
                word.insert(beat.width() + 1, user.width(), user.words()[0]);
            }
            let _ = writeln!(text, "{word}");
        }
    }
    text
}

impl Boundary<'_> {
    fn width(&self) -> u32 {
        self.pe as u32 * self.element.bits()
    }

    fn total(&self) -> usize {
        self.beats * self.passes
    }

    fn declarations(&self) -> String {
        let (name, width) = (self.name, self.width());
        format!(
            "  reg  [{width}:0] {name}_expected [0:{}];\n  reg  [{width}:0] {name}_want;\n  reg  [{width}:0] {name}_have;\n  integer {name}_next;\n",
            self.total() - 1
        )
    }

    fn initial(&self) -> String {
        let name = self.name;
        format!("    $readmemh(\"{name}_expected.mem\", {name}_expected);\n    {name}_next = 0;\n")
    }

    /// The Verilog expression for the integer value of an element of `word`.
    fn value(&self, word: &str) -> String {
        let bits = self.element.bits();
        let part = format!("{word}[first*{bits} +: {bits}]");
        match self.element {
            Element::Bipolar => format!("({part} ? 1 : -1)"),
            Element::Unsigned(_) => part,
            Element::Signed(_) => format!("$signed({part})"),
        }
    }

    /// The comparison of the beats of stream `m` of the design.
    fn check(&self, m: &str) -> String {
        let Self { name, pe, beats, .. } = self;
        let (total, bits, width) = (self.total(), self.element.bits(), self.width());
        let (want, have) = (format!("{name}_want"), format!("{name}_have"));
        format!(
            "      if (!stop && dut.{m}_valid && dut.{m}_ready) begin
        {have} = {{dut.{m}_last, dut.{m}_data}};
        {want} = {name}_expected[{name}_next < {total} ? {name}_next : 0];
        if ({name}_next == {total}) begin
          stop = 1'b1;
          $display(\"FAIL: a beat too many at {name}, cycle %0d\", cycle);
          $finish;
        end else if ({have} !== {want}) begin
          stop = 1'b1;
          first = {pe};
          for (element = {last}; element >= 0; element = element - 1) begin
            if ({have}[element*{bits} +: {bits}] !== {want}[element*{bits} +: {bits}]) first = element;
          end
          if (first == {pe}) begin
            $display(\"FAIL: wrong last at {name}, frame %0d, beat %0d, cycle %0d: expected %b, found %b\",
              {name}_next / {beats}, {name}_next % {beats}, cycle, {want}[{width}], {have}[{width}]);
          end else begin
            $display(\"FAIL: first difference at {name}, frame %0d, element %0d, cycle %0d: expected %0d, found %0d\",
              {name}_next / {beats}, {name}_next % {beats} * {pe} + first, cycle, {wanted}, {found});
          end
          $finish;
        end
        {name}_next = {name}_next + 1;
      end
",
            last = pe - 1,
            wanted = self.value(&want),
            found = self.value(&have),
        )
    }
}

/// The file of an input's beats.
pub(super) fn stimulus_file(index: usize) -> String {
    if index == 0 { "stimulus.mem".to_owned() } else { format!("stimulus{index}.mem") }
}

/// An input in the test bench: its beats, and its source.
#[derive(Debug)]
pub(super) struct Source<'a> {
    s: String,
    file: String,
    /// The argument that gives the state of the stall pattern at cycle 0.
    argument: String,
    shape: &'a StreamShape,
    beats: usize,
}

impl<'a> Source<'a> {
    /// The source of input `index` of the design, which sends so many beats.
    pub(super) fn new(index: usize, shape: &'a StreamShape, beats: usize) -> Self {
        let s = entry_name(index);
        let argument = if index == 0 { "source".to_owned() } else { format!("{s}_first") };
        Self { s, file: stimulus_file(index), argument, shape, beats }
    }

    fn high(&self) -> u32 {
        self.shape.width + self.shape.user
    }

    pub(super) fn declarations(&self) -> String {
        let Self { s, beats, .. } = self;
        format!(
            "  reg  [{}:0] {s}_stimulus [0:{}];\n  integer {s}_sent;\n  reg  {s}_holding;\n  reg  [63:0] {s}_first;\n",
            self.high(),
            beats - 1
        )
    }

    pub(super) fn initial(&self) -> String {
        let Self { s, file, argument, .. } = self;
        format!(
            "    $readmemh(\"{file}\", {s}_stimulus);\n    {s}_sent = 0;\n    {s}_holding = 1'b0;\n    if (!$value$plusargs(\"{argument}=%h\", {s}_first)) {s}_first = 64'd0;\n"
        )
    }

    pub(super) fn wires(&self) -> String {
        let Self { s, beats, .. } = self;
        format!(
            "  wire {s}_stalls;\n  stall_pattern u_{s}_stall (.clk(clk), .running(running), .first({s}_first), .stalls({s}_stalls));\n  wire {s}_valid = !rst && {s}_sent < {beats} && ({s}_holding || !{s}_stalls);\n  wire {s}_ready;\n  wire [{}:0] {s}_beat = {s}_stimulus[{s}_sent < {beats} ? {s}_sent : 0];\n",
            self.high()
        )
    }

    fn ports(&self) -> String {
        let Self { s, shape, .. } = self;
        let width = shape.width;
        let user = if shape.user > 0 {
            format!("    .{s}_user({s}_beat[{}:{}]),\n", self.high(), width + 1)
        } else {
            String::new()
        };
        format!(
            "    .{s}_data({s}_beat[{width}-1:0]),\n    .{s}_valid({s}_valid),\n    .{s}_last({s}_beat[{width}]),\n{user}    .{s}_ready({s}_ready),\n"
        )
    }

    pub(super) fn steps(&self) -> String {
        let s = &self.s;
        format!(
            "      {s}_holding <= {s}_valid && !{s}_ready;\n      if ({s}_valid && {s}_ready) {s}_sent <= {s}_sent + 1;\n"
        )
    }
}

/// Where an instance of the design finds its memory images: in rtl/, or, with IMAGES_HERE, where the simulator runs.
pub(super) fn parameters(hardware: &Hardware) -> String {
    let bindings = |folder: &str| -> Vec<String> {
        let images = hardware.design.top.images();
        images.map(|(name, image)| format!("    .{name}(\"{folder}{}\")", image.file)).collect()
    };
    let (beside, here) = (bindings("../rtl/").join(",\n"), bindings("").join(",\n"));
    if beside.is_empty() {
        return String::new();
    }
    format!("#(\n`ifdef IMAGES_HERE\n{here}\n`else\n{beside}\n`endif\n  ) ")
}

fn bench(hardware: &Hardware, boundaries: &[Boundary<'_>], members: &[u32], beats: &[usize]) -> String {
    let all = |part: &dyn Fn(&Boundary<'_>) -> String| boundaries.iter().map(part).collect::<String>();
    let outputs = |part: &dyn Fn(&Boundary<'_>, &str) -> String| -> String {
        let exits = hardware.design.exits.iter().enumerate();
        exits.map(|(k, boundary)| part(&boundaries[*boundary], &exit_name(k))).collect()
    };
    let complete = |b: &Boundary<'_>| format!(" && {}_next == {}", b.name, b.total());
    let values = |b: &Boundary<'_>| format!(", {}_next", b.name);
    let limit = cycle_limit(hardware, members, true);
    let input = &hardware.design.inputs[0];
    let others = hardware.design.inputs.iter().zip(beats).enumerate().skip(1);
    let others: Vec<Source<'_>> =
        others.map(|(index, (shape, beats))| Source::new(index, shape, *beats)).collect();
    let more = |part: &dyn Fn(&Source<'_>) -> String| others.iter().map(part).collect::<String>();
    let user = if input.user > 0 {
        format!("    .s_user(beat[{}:{}]),\n", input.width + input.user, input.width + 1)
    } else {
        String::new()
    };
    let stuck = |b: &Boundary<'_>| format!(" {} has %0d of {} beats", b.name, b.total());
    include_str!("bench.v")
        .replace("@TOP@", &hardware.design.top.name)
        .replace("@BEATS@", &beats[0].to_string())
        .replace("@SOURCES@\n", &more(&|s: &Source<'_>| s.declarations()))
        .replace("@SOURCE_INITIAL@\n", &more(&|s: &Source<'_>| s.initial()))
        .replace("@SOURCE_WIRES@\n", &more(&|s: &Source<'_>| s.wires()))
        .replace("@SOURCE_PORTS@\n", &more(&|s: &Source<'_>| s.ports()))
        .replace("@SOURCE_STEPS@\n", &more(&|s: &Source<'_>| s.steps()))
        .replace("@DRAIN@", &DRAIN.to_string())
        .replace("@LIMIT@", &limit.to_string())
        .replace("@WIDTH@", &input.width.to_string())
        .replace("@WORD@", &(input.width + input.user).to_string())
        .replace("    @USER@\n", &user)
        .replace("@FRAMES@", &members.len().to_string())
        .replace("@DECLARATIONS@", all(&|b: &Boundary<'_>| b.declarations()).trim_end())
        .replace("@INITIAL@", all(&|b: &Boundary<'_>| b.initial()).trim_end())
        .replace("@PARAMETERS@", &parameters(hardware))
        .replace("@SINKS@", &sinks(hardware, |m| format!("  reg  [63:0] {m}_first;")))
        .replace(
            "@SINK_ARGUMENTS@",
            &sinks(hardware, |m| format!("    if (!$value$plusargs(\"{m}_first=%h\", {m}_first)) {m}_first = 64'd0;")),
        )
        .replace(
            "@SINK_READIES@",
            &sinks(hardware, |m| {
                format!("  wire {m}_stalls;\n  stall_pattern u_{m}_stall (.clk(clk), .running(running), .first({m}_first), .stalls({m}_stalls));\n  wire {m}_ready = !rst && !{m}_stalls;")
            }),
        )
        .replace(
            "@SINK_PORTS@",
            sinks(hardware, |m| {
                let has_user = hardware.design.top.port(&format!("{m}_user")).is_some();
                let user = if has_user { format!("    .{m}_user(),\n") } else { String::new() };
                format!("{user}    .{m}_data(),\n    .{m}_valid(),\n    .{m}_last(),\n    .{m}_ready({m}_ready),")
            })
            .trim_end_matches(','),
        )
        .replace("@CHECKS@", all(&|b: &Boundary<'_>| b.check(&format!("{}_m", b.name))).trim_end())
        .replace("@OUTPUT_CHECKS@", outputs(&|b, m| b.check(m)).trim_end())
        .replace("@COMPLETE@", all(&complete).trim_start_matches(" && "))
        .replace("@OUTPUT_COMPLETE@", outputs(&|b, _| complete(b)).trim_start_matches(" && "))
        .replace("@STUCK_FORMAT@", &all(&stuck))
        .replace("@OUTPUT_STUCK_FORMAT@", &outputs(&|b, _| stuck(b)))
        .replace("@STUCK_VALUES@", &all(&values))
        .replace("@OUTPUT_STUCK_VALUES@", &outputs(&|b, _| values(b)))
}

/// The concatenated text of `text` for each output stream.
fn sinks(hardware: &Hardware, text: impl Fn(&str) -> String) -> String {
    (0..hardware.design.exits.len()).map(|k| text(&exit_name(k))).collect::<Vec<_>>().join("\n")
}

fn makefile(hardware: &Hardware, axis: Option<&str>) -> String {
    let top = &hardware.design.top.name;
    let bench = match axis {
        None => format!("BENCH = {top}_tb\n"),
        Some(name) => format!(
            "# AXIS=1 is the test bench of the AXI4-Stream ports.
AXIS ?= 0
ifeq ($(AXIS),0)
BENCH = {top}_tb
else
BENCH = {name}_tb
DEFINES += -DAXIS
endif
"
        ),
    };
    let first = |(name, port): (String, u64)| format!("+{name}_first={:016x}", start(STALL_SEED, port));
    let inputs = (1..hardware.design.inputs.len()).map(|k| (entry_name(k), source(k)));
    let outputs = (0..hardware.design.exits.len()).map(|k| (exit_name(k), sink(k)));
    let first: Vec<String> = inputs.chain(outputs).map(first).collect();
    format!(
        "# Self-checking test bench: `make icarus` or `make verilator`; STALL=1 makes source and sink stall.
# A synthesised netlist: `make icarus OUTPUTS_ONLY=1 DESIGN=\"netlist.v cells_sim.v\"`, with the vendor's cell models; FLAGS
# are further options of the simulator.
DESIGN ?= $(wildcard ../rtl/*.v cells/*.v)
{bench}SOURCES = $(DESIGN) $(BENCH).v stall_pattern.v
OUTPUTS_ONLY ?= 0
ifneq ($(OUTPUTS_ONLY),0)
DEFINES += -DOUTPUTS_ONLY
endif
STALL ?= 0
ifeq ($(STALL),0)
ARGUMENTS =
else
ARGUMENTS = +source={:016x} {}
endif

.PHONY: icarus verilator clean

icarus:
\tiverilog -g2005 $(DEFINES) $(FLAGS) -s clock -o bench.vvp clock.v $(SOURCES)
\tvvp -n bench.vvp $(ARGUMENTS) | tee icarus.log
\t@grep -q '^PASS' icarus.log

verilator:
\tverilator $(DEFINES) $(FLAGS) --cc --exe --prefix Vbench --top-module $(BENCH) -Wno-fatal -Wno-lint -Wno-style -Wno-WIDTH \\
\t  --Mdir build main.cpp $(SOURCES)
\t$(MAKE) -C build -f Vbench.mk Vbench CFG_CXXFLAGS_PCH_I=-include
\t./build/Vbench $(ARGUMENTS) | tee verilator.log
\t@grep -q '^PASS' verilator.log

clean:
\trm -rf build bench.vvp icarus.log verilator.log
",
        start(STALL_SEED, source(0)),
        first.join(" ")
    )
}

//! AXI4-Stream ports around a core, and a self-checking test bench of them.

use std::fmt::Write as _;

use stoxnor_hdl::index_bits;
use stoxnor_sim::{DRAIN, entry_name, exit_name};

use crate::emit::bench::{Source, parameters};
use crate::engine::cycle_limit;
use crate::frame::element::Element;
use crate::lower::Hardware;
use crate::network::Network;

/// Ports around a core.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Wrap {
    /// None: the core's own.
    #[default]
    None,
    /// AXI4-Stream.
    Axis,
}

/// One stream of a wrapped core.
#[derive(Debug, Clone)]
pub struct Side {
    /// Name of the core's stream: `s` or `m`, with a number if there are several.
    pub stream: String,
    /// Element type.
    pub element: Element,
    /// Elements a beat.
    pub lanes: usize,
    /// Beats a frame.
    pub beats: usize,
    /// Bits of `tuser`, and of the core's user port; 0 without.
    pub user: u32,
}

impl Side {
    /// Bytes that an element takes in `tdata`.
    pub fn bytes(&self) -> u32 {
        self.element.bits().div_ceil(8)
    }

    /// Bits of `tdata`.
    pub fn width(&self) -> u32 {
        8 * self.bytes() * self.lanes as u32
    }

    /// Bits of the core's data.
    pub fn bits(&self) -> u32 {
        self.element.bits() * self.lanes as u32
    }

    fn ports(&self, input: bool) -> String {
        let (s, width) = (&self.stream, self.width());
        let (forth, back) = if input { ("input ", "output") } else { ("output", "input ") };
        let user = match self.user {
            0 => String::new(),
            user => format!("  {forth} wire [{}:0] {s}_axis_tuser,\n", user - 1),
        };
        format!(
            "  {forth} wire [{}:0] {s}_axis_tdata,\n  {forth} wire {s}_axis_tvalid,\n  {back} wire {s}_axis_tready,\n  {forth} wire {s}_axis_tlast,\n{user}",
            width - 1
        )
    }

    /// The core's data from `tdata`, and the frame's beats counted.
    fn input(&self) -> String {
        let (s, bits, all) = (&self.stream, self.element.bits(), 8 * self.bytes());
        let element = match self.element {
            Element::Bipolar => format!("!{s}_axis_tdata[8*i + 7]"),
            _ => part(&format!("{s}_axis_tdata"), all, bits),
        };
        let own = part(&format!("{s}_data"), bits, bits);
        let mut text = format!(
            "  wire [{}:0] {s}_data;\n\n  generate\n    for (i = 0; i < {}; i = i + 1) begin : g_{s}\n      assign {own} = {element};\n    end\n  endgenerate\n\n",
            self.bits() - 1,
            self.lanes
        );
        let taken = format!("{s}_axis_tvalid && {s}_axis_tready");
        if self.beats == 1 {
            let _ = writeln!(text, "  wire {s}_last = 1'b1;");
        } else {
            let count = index_bits(self.beats as u64);
            let _ = write!(
                text,
                "  reg  [{}:0] {s}_beat_q;\n  wire {s}_last = {s}_beat_q == {count}'d{};\n\n  always @(posedge aclk) begin : p_{s}_beat\n    if (!aresetn) begin\n      {s}_beat_q <= {count}'d0;\n    end else if ({taken}) begin\n      {s}_beat_q <= {s}_last ? {count}'d0 : {s}_beat_q + {count}'d1;\n    end\n  end\n\n",
                count - 1,
                self.beats - 1
            );
        }
        let _ = writeln!(text, "  wire {s}_wrong = {taken} && {s}_axis_tlast != {s}_last;\n");
        text
    }

    /// Elements of `from`, a beat of the core's stream, side by side in whole bytes at `to`.
    fn extended(&self, label: &str, from: &str, to: &str) -> String {
        let (bits, all) = (self.element.bits(), 8 * self.bytes());
        let value = part(from, bits, bits);
        let value = match self.element {
            Element::Bipolar => format!("{{{{7{{!{value}}}}}, 1'b1}}"),
            _ if all == bits => value,
            Element::Unsigned(_) => format!("{{{}'d0, {value}}}", all - bits),
            Element::Signed(_) => {
                format!("{{{{{}{{{from}[{bits}*i + {}]}}}}, {value}}}", all - bits, bits - 1)
            }
        };
        format!(
            "  generate\n    for (i = 0; i < {}; i = i + 1) begin : g_{label}\n      assign {to}[{all}*i +: {all}] = {value};\n    end\n  endgenerate\n",
            self.lanes
        )
    }

    fn output(&self) -> String {
        let s = &self.stream;
        let data = format!("{s}_data");
        format!(
            "  wire [{}:0] {data};\n\n{}\n",
            self.bits() - 1,
            self.extended(s, &data, &format!("{s}_axis_tdata"))
        )
    }

    fn connections(&self, input: bool) -> String {
        let s = &self.stream;
        let last = if input { format!("{s}_last") } else { format!("{s}_axis_tlast") };
        let user = if self.user > 0 { format!(",\n    .{s}_user({s}_axis_tuser)") } else { String::new() };
        format!(
            ",\n    .{s}_data({s}_data),\n    .{s}_valid({s}_axis_tvalid),\n    .{s}_ready({s}_axis_tready),\n    .{s}_last({last}){user}"
        )
    }
}

/// The streams of a core, inputs and outputs.
pub fn sides(network: &Network, hardware: &Hardware) -> (Vec<Side>, Vec<Side>) {
    let input = |k: usize| {
        let (port, lanes) = (&network.entries[k].port, hardware.input_lanes(k));
        let (beats, user) = (port.elements() / lanes, hardware.design.inputs[k].user);
        Side { stream: entry_name(k), element: port.element, lanes, beats, user }
    };
    let output = |(k, exit): (usize, &usize)| {
        let (boundary, stream) = (&hardware.boundaries[*exit], exit_name(k));
        let top = &hardware.design.top;
        let user = top.port(&format!("{stream}_user")).map_or(0, |port| top.width(port.net));
        Side { stream, element: boundary.element, lanes: boundary.lanes, beats: boundary.beats(), user }
    };
    let inputs = (0..network.entries.len()).map(input).collect();
    (inputs, hardware.design.exits.iter().enumerate().map(output).collect())
}

/// Name of the module with AXI4-Stream ports.
pub fn name(network: &Network) -> String {
    format!("{}_axis", network.name)
}

/// `bits` bits of element i, which begins at bit `pitch` i.
fn part(name: &str, pitch: u32, bits: u32) -> String {
    if pitch == 1 { format!("{name}[i]") } else { format!("{name}[{pitch}*i +: {bits}]") }
}

fn all(sides: &[Side], text: impl Fn(&Side) -> String) -> String {
    sides.iter().map(text).collect()
}

/// The core with AXI4-Stream ports: Verilog.
///
/// An element takes whole bytes of `tdata`, extended by its sign: a bipolar one is the byte 1 or -1. `error` rises where `tlast` comes early
/// or late, and stays until reset; frames are told apart by counting beats.
pub fn wrapper(network: &Network, hardware: &Hardware, header: &[String]) -> String {
    let (inputs, outputs) = sides(network, hardware);
    let top = &hardware.design.top;
    let images: Vec<(&str, &str)> = top
        .parameters
        .iter()
        .filter_map(|p| Some((p.name.as_str(), p.image.as_ref()?.file.as_str())))
        .collect();
    let list =
        |item: &dyn Fn(&(&str, &str)) -> String| images.iter().map(item).collect::<Vec<_>>().join(",\n");
    let given =
        |parameters: String| if parameters.is_empty() { parameters } else { format!(" #(\n{parameters}\n)") };
    let busses: Vec<String> =
        inputs.iter().chain(&outputs).map(|side| format!("{}_axis", side.stream)).collect();
    let wrong: Vec<String> = inputs.iter().map(|side| format!("{}_wrong", side.stream)).collect();
    let unused: Vec<String> = inputs.iter().map(|side| format!("{}_axis_tdata", side.stream)).collect();
    let header: String = header.iter().map(|line| format!("{}\n", format!("// {line}").trim_end())).collect();
    include_str!("axis.v")
        .replace("@HEADER@\n", &header)
        .replace("@NAME@", &name(network))
        .replace("@TOP@", &top.name)
        .replace("@PARAMETERS@", &given(list(&|(name, file)| format!("  parameter {name} = \"{file}\""))))
        .replace("@BUSSES@", &busses.join(":"))
        .replace(
            "@PORTS@\n",
            &(all(&inputs, |side| side.ports(true)) + &all(&outputs, |side| side.ports(false))),
        )
        .replace("@INPUTS@\n", &all(&inputs, Side::input))
        .replace("@OUTPUTS@\n", &all(&outputs, Side::output))
        .replace("@WRONG@", &wrong.join(" || "))
        .replace("@UNUSED@", &unused.join(", "))
        .replace(
            "@BINDINGS@",
            &given(list(&|(name, _)| format!("    .{name}({name})"))).replace("\n)", "\n  )"),
        )
        .replace(
            "@CONNECTIONS@",
            &(all(&inputs, |side| side.connections(true)) + &all(&outputs, |side| side.connections(false))),
        )
}

impl Side {
    /// The wires of an input in the test bench, from the beats of the source of the same stream.
    fn bench_input(&self) -> String {
        let (s, bits) = (&self.stream, self.bits());
        format!(
            "  wire [{}:0] {s}_data = {s}_beat[{}:0];\n  wire [{}:0] {s}_tdata;\n{}",
            bits - 1,
            bits - 1,
            self.width() - 1,
            self.extended(s, &format!("{s}_data"), &format!("{s}_tdata"))
        )
    }

    fn bench_input_ports(&self, first: bool) -> String {
        let (s, bits) = (&self.stream, self.bits());
        // A core may take a beat of one input only with one of the others.
        let last =
            if first { format!("{s}_beat[{bits}] ^ (phase == WRONG)") } else { format!("{s}_beat[{bits}]") };
        let user = match self.user {
            0 => String::new(),
            user => format!("    .{s}_axis_tuser({s}_beat[{}:{}]),\n", bits + user, bits + 1),
        };
        format!(
            "    .{s}_axis_tdata({s}_tdata),\n    .{s}_axis_tvalid({s}_valid || phase == WRONG),\n    .{s}_axis_tready({s}_ready),\n    .{s}_axis_tlast({last}),\n{user}"
        )
    }

    fn sink(&self, frames: usize) -> String {
        let (m, bits) = (&self.stream, self.bits());
        format!(
            "  reg  [{bits}:0] {m}_expected [0:{}];\n  integer {m}_next;\n  reg  [63:0] {m}_first;\n",
            self.beats * frames - 1
        )
    }

    fn sink_initial(&self, boundary: &str) -> String {
        let m = &self.stream;
        format!(
            "    $readmemh(\"{boundary}_expected.mem\", {m}_expected);\n    {m}_next = 0;\n    if (!$value$plusargs(\"{m}_first=%h\", {m}_first)) {m}_first = 64'd0;\n"
        )
    }

    fn sink_wires(&self, frames: usize) -> String {
        let (m, bits, width) = (&self.stream, self.bits(), self.width());
        let total = self.beats * frames;
        format!(
            "  wire {m}_stalls;\n  stall_pattern u_{m}_stall (.clk(clk), .running(running), .first({m}_first), .stalls({m}_stalls));\n  wire {m}_ready = !rst && !{m}_stalls;\n  wire {m}_valid;\n  wire {m}_last;\n  wire [{}:0] {m}_tdata;\n  wire [{bits}:0] {m}_want = {m}_expected[{m}_next < {total} ? {m}_next : 0];\n  wire [{}:0] {m}_due;\n{}",
            width - 1,
            width - 1,
            self.extended(m, &format!("{m}_want"), &format!("{m}_due"))
        )
    }

    fn sink_ports(&self) -> String {
        let m = &self.stream;
        let user = if self.user > 0 { format!("    .{m}_axis_tuser(),\n") } else { String::new() };
        format!(
            "    .{m}_axis_tdata({m}_tdata),\n    .{m}_axis_tvalid({m}_valid),\n    .{m}_axis_tready({m}_ready),\n    .{m}_axis_tlast({m}_last),\n{user}"
        )
    }

    fn check(&self, frames: usize) -> String {
        let (m, bits, beats) = (&self.stream, self.bits(), self.beats);
        format!(
            "        if (!stop && {m}_valid && {m}_ready) begin
          if ({m}_next == {total}) begin
            stop = 1'b1;
            $display(\"FAIL: a beat too many at {m}_axis, cycle %0d\", cycle);
            $finish;
          end else if ({{{m}_last, {m}_tdata}} !== {{{m}_want[{bits}], {m}_due}}) begin
            stop = 1'b1;
            $display(\"FAIL: first difference at {m}_axis, frame %0d, beat %0d, cycle %0d: expected %h, found %h\",
              {m}_next / {beats}, {m}_next % {beats}, cycle, {{{m}_want[{bits}], {m}_due}}, {{{m}_last, {m}_tdata}});
            $finish;
          end
          {m}_next = {m}_next + 1;
        end
",
            total = beats * frames
        )
    }
}

/// The self-checking test bench of the core with AXI4-Stream ports. It takes the stimulus and the expected beats of the core's own.
pub fn bench(network: &Network, hardware: &Hardware, members: &[u32]) -> String {
    let (inputs, outputs) = sides(network, hardware);
    let frames = members.len();
    let shapes = hardware.design.inputs.iter().zip(&inputs).enumerate();
    let sources: Vec<Source<'_>> =
        shapes.map(|(k, (shape, side))| Source::new(k, shape, side.beats * frames)).collect();
    let boundary = |k: usize| hardware.boundaries[hardware.design.exits[k]].name.as_str();
    let first = &inputs[0].stream;
    let indexed = |text: &dyn Fn(usize, &Side) -> String| -> String {
        outputs.iter().enumerate().map(|(k, side)| text(k, side)).collect()
    };
    let of = |text: &dyn Fn(&Source<'_>) -> String| -> String { sources.iter().map(text).collect() };
    let complete: Vec<String> =
        outputs.iter().map(|side| format!("{}_next == {}", side.stream, side.beats * frames)).collect();
    let stuck = |side: &Side| format!(" {}_axis has %0d of {} beats", side.stream, side.beats * frames);
    let wires = inputs.iter().zip(&sources).map(|(side, source)| source.wires() + &side.bench_input());
    include_str!("axis_bench.v")
        .replace("@NAME@", &name(network))
        .replace("@LIMIT@", &cycle_limit(hardware, members, true).to_string())
        .replace("@DRAIN@", &DRAIN.to_string())
        .replace("@FRAMES@", &frames.to_string())
        .replace("@PARAMETERS@", &parameters(hardware))
        .replace("@SOURCES@\n", &of(&|source| source.declarations()))
        .replace("@SOURCE_INITIAL@\n", &of(&|source| source.initial()))
        .replace("@SOURCE_WIRES@\n", &wires.collect::<String>())
        .replace("@SOURCE_STEPS@\n", &of(&|source| source.steps()))
        .replace("@SINKS@\n", &all(&outputs, |side| side.sink(frames)))
        .replace("@SINK_INITIAL@\n", &indexed(&|k, side| side.sink_initial(boundary(k))))
        .replace("@SINK_WIRES@\n", &all(&outputs, |side| side.sink_wires(frames)))
        .replace(
            "@PORTS@\n",
            &(inputs.iter().enumerate().map(|(k, side)| side.bench_input_ports(k == 0)).collect::<String>()
                + &all(&outputs, Side::sink_ports)),
        )
        .replace("@CHECKS@\n", &all(&outputs, |side| side.check(frames)))
        .replace("@COMPLETE@", &complete.join(" && "))
        .replace("@TAKEN@", &format!("{first}_ready"))
        .replace("@STUCK_FORMAT@", &all(&outputs, stuck))
        .replace("@STUCK_VALUES@", &all(&outputs, |side| format!(", {}_next", side.stream)))
}

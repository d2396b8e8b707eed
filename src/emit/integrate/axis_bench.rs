//! A self-checking test bench of the AXI4-Stream ports.

use stoxnor_sim::DRAIN;

use crate::emit::bench::{Source, parameters};
use crate::emit::integrate::axis::{Side, all, name, sides};
use crate::engine::cycle_limit;
use crate::lower::Hardware;
use crate::network::Network;

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

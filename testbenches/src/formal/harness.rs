//! The module around a block: its ports left open, what is assumed of its streams, and models to compare it with.

use std::fmt::Write as _;
use std::sync::Arc;

use stoxnor_hdl::{Module, bits_for, verilog};

use super::Method;
use super::Proof;

/// Bits of counters of beats. They go round; as no block holds as many beats as they tell apart, that makes no difference.
pub const COUNT: u32 = 3;

/// A harness in the making. All of the block's inputs are open: whatever drives them is tried.
#[derive(Debug)]
pub struct Harness {
    module: Arc<Module>,
    body: String,
    inside: Vec<(String, String)>,
    covers: u32,
}

impl Harness {
    /// Around a block. A clocked one has been reset in the first cycle, and may be again at any time: `running` tells that it is not.
    pub fn new(module: Arc<Module>) -> Self {
        let mut body = String::new();
        if module.clocked() {
            body.push_str(
                "  reg started = 1'b0;\n  always @(posedge clk) started <= 1'b1;\n  always @* if (!started) assume (rst);\n  \
                 wire running = started & ~rst;\n",
            );
        }
        Self { module, body, inside: Vec::new(), covers: 0 }
    }

    /// Lines of SystemVerilog.
    pub fn add(&mut self, lines: impl AsRef<str>) {
        for line in lines.as_ref().lines() {
            let _ = writeln!(self.body, "  {}", line.trim());
        }
    }

    /// A wire `<name>_i` that shows the signal `name` of the block.
    pub fn show(&mut self, name: &str, width: u32) {
        self.show_as(&format!("{name}_i"), name, width);
    }

    /// A wire that shows a signal of the block.
    pub fn show_as(&mut self, own: &str, name: &str, width: u32) {
        let _ = writeln!(self.body, "  wire [{}:0] {own};", width - 1);
        self.inside.push((own.to_owned(), name.to_owned()));
    }

    /// [`show`](Self::show) where the block has such a signal; its width.
    pub fn show_if_there(&mut self, name: &str) -> Option<u32> {
        let width = self.module.width(self.module.net(name)?);
        self.show(name, width);
        Some(width)
    }

    /// The register that tells whether counter `name` of so many is at its end tells the truth, where there is one.
    pub fn ends(&mut self, name: &str, count: u64) {
        if self.show_if_there(&format!("{name}_end_q")).is_some() {
            self.hold(format!("{name}_end_q_i == ({name}_q_i == {})", count - 1));
        }
    }

    /// What has to hold in every cycle but those of a reset.
    pub fn hold(&mut self, condition: impl AsRef<str>) {
        let when = if self.module.clocked() { "if (running) " } else { "" };
        let _ = writeln!(self.body, "  always @* {when}assert ({});", condition.as_ref());
    }

    /// What every run may be taken to do.
    pub fn take(&mut self, condition: impl AsRef<str>) {
        let _ = writeln!(self.body, "  always @* assume ({});", condition.as_ref());
    }

    /// What some run has to do within so many cycles.
    pub fn reach(&mut self, condition: impl AsRef<str>, cycles: u32) {
        let _ = writeln!(self.body, "  always @* if (running) cover ({});", condition.as_ref());
        self.covers = self.covers.max(cycles);
    }

    /// Bits of a port.
    fn bits(&self, port: &str) -> u32 {
        self.module.port(port).map_or(0, |p| self.module.width(p.net))
    }

    /// Bits of a stream's beat: its data, above them `last`, above that its user bits.
    pub fn word_bits(&self, stream: &str) -> u32 {
        self.bits(&format!("{stream}_data")) + 1 + self.bits(&format!("{stream}_user"))
    }

    /// Wires `<stream>_word`, `<stream>_moves` (a beat is accepted) and `<stream>_waits`. A beat of a stream that waits stays as it is: for
    /// an input that is assumed, for an output it has to be so.
    pub fn stream(&mut self, stream: &str) {
        let bits = self.word_bits(stream);
        let user =
            if self.bits(&format!("{stream}_user")) > 0 { format!("{stream}_user, ") } else { String::new() };
        self.add(format!(
            "wire [{}:0] {stream}_word = {{{user}{stream}_last, {stream}_data}};
             wire {stream}_moves = running & {stream}_valid & {stream}_ready;
             reg {stream}_waited;
             reg [{}:0] {stream}_before;
             always @(posedge clk) begin
             {stream}_waited <= running & {stream}_valid & ~{stream}_ready;
             {stream}_before <= {stream}_word;
             end",
            bits - 1,
            bits - 1
        ));
        let stays = format!("!{stream}_waited || ({stream}_valid && {stream}_word == {stream}_before)");
        let driven = self.module.port(&format!("{stream}_valid")).is_some_and(|p| p.output);
        if driven {
            self.hold(stays);
        } else {
            self.take(format!("!running || ({stays})"));
        }
    }

    /// A register `name` that counts from 0 to `limit - 1` and round where `step` is 1.
    pub fn counter(&mut self, name: &str, limit: u64, step: &str) {
        let bits = bits_for(limit - 1).max(1);
        self.add(format!(
            "reg [{}:0] {name};
             always @(posedge clk)
             if (rst) {name} <= 0;
             else if ({step}) {name} <= ({name} == {}) ? 0 : {name} + 1'b1;",
            bits - 1,
            limit - 1
        ));
    }

    /// Beats of a stream that have moved, modulo 2^[`COUNT`].
    pub fn count(&mut self, name: &str, step: &str) {
        self.add(format!(
            "reg [{}:0] {name};
             always @(posedge clk) if (rst) {name} <= 0; else if ({step}) {name} <= {name} + 1'b1;",
            COUNT - 1
        ));
    }

    /// A number below `limit` that stays the same in a run: any one, so that what is shown of it holds for all.
    pub fn any(&mut self, name: &str, limit: u64) {
        let bits = bits_for(limit - 1).max(1);
        self.add(format!("(* anyconst *) wire [{}:0] {name};", bits - 1));
        if limit < 1 << bits {
            self.take(format!("{name} < {limit}"));
        }
    }

    /// A register `name` that keeps `value` from when `when` is 1.
    pub fn keep(&mut self, name: &str, bits: u32, when: &str, value: &str) {
        self.add(format!(
            "reg [{}:0] {name};\nalways @(posedge clk) if ({when}) {name} <= {value};",
            bits - 1
        ));
    }

    /// The proof.
    pub fn proof(self, what: impl Into<String>, method: Method) -> Proof {
        let Self { module, body, inside, covers } = self;
        let text = verilog::print(&module, &[]);
        let is_port = |name: &&str| text.contains(&format!("input  wire {name}"));
        let clock: Vec<&str> = if module.clocked() { vec!["clk", "rst"] } else { vec![] };
        let range = |net| match module.width(net) {
            1 => String::new(),
            width => format!("[{}:0] ", width - 1),
        };
        let mut open: Vec<String> = clock.iter().map(|name| format!("input wire {name}")).collect();
        let inputs = module.ports.iter().filter(|p| !p.output);
        open.extend(inputs.map(|p| format!("input wire {}{}", range(p.net), p.name)));
        let outputs = module.ports.iter().filter(|p| p.output);
        let wires: String = outputs.map(|p| format!("  wire {}{};\n", range(p.net), p.name)).collect();
        let names = clock.into_iter().filter(is_port).chain(module.ports.iter().map(|p| p.name.as_str()));
        let connected: Vec<String> = names.map(|name| format!(".{name}({name})")).collect();
        let harness = format!(
            "module proof ({});\n{wires}  {} dut ({});\n{body}endmodule\n",
            open.join(", "),
            module.name,
            connected.join(", ")
        );
        Proof { what: what.into(), module, harness, inside, method, covered_in: covers }
    }
}

//! AXI4-Stream ports around a core.

use std::fmt::Write as _;

use stoxnor_hdl::index_bits;
use stoxnor_sim::{entry_name, exit_name};

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

    /// Verilog: the elements of `from`, a beat of the core's stream, side by side in whole bytes at `to`.
    pub(super) fn extended(&self, label: &str, from: &str, to: &str) -> String {
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

/// The texts of all streams, one behind the other.
pub(super) fn all(sides: &[Side], text: impl Fn(&Side) -> String) -> String {
    sides.iter().map(text).collect()
}

/// The core with AXI4-Stream ports: Verilog.
///
/// An element takes whole bytes of `tdata`, extended by its sign: a bipolar one is the byte 1 or -1. `error` rises where `tlast` comes early
/// or late, and stays until reset; frames are told apart by counting beats.
pub fn wrapper(network: &Network, hardware: &Hardware, header: &[String]) -> String {
    let (inputs, outputs) = sides(network, hardware);
    let top = &hardware.design.top;
    let images: Vec<(&str, &str)> = top.images().map(|(name, image)| (name, image.file.as_str())).collect();
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

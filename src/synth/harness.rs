//! The harness: shift registers in place of the core's ports, since no package has that many pins.

use std::fmt::Write as _;

use stoxnor_hdl::Module;

/// The harness' module.
pub const TOP: &str = "stoxnor_harness";
/// Its file.
pub const FILE: &str = "stoxnor_harness.v";
/// The core's instance in it.
pub const CORE: &str = "u_core";

/// A module around a core with the ports `clk`, `rst`, `d` and `q`. All of the core's inputs come from flip-flops and all of its
/// outputs go to flip-flops, so that every path of the core lies between two of them. No LUT is its own.
pub fn text(core: &Module) -> String {
    let inputs: u32 = core.ports.iter().filter(|port| !port.output).map(|port| core.width(port.net)).sum();
    let (mut given, mut pins, mut wires, mut found) = (inputs, String::new(), String::new(), Vec::new());
    for port in &core.ports {
        let width = core.width(port.net);
        let value = if port.output {
            let _ = write!(wires, "\n  wire [{}:0] {};", width - 1, port.name);
            found.push(port.name.as_str());
            port.name.clone()
        } else {
            given -= width;
            format!("given[{}:{given}]", given + width - 1)
        };
        let _ = write!(pins, ",\n    .{}({value})", port.name);
    }
    let outputs: u32 = core.ports.iter().filter(|port| port.output).map(|port| core.width(port.net)).sum();
    format!(
        "`default_nettype none
module {TOP} (
  input wire clk,
  input wire rst,
  input wire d,
  output wire q
);{wires}
  reg [{}:0] given;
  (* keep *) reg [{last}:0] kept;
  reg reset;
  always @(posedge clk) begin
    reset <= rst;
    given <= {{given, d}};
    kept <= {{{}}};
  end
  assign q = kept[{last}];
  {} {CORE} (
    .clk(clk),
    .rst(reset){pins}
  );
endmodule
`default_nettype wire
",
        inputs - 1,
        found.join(", "),
        core.name,
        last = outputs - 1,
    )
}

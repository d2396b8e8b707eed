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
/// outputs go to flip-flops, so that every path of the core lies between two of them.
pub fn text(core: &Module) -> String {
    let mut widths = [0, 0];
    let mut pins = String::new();
    for port in &core.ports {
        let (width, of) = (core.width(port.net), usize::from(port.output));
        let vector = ["given", "found"][of];
        let _ = write!(pins, ",\n    .{}({vector}[{}:{}])", port.name, widths[of] + width - 1, widths[of]);
        widths[of] += width;
    }
    let [given, found] = widths.map(|width| width - 1);
    format!(
        "`default_nettype none
module {TOP} (
  input wire clk,
  input wire rst,
  input wire d,
  output wire q
);
  reg [{given}:0] given;
  reg [{found}:0] kept;
  wire [{found}:0] found;
  reg reset;
  always @(posedge clk) begin
    reset <= rst;
    given <= {{given, d}};
    kept <= found ^ {{kept, kept[{found}]}};
  end
  assign q = kept[{found}];
  {} {CORE} (
    .clk(clk),
    .rst(reset){pins}
  );
endmodule
`default_nettype wire
",
        core.name
    )
}

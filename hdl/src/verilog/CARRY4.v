// SPDX-License-Identifier: LicenseRef-stoxnor-output
// This file belongs to whoever generated it: see the output exception in stoxnor's licence.
//
// Model of the carry cell of Xilinx' 7-series for simulation: four bits of an adder. Synthesis has the cell itself.

`default_nettype none

module CARRY4 (
  output wire [3:0] CO,
  output wire [3:0] O,
  input  wire       CI,
  input  wire       CYINIT,
  input  wire [3:0] DI,
  input  wire [3:0] S
);

  // The carry goes from bit to bit, each a wire of its own: bits of one wire that depend on each other look like a loop.
  wire before_0 = CI | CYINIT;
  wire before_1 = S[0] ? before_0 : DI[0];
  wire before_2 = S[1] ? before_1 : DI[1];
  wire before_3 = S[2] ? before_2 : DI[2];
  wire behind   = S[3] ? before_3 : DI[3];

  assign O = S ^ {before_3, before_2, before_1, before_0};
  assign CO = {behind, before_3, before_2, before_1};

endmodule

`default_nettype wire

// SPDX-License-Identifier: LicenseRef-stoxnor-output
// This file belongs to whoever generated it: see the output exception in stoxnor's licence.
//
// Model of the LUT of two outputs of Xilinx' 7-series for simulation: O6 is a function of all inputs, O5 of the first five, by the
// lower half of the table. Synthesis has the cell itself.

`default_nettype none

module LUT6_2 #(
  parameter [63:0] INIT = 64'd0
) (
  output wire O6,
  output wire O5,
  input  wire I0,
  input  wire I1,
  input  wire I2,
  input  wire I3,
  input  wire I4,
  input  wire I5
);

  // Selections bit by bit: an unknown input does not matter where the table does not depend on it.
  wire [31:0] of_6 = I5 ? INIT[63:32] : INIT[31:0];
  wire [15:0] of_6_4 = I4 ? of_6[31:16] : of_6[15:0];
  wire [7:0]  of_6_3 = I3 ? of_6_4[15:8] : of_6_4[7:0];
  wire [3:0]  of_6_2 = I2 ? of_6_3[7:4] : of_6_3[3:0];
  wire [1:0]  of_6_1 = I1 ? of_6_2[3:2] : of_6_2[1:0];
  wire [15:0] of_5_4 = I4 ? INIT[31:16] : INIT[15:0];
  wire [7:0]  of_5_3 = I3 ? of_5_4[15:8] : of_5_4[7:0];
  wire [3:0]  of_5_2 = I2 ? of_5_3[7:4] : of_5_3[3:0];
  wire [1:0]  of_5_1 = I1 ? of_5_2[3:2] : of_5_2[1:0];

  assign O6 = I0 ? of_6_1[1] : of_6_1[0];
  assign O5 = I0 ? of_5_1[1] : of_5_1[0];

endmodule

`default_nettype wire

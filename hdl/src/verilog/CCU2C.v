// SPDX-License-Identifier: LicenseRef-stoxnor-output
// This file belongs to whoever generated it: see the output exception in stoxnor's licence.
//
// Model of ECP5's carry cell for simulation: two halves, each a LUT of four inputs and a carry. Synthesis has the cell itself.

`default_nettype none

module CCU2C #(
  parameter [15:0] INIT0 = 16'd0,
  parameter [15:0] INIT1 = 16'd0,
  parameter INJECT1_0 = "YES",
  parameter INJECT1_1 = "YES"
) (
  input  wire CIN,
  input  wire A0,
  input  wire B0,
  input  wire C0,
  input  wire D0,
  input  wire A1,
  input  wire B1,
  input  wire C1,
  input  wire D1,
  output wire S0,
  output wire S1,
  output wire COUT
);

  // Selections bit by bit: an unknown input does not matter where the table does not depend on it.
  wire [7:0] by_d_0 = D0 ? INIT0[15:8] : INIT0[7:0];
  wire [3:0] by_c_0 = C0 ? by_d_0[7:4] : by_d_0[3:0];
  wire [1:0] by_b_0 = B0 ? by_c_0[3:2] : by_c_0[1:0];
  wire       propagates_0 = A0 ? by_b_0[1] : by_b_0[0];
  wire [7:0] by_d_1 = D1 ? INIT1[15:8] : INIT1[7:0];
  wire [3:0] by_c_1 = C1 ? by_d_1[7:4] : by_d_1[3:0];
  wire [1:0] by_b_1 = B1 ? by_c_1[3:2] : by_c_1[1:0];
  wire       propagates_1 = A1 ? by_b_1[1] : by_b_1[0];
  wire [1:0] low_0 = B0 ? INIT0[3:2] : INIT0[1:0];
  wire       generates_0 = INJECT1_0 == "NO" && (A0 ? low_0[1] : low_0[0]);
  wire [1:0] low_1 = B1 ? INIT1[3:2] : INIT1[1:0];
  wire       generates_1 = INJECT1_1 == "NO" && (A1 ? low_1[1] : low_1[0]);
  wire       between = propagates_0 ? CIN : generates_0;

  assign S0 = propagates_0 ^ (INJECT1_0 == "NO" && CIN);
  assign S1 = propagates_1 ^ (INJECT1_1 == "NO" && between);
  assign COUT = propagates_1 ? between : generates_1;

endmodule

`default_nettype wire

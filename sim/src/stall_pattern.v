// When a source starts no new beat, or a sink is not ready: a 64-bit LFSR (taps 64 63 61 60), and every 64 cycles one of
// four rhythms, chosen by bits 2 and 1 of its state: never, every other cycle, seven of eight, always.

`default_nettype none

module stall_pattern (
  input  wire clk,
  // 1 from cycle 0 on.
  input  wire running,
  // State of the LFSR at cycle 0; with 0 nothing stalls.
  input  wire [63:0] first,
  output wire stalls
);

  reg  [63:0] lfsr_q;
  reg  [5:0] phase_q;
  reg  [1:0] window_q;

  wire [1:0] window = phase_q == 6'd0 ? lfsr_q[2:1] : window_q;
  wire seldom = lfsr_q[2:0] != 3'd0;

  always @(posedge clk) begin : p_lfsr
    if (!running) begin
      lfsr_q <= first;
      phase_q <= 6'd0;
      window_q <= 2'd0;
    end else begin
      lfsr_q <= {lfsr_q[62:0], lfsr_q[63] ^ lfsr_q[62] ^ lfsr_q[60] ^ lfsr_q[59]};
      phase_q <= phase_q + 6'd1;
      window_q <= window;
    end
  end

  assign stalls = first != 64'd0
    && (window == 2'd3 || (window == 2'd2 && seldom) || (window == 2'd1 && lfsr_q[0]));

endmodule

`default_nettype wire

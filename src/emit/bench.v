// Self-checking test bench of @TOP@. It sends the frames of stimulus.mem, compares every beat at every layer
// boundary with what the integer reference computed, and stops at the first difference.
// `make icarus` and `make verilator` run it; STALL=1 makes source and sink stall. OUTPUTS_ONLY=1 compares only the beats of
// the output streams: a synthesised netlist has no inner boundaries.

`default_nettype none

module @TOP@_tb (
  input wire clk
);

  localparam BEATS = @BEATS@;
  localparam [63:0] LIMIT = 64'd@LIMIT@;

  reg  [@WORD@:0] stimulus [0:BEATS-1];
@DECLARATIONS@
  integer element;
  integer first;
  reg  stop;
  integer rest;

  reg  [1:0] start;
  reg  [63:0] cycle;
  integer sent;
  reg  holding;
  reg  [63:0] source_first;
@SOURCES@
@SINKS@

  initial begin
    $readmemh("stimulus.mem", stimulus);
@INITIAL@
    if (!$value$plusargs("source=%h", source_first)) source_first = 64'd0;
@SOURCE_INITIAL@
@SINK_ARGUMENTS@
    stop = 1'b0;
    rest = @DRAIN@;
    start = 2'd0;
    cycle = 64'd0;
    sent = 0;
    holding = 1'b0;
  end

  // Two edges of reset, then cycle 0.
  wire running = start == 2'd2;
  wire rst = !running;

  wire source_stalls;
  stall_pattern u_source_stall (.clk(clk), .running(running), .first(source_first), .stalls(source_stalls));

  wire s_valid = !rst && sent < BEATS && (holding || !source_stalls);
  wire s_ready;
  wire [@WORD@:0] beat = stimulus[sent < BEATS ? sent : 0];
@SOURCE_WIRES@
@SINK_READIES@

  @TOP@ @PARAMETERS@dut (
    .clk(clk),
    .rst(rst),
    .s_data(beat[@WIDTH@-1:0]),
    .s_valid(s_valid),
    .s_last(beat[@WIDTH@]),
    @USER@
    .s_ready(s_ready),
@SOURCE_PORTS@
@SINK_PORTS@
  );

  always @(posedge clk) begin : p_bench
    if (!running) begin
      start <= start + 2'd1;
    end else begin
      cycle <= cycle + 64'd1;
      holding <= s_valid && !s_ready;
      if (s_valid && s_ready) sent <= sent + 1;
@SOURCE_STEPS@
`ifdef OUTPUTS_ONLY
@OUTPUT_CHECKS@
`else
@CHECKS@
`endif
      // A beat too many would come in the cycles after the last.
`ifdef OUTPUTS_ONLY
      if (@OUTPUT_COMPLETE@) rest = rest - 1;
`else
      if (@COMPLETE@) rest = rest - 1;
`endif
      if (!stop && rest == 0) begin
        stop = 1'b1;
`ifdef OUTPUTS_ONLY
        $display("PASS: @FRAMES@ frames, every beat of the outputs, %0d cycles", cycle + 64'd1);
`else
        $display("PASS: @FRAMES@ frames, every beat of every layer boundary, %0d cycles", cycle + 64'd1);
`endif
        $finish;
      end else if (!stop && cycle == LIMIT) begin
        stop = 1'b1;
`ifdef OUTPUTS_ONLY
        $display("FAIL: stuck after %0d cycles;@OUTPUT_STUCK_FORMAT@", cycle@OUTPUT_STUCK_VALUES@);
`else
        $display("FAIL: stuck after %0d cycles;@STUCK_FORMAT@", cycle@STUCK_VALUES@);
`endif
        $finish;
      end
    end
  end

endmodule

`default_nettype wire

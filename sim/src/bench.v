// Test bench around one module: sources and sinks with stall patterns, and a record of every accepted beat.
// One clocked process on purpose: the clock comes from outside, so that any simulator can drive it.
// Names in capitals between at signs are filled in by the adapter.

`default_nettype none

module stoxnor_bench (
  input wire clk
);

  localparam CAPACITY = @CAPACITY@;

  integer trace;
  reg  [63:0] limit;
  reg  [63:0] hold;
  reg  [63:0] drain;
  reg  [63:0] reset_at;
  reg  [63:0] reset_end;

  reg  [1:0] start;
  reg  [63:0] cycle;
  reg  [63:0] end_at;
@SOURCES@
@TAP_COUNTS@
@SINKS@

  initial begin
    if (!$value$plusargs("limit=%d", limit)) limit = 0;
    if (!$value$plusargs("hold=%d", hold)) hold = 0;
    if (!$value$plusargs("drain=%d", drain)) drain = 0;
    if (!$value$plusargs("reset_at=%d", reset_at)) reset_at = 0;
    if (!$value$plusargs("reset_end=%d", reset_end)) reset_end = 0;
@SOURCE_ARGUMENTS@
@TAP_ARGUMENTS@
@SINK_ARGUMENTS@
    trace = $fopen("trace.txt", "w");
    start = 2'd0;
    cycle = 64'd0;
    end_at = 64'hffffffffffffffff;
  end

  // Two edges of reset, then cycle 0.
  wire running = start == 2'd2;
  wire resetting = cycle >= reset_at && cycle < reset_end;
  wire rst = !running || resetting;

@SOURCE_WORDS@
@SINK_READIES@

  @TOP@ dut (
@CONNECTIONS@
  );

  always @(posedge clk) begin : p_bench
    if (!running) begin
      start <= start + 2'd1;
    end else begin
      cycle <= cycle + 64'd1;
      if (resetting) begin
@SOURCE_RESETS@
@TAP_RESETS@
      end else begin
@SOURCE_STEPS@
@TAPS@
      end
      if (!resetting && !(@COMPLETE@) && @COMPLETES@) end_at <= cycle + drain;
      if (cycle == end_at || cycle + 64'd1 == limit) begin
        $fwrite(trace, "end %0d\n", cycle + 64'd1);
        $fclose(trace);
        $finish;
      end
    end
  end

endmodule

`default_nettype wire

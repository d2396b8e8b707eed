// Self-checking test bench of @NAME@. It sends the frames of stimulus.mem, compares every beat of the outputs with what the
// integer reference computed, then sends a wrong tlast and looks at error.
// `make icarus AXIS=1` and `make verilator AXIS=1` run it; STALL=1 makes source and sink stall.

`default_nettype none

module @NAME@_tb (
  input wire clk
);

  localparam [63:0] LIMIT = 64'd@LIMIT@;
  // What follows the frames.
  localparam [2:0] FRAMES = 3'd0, WRONG = 3'd1, KEPT = 3'd2, RESET = 3'd3, DONE = 3'd4;

  reg  stop;
  integer rest;
  reg  [2:0] phase;
  reg  [1:0] start;
  reg  [63:0] cycle;
@SOURCES@
@SINKS@

  initial begin
@SOURCE_INITIAL@
@SINK_INITIAL@
    stop = 1'b0;
    rest = @DRAIN@;
    phase = FRAMES;
    start = 2'd0;
    cycle = 64'd0;
  end

  // Two edges of reset, then cycle 0.
  wire running = start == 2'd2;
  wire rst = !running || phase == RESET;
  wire error;

  genvar i;

@SOURCE_WIRES@
@SINK_WIRES@

  @NAME@ @PARAMETERS@dut (
    .aclk(clk),
    .aresetn(!rst),
@PORTS@
    .error(error)
  );

  always @(posedge clk) begin : p_bench
    if (!running) begin
      start <= start + 2'd1;
    end else begin
      cycle <= cycle + 64'd1;
@SOURCE_STEPS@
      if (phase == FRAMES) begin
@CHECKS@
        if (!stop && error !== 1'b0) begin
          stop = 1'b1;
          $display("FAIL: error is %b, cycle %0d", error, cycle);
          $finish;
        end
        if (@COMPLETE@) rest = rest - 1;
        if (rest == 0) phase <= WRONG;
      end else if (phase == WRONG) begin
        rest = @DRAIN@;
        if (@TAKEN@) phase <= KEPT;
      end else if (phase == KEPT) begin
        rest = rest - 1;
        if (!stop && error !== 1'b1) begin
          stop = 1'b1;
          $display("FAIL: error is %b after a wrong tlast, cycle %0d", error, cycle);
          $finish;
        end
        if (rest == 0) phase <= RESET;
      end else if (phase == RESET) begin
        phase <= DONE;
      end else if (!stop) begin
        stop = 1'b1;
        if (error === 1'b0) begin
          $display("PASS: @FRAMES@ frames, every beat of the outputs, and error at a wrong tlast, %0d cycles", cycle + 64'd1);
        end else begin
          $display("FAIL: error is %b after reset, cycle %0d", error, cycle);
        end
        $finish;
      end
      if (!stop && cycle == LIMIT) begin
        stop = 1'b1;
        $display("FAIL: stuck after %0d cycles;@STUCK_FORMAT@", cycle@STUCK_VALUES@);
        $finish;
      end
    end
  end

endmodule

`default_nettype wire

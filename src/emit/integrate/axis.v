@HEADER@
// @TOP@ with AXI4-Stream ports. An element takes whole bytes of tdata, extended by its sign: a bipolar one is the byte 1 or -1.
// Timing: that of @TOP@; error is 1 after the edge that accepts a beat whose tlast is early or late, until reset.

`default_nettype none

module @NAME@@PARAMETERS@ (
  (* X_INTERFACE_INFO = "xilinx.com:signal:clock:1.0 aclk CLK" *)
  (* X_INTERFACE_PARAMETER = "ASSOCIATED_BUSIF @BUSSES@, ASSOCIATED_RESET aresetn" *)
  input  wire aclk,
  (* X_INTERFACE_INFO = "xilinx.com:signal:reset:1.0 aresetn RST" *)
  (* X_INTERFACE_PARAMETER = "POLARITY ACTIVE_LOW" *)
  input  wire aresetn,
@PORTS@
  output wire error
);

  genvar i;

@INPUTS@
@OUTPUTS@
  reg  error_q;

  always @(posedge aclk) begin : p_error
    if (!aresetn) begin
      error_q <= 1'b0;
    end else if (@WRONG@) begin
      error_q <= 1'b1;
    end
  end

  assign error = error_q;

  // Extended elements have bits that say nothing.
  wire unused = &{1'b0, @UNUSED@};

  @TOP@@BINDINGS@ core (
    .clk(aclk),
    .rst(!aresetn)@CONNECTIONS@
  );

endmodule

`default_nettype wire

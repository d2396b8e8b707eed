// @TITLE@: a core on a serial line of @BAUD@ baud, 8 bits, no parity, one stop bit.

`default_nettype none

module @TOP@ (
  input  wire clk,
  input  wire rx,
  output wire tx@PORTS@
);

  // Reset for 128 cycles after configuration.
  reg  [7:0] start = 8'd0;
  wire rst = !start[7];

  always @(posedge clk) begin : p_start
    if (rst) start <= start + 8'd1;
  end

@HIGH@
  @CORE@ u_core (
    .clk(clk),
    .rst(rst),
    .rx(rx),
    .tx(tx)
  );

endmodule

`default_nettype wire

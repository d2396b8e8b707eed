# The one constraint of a generated top that is placed without a board: its clock. 100 MHz; change the period to yours.
# Every other port is synchronous to clk.
create_clock -name clk -period 10.0 [get_ports clk]

# Makes stoxnor_board.bit: vivado -mode batch -source build.tcl
create_project -in_memory -part xc7a35ticsg324-1L
read_verilog [glob *.v]
foreach image [glob -nocomplain *.mem] { read_mem $image }
read_xdc pins.xdc
synth_design -top stoxnor_board
opt_design
place_design
route_design
report_utilization -file utilization.rpt
report_timing_summary -file timing.rpt
write_bitstream -force stoxnor_board.bit

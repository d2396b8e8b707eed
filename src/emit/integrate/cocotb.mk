# cocotb 2 with cocotbext-axi, in Icarus: `make -f cocotb.mk`.
SIM ?= icarus
TOPLEVEL_LANG = verilog
VERILOG_SOURCES = $(wildcard $(CURDIR)/../rtl/*.v $(CURDIR)/cells/*.v)
COCOTB_TOPLEVEL = @NAME@
COCOTB_TEST_MODULES = test_@NAME@
@IMAGES@
include $(shell cocotb-config --makefiles)/Makefile.sim

# cocotb 2 with cocotbext-axi: `make -f cocotb.mk`, with SIM=verilator for a Verilator of 5.036 or later.
SIM ?= icarus
TOPLEVEL_LANG = verilog
VERILOG_SOURCES = $(wildcard $(CURDIR)/../rtl/*.v $(CURDIR)/cells/*.v)
COCOTB_TOPLEVEL = @NAME@
COCOTB_TEST_MODULES = test_@NAME@
ifeq ($(SIM),verilator)
EXTRA_ARGS += -Wno-fatal -Wno-lint -Wno-style
PARAMETER = -G$(1)='"../rtl/$(2)"'
else
PARAMETER = -P$(COCOTB_TOPLEVEL).$(1)='"../rtl/$(2)"'
endif
@IMAGES@
include $(shell cocotb-config --makefiles)/Makefile.sim

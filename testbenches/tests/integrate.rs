//! The integration files in the tools that they are for: AXI4-Stream ports in both simulators, FuseSoC, cocotb, LiteX.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use stoxnor::emit;
use stoxnor::emit::Request;
use stoxnor::emit::bench::random_frames;
use stoxnor::emit::integrate::axis::Wrap;
use stoxnor::lower::lower;
use stoxnor::network::Network;
use stoxnor::unit::family::Family;
use stoxnor_testbenches::conformance::{ensemble, random, random_dense, random_few_bit, random_folds};
use stoxnor_testbenches::data::pypi_tools;

/// A network's files in a new directory, with AXI4-Stream ports; every cell is the family's.
fn wrapped(network: &Network, family: Family) -> (tempfile::TempDir, PathBuf) {
    let folds = random_folds(&mut random(7), network);
    let mut hardware = lower(network, &folds);
    hardware.design.top = family.placed(&hardware.design.top);
    let frames = random_frames(network, 4, &[]);
    let request = Request { family, wrap: Wrap::Axis, ..Request::new(&frames) };
    let temporary = tempfile::tempdir().unwrap();
    let directory = temporary.path().join("core");
    emit::write(&directory, &emit::files(network, &hardware, &request), false).unwrap();
    (temporary, directory)
}

/// What a command in a directory prints, and whether it was content.
fn run(directory: &Path, program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(directory);
    if let Some(tools) = pypi_tools() {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::join_paths([tools].into_iter().chain(std::env::split_paths(&path))).unwrap();
        command.env("PATH", path);
    }
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

/// The files of a directory whose names end so; none where there is no directory.
fn named(directory: &Path, ending: &str) -> Vec<String> {
    let files = fs::read_dir(directory).into_iter().flatten().flatten();
    let files = files.map(|entry| entry.path().to_string_lossy().into_owned());
    files.filter(|file| file.ends_with(ending)).collect()
}

fn models() -> Vec<(&'static str, Network)> {
    let mut models = vec![
        ("bipolar", random_dense(8, &[40, 24, 16, 10])),
        // A frame of one beat.
        ("at once", random_dense(8, &[6, 3])),
        ("few bits", random_few_bit(3, &[12, 8, 6, 4])),
        ("members", ensemble()),
    ];
    models.extend(crate::inputs::examples());
    models
}

#[test]
fn axis_ports_carry_every_frame_in_both_simulators() {
    for (what, network) in models() {
        let (_kept, directory) = wrapped(&network, Family::Generic);
        for arguments in [["icarus", "STALL=0"], ["icarus", "STALL=1"], ["verilator", "STALL=1"]] {
            let (passed, text) = run(&directory, "make", &["-C", "tb", "AXIS=1", arguments[0], arguments[1]]);
            assert!(passed && text.contains("PASS: 4 frames"), "{what}, {arguments:?}: {text}");
        }
        let (passed, text) = run(&directory, "make", &["-C", "tb", "icarus"]);
        assert!(passed && text.contains("every layer boundary"), "{what}: {text}");
    }
}

/// A wrapper that errs is seen by its test bench, each time by the message that names the fault.
#[test]
fn wrong_ports_are_seen() {
    let (_kept, directory) = wrapped(&random_dense(8, &[40, 24, 16, 10]), Family::Generic);
    let path = directory.join("rtl/conformance_axis.v");
    let good = fs::read_to_string(&path).unwrap();
    let faults = [
        ("!s_axis_tdata[", "s_axis_tdata[", "FAIL: first difference at m_axis"),
        ("error_q <= 1'b1", "error_q <= 1'b0", "after a wrong tlast"),
        ("s_axis_tlast != s_last", "s_axis_tlast == s_last", "FAIL: error is 1, cycle"),
        ("if (!aresetn) begin\n      error_q", "if (1'b0) begin\n      error_q", "FAIL: error is"),
        (".m_last(m_axis_tlast)", ".m_last()", "FAIL: first difference at m_axis"),
        (".s_ready(s_axis_tready)", ".s_ready()", "FAIL: "),
    ];
    for (right, wrong, message) in faults {
        let faulty = good.replacen(right, wrong, 1);
        assert_ne!(faulty, good, "{right} is there");
        fs::write(&path, faulty).unwrap();
        let (passed, text) = run(&directory, "make", &["-C", "tb", "AXIS=1", "icarus"]);
        assert!(!passed && text.contains(message), "{wrong}: {text}");
    }
}

/// FuseSoC lints, simulates and synthesises the core by its core file.
#[test]
fn fusesoc_takes_the_core_file() {
    let Some(tools) = pypi_tools() else { return };
    for family in [Family::Generic, Family::Ecp5] {
        let (_kept, directory) = wrapped(&ensemble(), family);
        let target = |target: &str, more: &[&str]| {
            let run_target = ["--cores-root", ".", "run", "--clean", "--target", target];
            let core = ["stoxnor:generated:conformance"];
            run(&directory, tools.join("fusesoc"), &[&run_target[..], more, &core[..]].concat())
        };
        let (passed, text) = target("lint", &[]);
        assert!(passed && !text.contains("%Warning"), "{family:?}, lint: {text}");
        for simulation in ["sim", "sim_axis"] {
            let (passed, text) = target(simulation, &[]);
            assert!(passed && text.contains("PASS: 4 frames"), "{family:?}, {simulation}: {text}");
        }
        let (passed, text) = target("sim_axis", &["--tool", "verilator"]);
        assert!(passed && text.contains("PASS: 4 frames"), "{family:?}, Verilator: {text}");
        let (passed, text) = target("synth", &[]);
        assert!(passed, "{family:?}, synth: {text}");
    }
}

/// The test for cocotb passes, and does not where other beats are expected.
#[test]
fn cocotb_compares_packets() {
    if pypi_tools().is_none() {
        return;
    }
    for network in [ensemble(), crate::inputs::examples().remove(0).1] {
        let (_kept, directory) = wrapped(&network, Family::Generic);
        let tests = ["-C", "tb", "-f", "cocotb.mk"];
        let (passed, text) = run(&directory, "make", &tests);
        assert!(passed && text.contains("PASS=3 FAIL=0"), "{text}");
        for file in named(&directory.join("tb"), "_expected.mem") {
            let good = fs::read_to_string(&file).unwrap();
            let turned: String = good.chars().map(|c| if c == '0' { '1' } else { c }).collect();
            fs::write(&file, turned).unwrap();
        }
        fs::remove_dir_all(directory.join("tb/sim_build")).unwrap();
        let (_, text) = run(&directory, "make", &tests);
        assert!(text.contains("FAIL=2"), "{text}");
    }
}

/// A design of LiteX with the core and a FIFO behind it lints, with every port connected, and passes the core's test bench.
#[test]
fn litex_connects_the_endpoints() {
    let Some(tools) = pypi_tools() else { return };
    for (what, network) in [("members", ensemble()), crate::inputs::examples().remove(1)] {
        let (_kept, directory) = wrapped(&network, Family::Generic);
        fs::write(directory.join("soc.py"), LITEX).unwrap();
        let (passed, text) = run(&directory, tools.join("python"), &["soc.py"]);
        assert!(passed, "{what}: {text}");
        let rtl = [named(&directory.join("rtl"), ".v"), named(&directory.join("tb/cells"), ".v")].concat();
        let mut arguments = vec!["--lint-only", "-Wno-fatal", "--top-module", "soc", "soc.v"];
        arguments.extend(rtl.iter().map(String::as_str));
        let (passed, text) = run(&directory, "verilator", &arguments);
        assert!(passed && !text.contains("PIN"), "{what}: {text}");

        let path = directory.join("tb/conformance_top_tb.v");
        let bench = fs::read_to_string(&path).unwrap();
        let (instance, ports) = (bench.find("  conformance_top ").unwrap(), bench.find("dut (").unwrap());
        let of_soc = [&bench[..instance], "  soc ", &bench[ports..]].concat();
        let of_soc =
            of_soc.replace("    .clk(clk),\n    .rst(rst),\n", "    .sys_clk(clk),\n    .sys_rst(rst),\n");
        fs::write(&path, of_soc).unwrap();
        let design = format!("DESIGN=../soc.v {}", rtl.join(" "));
        for stall in ["STALL=0", "STALL=1"] {
            let make = ["-C", "tb", "icarus", "OUTPUTS_ONLY=1", stall, &design];
            let (passed, text) = run(&directory, "make", &make);
            assert!(passed && text.contains("PASS: 4 frames"), "{what}, {stall}: {text}");
        }
    }
}

/// A core between endpoints of LiteX, which are the ports of the design by the names of the core's.
const LITEX: &str = r#"
from migen import ClockDomain, Module, Signal
from litex.gen.fhdl.verilog import convert
from litex.soc.interconnect import stream
from conformance_litex import SOURCES, Core


class Files:
    def __init__(self):
        self.all = []

    def add_source(self, file):
        self.all.append(file)


class SoC(Module):
    def __init__(self, files):
        self.clock_domains.cd_sys = ClockDomain()
        self.submodules.core = core = Core(files)
        self.submodules.fifo = fifo = stream.SyncFIFO(core.source.description, 4)
        self.comb += core.source.connect(fifo.sink)
        self.ios = {self.cd_sys.clk, self.cd_sys.rst}
        for name in dir(core):
            if name.startswith("sink"):
                self.port("s" + name[len("sink"):], getattr(core, name), True)
            elif name.startswith("source"):
                self.port("m" + name[len("source"):], fifo.source if name == "source" else getattr(core, name), False)

    def port(self, name, end, inward):
        fields = {"data": end.data, "valid": end.valid, "last": end.last, "ready": end.ready}
        if hasattr(end, "user"):
            fields["user"] = end.user
        for field, signal in fields.items():
            own = Signal(len(signal), name=name + "_" + field)
            self.ios.add(own)
            self.comb += signal.eq(own) if inward != (field == "ready") else own.eq(signal)


files = Files()
soc = SoC(files)
assert [file.rsplit("/", 1)[1] for file in files.all] == SOURCES
convert(soc, ios=soc.ios, name="soc").write("soc.v")
"#;

//! The same inputs for a design in rust-hdl's simulation, a module in our engine and Verilog in Icarus.

use std::fmt::Write as _;
use std::panic::RefUnwindSafe;
use std::process::Command;
use std::sync::{Arc, Mutex};

use rust_hdl_core::prelude::{Block, Sim, Simulation};
use stoxnor_hdl::verilog::File;
use stoxnor_hdl::{Bits, Module};
use stoxnor_sim::Simulator;

/// Ports by name and width.
pub type Ports = [(&'static str, u32)];

/// One value a port.
pub type Values = Vec<Bits>;

/// Outputs of every cycle in rust-hdl's simulation, after the inputs and before the edge.
pub fn rust_hdl<D: Block + Send + 'static>(
    design: D,
    inputs: &[Values],
    clock: fn(&mut D, bool),
    set: impl Fn(&mut D, &[Bits]) + Send + RefUnwindSafe + 'static,
    get: impl Fn(&D) -> Values + Send + RefUnwindSafe + 'static,
) -> Vec<Values> {
    let trace = Arc::new(Mutex::new(Vec::new()));
    let (inputs, to) = (inputs.to_vec(), Arc::clone(&trace));
    let mut simulation = Simulation::new();
    simulation.add_testbench(move |mut end: Sim<D>| {
        let mut x = end.init()?;
        for values in &inputs {
            set(&mut x, values);
            x = end.wait(1, x)?;
            to.lock().unwrap().push(get(&x));
            clock(&mut x, true);
            x = end.wait(1, x)?;
            clock(&mut x, false);
            x = end.wait(1, x)?;
        }
        end.done(x)
    });
    simulation.run(Box::new(design), u64::MAX).unwrap();
    Arc::try_unwrap(trace).unwrap().into_inner().unwrap()
}

/// The same of a module in our engine.
pub fn rtl(module: &Arc<Module>, inputs: &[Values], takes: &Ports, gives: &Ports) -> Vec<Values> {
    let mut simulator = Simulator::new(module);
    let slot = |simulator: &Simulator, name| simulator.port(name).unwrap();
    let (takes, gives): (Vec<_>, Vec<_>) = (
        takes.iter().map(|(name, _)| slot(&simulator, name)).collect(),
        gives.iter().map(|(name, _)| slot(&simulator, name)).collect(),
    );
    let cycle = |values: &Values| {
        takes.iter().zip(values).for_each(|(slot, value)| simulator.set(*slot, value));
        simulator.settle();
        let outputs = gives.iter().map(|slot| simulator.get(*slot)).collect();
        simulator.edge(false);
        outputs
    };
    inputs.iter().map(cycle).collect()
}

/// The same of the module `top` that rust-hdl wrote, in Icarus; an unknown bit is `None`.
pub fn icarus(
    verilog: &str,
    images: &[File],
    inputs: &[Values],
    takes: &Ports,
    gives: &Ports,
) -> Vec<Vec<Option<Bits>>> {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    let mut stimulus = String::new();
    for values in inputs {
        // A number a port, each in a word of its own.
        values.iter().for_each(|value| writeln!(stimulus, "{value}").unwrap());
    }
    let widest = takes.iter().map(|(_, width)| *width).max().unwrap();
    let mut bench = format!(
        "module bench;\n  reg clk = 1'b0;\n  integer cycle;\n  reg [{}:0] stimulus [0:{}];\n",
        widest - 1,
        inputs.len() * takes.len() - 1
    );
    let range = |width: u32| format!("[{}:0]", width - 1);
    let all = || takes.iter().chain(gives).map(|(name, _)| format!(", .{name}({name})"));
    takes.iter().for_each(|(name, width)| writeln!(bench, "  reg {} {name};", range(*width)).unwrap());
    gives.iter().for_each(|(name, width)| writeln!(bench, "  wire {} {name};", range(*width)).unwrap());
    writeln!(bench, "  top uut (.clock(clk){});", all().collect::<String>()).unwrap();
    bench.push_str("  initial begin\n    $readmemh(\"stimulus.mem\", stimulus);\n");
    writeln!(bench, "    for (cycle = 0; cycle < {}; cycle = cycle + 1) begin", inputs.len()).unwrap();
    for (at, (name, _)) in takes.iter().enumerate() {
        writeln!(bench, "      {name} = stimulus[cycle * {} + {at}];", takes.len()).unwrap();
    }
    let names: Vec<&str> = gives.iter().map(|(name, _)| *name).collect();
    let format = vec!["%h"; names.len()].join(" ");
    writeln!(bench, "      #1 $display(\"{format}\", {});", names.join(", ")).unwrap();
    bench.push_str(
        "      clk = 1'b1;\n      #1 clk = 1'b0;\n      #1;\n    end\n    $finish;\n  end\nendmodule\n",
    );
    write("bench.v", &bench);
    write("design.v", verilog);
    write("stimulus.mem", &stimulus);
    images.iter().for_each(|file| write(&file.name, &file.text));
    let run = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).current_dir(&directory).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program}: {errors}{text}\n{verilog}");
        text
    };
    run("iverilog", &["-g2005", "-s", "bench", "-o", "bench.vvp", "bench.v", "design.v"]);
    let text = run("vvp", &["-n", "bench.vvp"]);
    let lines = text.lines().filter(|line| !line.contains("$finish"));
    let values = |line: &str| {
        let words = line.split_whitespace().zip(gives);
        words.map(|(digits, (_, width))| Bits::from_hex(*width, digits)).collect()
    };
    lines.map(values).collect()
}

/// Two traces are the same from cycle 1 on: before that, registers have not been written.
#[track_caller]
pub fn same<A: PartialEq<B> + std::fmt::Debug, B: std::fmt::Debug>(what: &str, a: &[A], b: &[B]) {
    assert_eq!(a.len(), b.len(), "{what}: cycles");
    assert!(a.len() > 1, "{what}: nothing to compare");
    for (cycle, (a, b)) in a.iter().zip(b).enumerate().skip(1) {
        assert!(a == b, "{what}: cycle {cycle}: {a:?} is not {b:?}");
    }
}

/// Outputs as Icarus tells them, none of them unknown.
pub fn known(trace: &[Values]) -> Vec<Vec<Option<Bits>>> {
    trace.iter().map(|values| values.iter().cloned().map(Some).collect()).collect()
}

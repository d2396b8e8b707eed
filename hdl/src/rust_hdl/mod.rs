//! Generated modules inside designs of [rust-hdl](rust_hdl_core) 0.46 (feature `rust-hdl`).
//!
//! A module becomes a `Block`. In rust-hdl's simulation an [`Engine`] computes it. In rust-hdl's Verilog it is the text that
//! [`verilog`] prints, with everything inside it. There are two forms; in both, port widths are those of the module, known at run
//! time:
//!
//! - [`rust_hdl_block!`](crate::rust_hdl_block) declares a struct whose fields are the ports, by name. It is meant for kernels:
//!   rust-hdl generates their Verilog from their text, so a port has the name that the text uses.
//! - [`Generated`] takes any module; its ports are numbered.
//!
//! rust-hdl does not check widths between blocks, and a kernel accepts whatever `into()` returns. A wrong width panics as soon as
//! a value passes through. Without simulation, call `update_all` once before generating the Verilog.

mod named;
mod port;

use std::fmt;
use std::fmt::Write as _;
use std::sync::Arc;

pub use port::Port;
pub use rust_hdl_core;
use rust_hdl_core::prelude::{Bit, Block, Clock, In, Logic, Probe, Signal, Verilog, Wrapper};

use crate::verilog::{self, File};
use crate::{Bits, Module};

/// A simulator of a module, cycle by cycle. Ports have the names of the module's ports.
pub trait Engine: Send {
    /// Sets an input.
    fn set(&mut self, port: &str, value: &Bits);
    /// Computes all combinational values from inputs and state.
    fn settle(&mut self);
    /// Simulates a rising edge with the reset at `reset`. Inputs are settled.
    fn edge(&mut self, reset: bool);
    /// The value of an output, as of the last `settle`.
    fn get(&self, port: &str) -> Bits;
}

/// The reason why a module cannot become a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unfit {
    /// The struct has a port that the module does not have.
    NoSuchPort(String),
    /// The module has a port that the struct does not have.
    PortLeftOut(String),
    /// A name is reserved by rust-hdl or this adapter.
    NameTaken(String),
    /// A parameter has no memory image of its own.
    NoImage(String),
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchPort(name) => write!(f, "the module has no port {name}"),
            Self::PortLeftOut(name) => write!(f, "the module's port {name} is left out"),
            Self::NameTaken(name) => write!(f, "the name {name} is taken in a design of rust-hdl"),
            Self::NoImage(name) => {
                write!(f, "parameter {name} has no memory image: only an instance gives it one")
            }
        }
    }
}

impl std::error::Error for Unfit {}

/// The common part of both forms of a block. Fields and methods are for [`rust_hdl_block!`](crate::rust_hdl_block).
pub struct Core {
    engine: Box<dyn Engine>,
    module: Arc<Module>,
    /// Verilog text of the module and everything inside it.
    cores: String,
    settled: bool,
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core").field("module", &self.module.name).finish_non_exhaustive()
    }
}

impl Core {
    /// The common part for a module and its engine.
    ///
    /// # Errors
    /// If the module cannot be used in a rust-hdl design.
    pub fn new(module: &Arc<Module>, engine: impl Engine + 'static) -> Result<Self, Unfit> {
        // rust-hdl names the outermost module `top`; names of other modules contain a `$`.
        if module.hierarchy().iter().any(|m| m.name == "top") {
            return Err(Unfit::NameTaken("top".to_owned()));
        }
        if let Some(port) = module.ports.iter().find(|p| ["clock", "reset"].contains(&p.name.as_str())) {
            return Err(Unfit::NameTaken(port.name.clone()));
        }
        if let Some(parameter) = module.parameters.iter().find(|p| p.image.is_none()) {
            return Err(Unfit::NoImage(parameter.name.clone()));
        }
        let cores = verilog::files(module, &[]).iter().map(guarded).collect();
        Ok(Self { engine: Box::new(engine), module: Arc::clone(module), cores, settled: false })
    }

    /// The ports of the given names.
    ///
    /// # Errors
    /// If these are not exactly the ports of the module.
    pub fn ports<const N: usize>(&self, names: [&str; N]) -> Result<[Port; N], Unfit> {
        if let Some(port) = self.module.ports.iter().find(|p| !names.contains(&p.name.as_str())) {
            return Err(Unfit::PortLeftOut(port.name.clone()));
        }
        if let Some(name) = names.iter().find(|name| self.module.port(name).is_none()) {
            return Err(Unfit::NoSuchPort((*name).to_owned()));
        }
        Ok(names.map(|name| {
            let port = self.module.port(name).expect("looked for above");
            Port::new(name, self.module.width(port.net), port.output)
        }))
    }

    /// The module.
    pub fn module(&self) -> &Arc<Module> {
        &self.module
    }

    /// Memory images that the Verilog reads. The files must be in the directory where it is used.
    ///
    /// Their names begin with the module's name, so that modules with equal layer names do not share files.
    pub fn images(&self) -> Vec<File> {
        let images = self.module.parameters.iter().filter_map(|p| p.image.as_ref());
        images.map(|image| File { name: self.image_name(&image.file), text: image.text() }).collect()
    }

    fn image_name(&self, file: &str) -> String {
        format!("{}_{file}", self.module.name)
    }

    /// rust-hdl's update step: computes outputs from inputs, and simulates an edge when the clock rises.
    pub fn update(&mut self, clock: &Signal<In, Clock>, reset: &Signal<In, Bit>, ports: &mut [&mut Port]) {
        let edge = self.module.clocked() && clock.pos_edge();
        let fresh = !self.settled || ports.iter().any(|p| !p.output() && p.has_changed());
        if fresh {
            for port in ports.iter().filter(|p| !p.output()) {
                self.engine.set(port.name(), port.seen());
            }
            self.engine.settle();
        }
        if edge {
            self.engine.edge(reset.val());
            self.engine.settle();
        }
        if fresh || edge {
            for port in ports.iter_mut().filter(|p| p.output()) {
                port.next = self.engine.get(port.name());
            }
        }
        self.settled = true;
    }

    /// The module in rust-hdl's Verilog. `names` are rust-hdl's names of the ports, with the ports.
    pub fn hdl(&self, names: &[(&str, &Port)]) -> Verilog {
        let parameters = self.module.parameters.iter().filter_map(|p| Some((p, p.image.as_ref()?)));
        let parameters: Vec<String> = parameters
            .map(|(p, image)| format!("    .{}(\"{}\")", p.name, self.image_name(&image.file)))
            .collect();
        let parameters =
            if parameters.is_empty() { String::new() } else { format!(" #(\n{}\n)", parameters.join(",\n")) };
        let mut ports = Vec::new();
        if self.module.clocked() {
            ports.push("    .clk(clock)".to_owned());
        }
        if self.module.resettable() {
            ports.push("    .rst(reset)".to_owned());
        }
        ports.extend(names.iter().map(|(name, port)| format!("    .{}({name})", port.name())));
        let mut code = String::new();
        let _ = writeln!(code, "{}{parameters} u_module (\n{}\n);", self.module.name, ports.join(",\n"));
        Verilog::Wrapper(Wrapper { code, cores: self.cores.clone() })
    }

    /// Shows clock and reset to the probe, if the module has them.
    pub fn accept(&self, clock: &Signal<In, Clock>, reset: &Signal<In, Bit>, probe: &mut dyn Probe) {
        if self.module.clocked() {
            clock.accept("clock", probe);
        }
        if self.module.resettable() {
            reset.accept("reset", probe);
        }
    }
}

/// A module's file with an include guard: rust-hdl writes it for every instance of every module that contains it.
///
/// The guard includes a hash of the text. Two modules with the same name and different text thus stay separate, and the next tool
/// reports them.
fn guarded(file: &File) -> String {
    let hash = file.text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mark = format!("STOXNOR_{}_{hash:016x}", file.name.trim_end_matches(".v"));
    format!("`ifndef {mark}\n`define {mark}\n{}`endif\n\n", file.text)
}

/// Any module as a block with numbered ports: `port[2]` is the third port of the module.
///
/// rust-hdl parses a kernel's text, so the number must be a literal there (or the variable of a `for`), and the port is `port$2`
/// in the Verilog. rust-hdl supports one index per path: `self.unit.port[2]`, not `self.unit[0].port[2]`.
#[derive(Debug)]
pub struct Generated {
    /// The clock, used if the module has one.
    pub clock: Signal<In, Clock>,
    /// The reset, used if the module has one; high for some cycles at the start.
    pub reset: Signal<In, Bit>,
    /// The ports, in the order of [`Module::ports`].
    pub port: Vec<Port>,
    core: Core,
}

impl Generated {
    /// The block of `module`, simulated by `engine`.
    ///
    /// # Errors
    /// If the module cannot be used in a rust-hdl design.
    pub fn new(module: &Arc<Module>, engine: impl Engine + 'static) -> Result<Self, Unfit> {
        let core = Core::new(module, engine)?;
        let port = module.ports.iter().map(|p| Port::new(&p.name, module.width(p.net), p.output)).collect();
        Ok(Self { clock: Signal::default(), reset: Signal::default(), port, core })
    }

    /// The index of the port called `name`.
    pub fn index(&self, name: &str) -> Option<usize> {
        self.port.iter().position(|p| p.name() == name)
    }

    /// The common part of the block.
    pub fn core(&self) -> &Core {
        &self.core
    }
}

impl Logic for Generated {
    fn update(&mut self) {
        let mut ports: Vec<&mut Port> = self.port.iter_mut().collect();
        self.core.update(&self.clock, &self.reset, &mut ports);
    }

    fn connect(&mut self) {
        self.port.iter_mut().filter(|p| p.output()).for_each(Logic::connect);
    }

    fn hdl(&self) -> Verilog {
        let names: Vec<String> = (0..self.port.len()).map(|i| format!("port${i}")).collect();
        let names: Vec<(&str, &Port)> = names.iter().map(String::as_str).zip(&self.port).collect();
        self.core.hdl(&names)
    }
}

impl Block for Generated {
    fn connect_all(&mut self) {
        self.connect();
    }

    fn update_all(&mut self) {
        self.update();
        self.clock.update_all();
        self.reset.update_all();
        self.port.update_all();
    }

    fn has_changed(&self) -> bool {
        self.clock.has_changed() || self.reset.has_changed() || self.port.has_changed()
    }

    fn accept(&self, name: &str, probe: &mut dyn Probe) {
        probe.visit_start_scope(name, self);
        self.core.accept(&self.clock, &self.reset, probe);
        self.port.accept("port", probe);
        probe.visit_end_scope(name, self);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::stream_register;
    use crate::{Builder, Role};
    use rust_hdl_core::prelude::VCDValue;

    /// Computes nothing.
    struct Still;

    impl Engine for Still {
        fn set(&mut self, _: &str, _: &Bits) {}
        fn settle(&mut self) {}
        fn edge(&mut self, _: bool) {}
        fn get(&self, _: &str) -> Bits {
            Bits::zero(1)
        }
    }

    #[test]
    fn one_text_is_read_once_and_two_of_a_name_clash() {
        let file = |text: &str| guarded(&File { name: "unit.v".to_owned(), text: text.to_owned() });
        let mark = |text: &str| file(text).lines().next().unwrap().to_owned();
        assert_eq!(mark("module unit; endmodule\n"), mark("module unit; endmodule\n"));
        assert_ne!(mark("module unit; endmodule\n"), mark("module unit; wire a; endmodule\n"));
        assert!(mark("x\n").starts_with("`ifndef STOXNOR_unit_"));
        assert!(file("x\n").ends_with("x\n`endif\n\n"));
    }

    #[test]
    fn names_of_others_are_refused() {
        let passing = |module: &str, port: &str| {
            let mut b = Builder::new(module);
            let a = b.input(port, 1, Role::Data);
            b.output("y", a, Role::Data);
            Generated::new(&b.finish(), Still).map(|_| ()).map_err(|e| e.to_string())
        };
        assert_eq!(passing("pass", "a"), Ok(()));
        assert_eq!(passing("top", "a"), Err("the name top is taken in a design of rust-hdl".to_owned()));
        assert_eq!(
            passing("pass", "clock"),
            Err("the name clock is taken in a design of rust-hdl".to_owned())
        );
    }

    #[test]
    fn a_wave_shows_the_bits_and_ports_what_they_are() {
        let mut block = Generated::new(&stream_register(3, 0), Still).unwrap();
        let data = block.index("s_data").unwrap();
        block.port[data].next = Bits::new(3, 6);
        block.port[data].update_all();
        use rust_hdl_core::prelude::Atom;
        let VCDValue::Vector(bits) = block.port[data].vcd() else { panic!("several bits") };
        assert_eq!(bits.iter().map(ToString::to_string).collect::<String>(), "110");
        assert_eq!((block.port[data].bits(), block.port[data].changed()), (3, true));
    }
}

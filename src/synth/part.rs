//! Parts: what they have, and how the tools are told of them.

use std::str::FromStr;

use serde::Serialize;

use crate::area::Cells;
use crate::config::Config;
use crate::diagnostic::{CONFIG_VALUE, Diagnostic, Result};
use crate::unit::family::Family;

/// Resources of a part.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Room {
    /// LUTs.
    pub lut: u64,
    /// Flip-flops.
    pub ff: u64,
    /// Block RAMs.
    pub ram: u64,
}

impl Room {
    /// Whether it is enough for cells.
    pub fn holds(self, cells: &Cells) -> bool {
        cells.luts() <= self.lut && cells.ff <= self.ff && cells.ram <= self.ram
    }
}

/// A part that a core is synthesised for.
#[derive(Debug, Clone, Copy)]
pub struct Part {
    /// The name on the command line.
    pub name: &'static str,
    /// A shorter name that is understood too.
    pub short: &'static str,
    /// Its family.
    pub family: Family,
    /// LUTs, flip-flops and block RAMs: of 4 kbit on iCE40, 18 kbit elsewhere.
    pub room: Room,
    /// The clock in MHz for which registers are chosen where none is asked for.
    pub clock_mhz: f64,
    /// The options by which nextpnr knows it; empty where no open tool routes it.
    pub device: &'static str,
}

/// The file of pins that Gowin parts need.
pub const PINS: &str = "pins.cst";

const fn room(lut: u64, ff: u64, ram: u64) -> Room {
    Room { lut, ff, ram }
}

impl Part {
    /// All parts.
    pub const ALL: &'static [Self] = &[
        Self {
            name: "ice40-up5k",
            short: "up5k",
            family: Family::Ice40,
            room: room(5280, 5280, 30),
            clock_mhz: 48.0,
            device: "--up5k --package sg48 --pcf-allow-unconstrained",
        },
        Self {
            name: "ice40-hx8k",
            short: "hx8k",
            family: Family::Ice40,
            room: room(7680, 7680, 32),
            clock_mhz: 120.0,
            device: "--hx8k --package ct256 --pcf-allow-unconstrained",
        },
        Self {
            name: "ecp5-25k",
            short: "25k",
            family: Family::Ecp5,
            room: room(24_288, 24_288, 56),
            clock_mhz: 150.0,
            device: "--25k --package CABGA381 --speed 6 --lpf-allow-unconstrained",
        },
        Self {
            name: "ecp5-45k",
            short: "45k",
            family: Family::Ecp5,
            room: room(43_848, 43_848, 108),
            clock_mhz: 150.0,
            device: "--45k --package CABGA381 --speed 6 --lpf-allow-unconstrained",
        },
        Self {
            name: "ecp5-85k",
            short: "85k",
            family: Family::Ecp5,
            room: room(83_640, 83_640, 208),
            clock_mhz: 150.0,
            device: "--85k --package CABGA381 --speed 6 --lpf-allow-unconstrained",
        },
        Self {
            name: "gw1n-9c",
            short: "gw1n-9",
            family: Family::Gowin,
            room: room(8640, 6480, 26),
            clock_mhz: 100.0,
            device: "--device GW1NR-LV9QN88PC6/I5 --vopt family=GW1N-9C --vopt cst=pins.cst",
        },
        Self {
            name: "gw2a-18c",
            short: "gw2a-18",
            family: Family::Gowin,
            room: room(20_736, 15_552, 46),
            clock_mhz: 125.0,
            device: "--device GW2AR-LV18QN88C8/I7 --vopt family=GW2A-18C --vopt cst=pins.cst",
        },
        Self {
            name: "xc7a35t",
            short: "a35t",
            family: Family::Xilinx7,
            room: room(20_800, 41_600, 100),
            clock_mhz: 200.0,
            device: "",
        },
        Self {
            name: "xc7a100t",
            short: "a100t",
            family: Family::Xilinx7,
            room: room(63_400, 126_800, 270),
            clock_mhz: 200.0,
            device: "",
        },
    ];

    /// Bits of a block RAM.
    pub fn ram_bits(&self) -> u64 {
        if self.family == Family::Ice40 { 4096 } else { 18_432 }
    }

    /// Whether an open tool places and routes it.
    pub fn routes(&self) -> bool {
        !self.device.is_empty()
    }

    /// The file [`PINS`], where the part needs one: nextpnr places no port of a Gowin part by itself.
    pub(crate) fn pins(&self) -> Option<String> {
        let gowin = self.family == Family::Gowin;
        let ports = [("clk", if self.short == "gw1n-9" { 52 } else { 4 }), ("rst", 70), ("d", 69), ("q", 15)];
        gowin.then(|| ports.map(|(port, pin)| format!("IO_LOC \"{port}\" {pin};\n")).concat())
    }

    /// Completes the target of a configuration: the part's family and, where no clock is asked for, its clock. Returns the clock.
    ///
    /// # Errors
    /// If the configuration asks for cells of another family.
    pub fn complete(&self, config: &mut Config) -> Result<f64> {
        let family = *config.target.family.get_or_insert(self.family);
        if ![Family::Generic, self.family].contains(&family) {
            let message = format!(
                "{} is a part of the family {}, and {} is asked for",
                self.name,
                self.family.name(),
                family.name()
            );
            return Err(Diagnostic::new(&CONFIG_VALUE, message)
                .at("--part")
                .help("leave the family out, or ask for generic")
                .into());
        }
        Ok(*config.target.clock_mhz.get_or_insert(self.clock_mhz))
    }
}

impl FromStr for &'static Part {
    type Err = String;

    fn from_str(s: &str) -> std::result::Result<Self, String> {
        let s = s.to_ascii_lowercase();
        let found = Part::ALL.iter().find(|part| [part.name, part.short].contains(&s.as_str()));
        let all = || Part::ALL.iter().map(|part| part.name).collect::<Vec<_>>().join(", ");
        found.ok_or_else(|| format!("no part is called {s}; there are {}", all()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memories_in_luts_take_room_too() {
        let cells = Cells { lut: 5000, lut_ram: 70, ram: 30, ..Cells::default() };
        let cells = Cells { ff: 100, ..cells };
        assert!(room(5280, 100, 30).holds(&cells));
        assert!(
            [room(5279, 100, 30), room(5280, 99, 30), room(5280, 100, 29)].iter().all(|r| !r.holds(&cells))
        );
    }
}

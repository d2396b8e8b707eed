//! The boards: their parts, clocks and pins, as the folders of `constraints/` have them.

use std::str::FromStr;
use std::sync::LazyLock;

use serde::Deserialize;

use crate::board::Line;
use crate::synth::part::Part;

/// A board.
#[derive(Debug)]
pub struct Board {
    /// The name on the command line, and of its folder.
    pub name: &'static str,
    /// What `board.toml` says.
    pub said: Said,
    /// Its part.
    pub part: &'static Part,
    /// The file of pins: ports `clk`, `rx` and `tx`.
    pub pins: &'static str,
}

/// The keys of a `board.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Said {
    /// The board's name for people.
    pub title: String,
    /// The part.
    pub part: String,
    /// Its oscillator, which is the core's clock.
    pub clock_mhz: f64,
    /// Bits per second on the serial line.
    pub baud: u32,
    /// Ports that must be 1.
    #[serde(default)]
    pub high: Vec<String>,
    /// The command that loads a bitstream, or makes it where no open tool does; `@BITSTREAM@` stands for the file.
    pub flash: String,
}

/// Seconds without a byte after which a request has ended early, at least.
const PATIENCE: f64 = 0.05;

impl Board {
    /// All boards.
    pub fn all() -> &'static [Self] {
        static ALL: LazyLock<Vec<Board>> = LazyLock::new(|| FOLDERS.iter().map(board).collect());
        &ALL
    }

    /// The serial line, in cycles of the clock.
    pub fn line(&self) -> Line {
        let hertz = self.said.clock_mhz * 1e6;
        let period = (hertz / f64::from(self.said.baud)).round() as u32;
        Line { period, patience: ((hertz * PATIENCE) as u32).next_power_of_two() }
    }
}

/// Name, `board.toml` and pins of each folder of `constraints/` that is a board.
const FOLDERS: &[(&str, &str, &str)] = &[
    (
        "arty-a7",
        include_str!("../../constraints/arty-a7/board.toml"),
        include_str!("../../constraints/arty-a7/pins.xdc"),
    ),
    (
        "icebreaker",
        include_str!("../../constraints/icebreaker/board.toml"),
        include_str!("../../constraints/icebreaker/pins.pcf"),
    ),
    (
        "tang-nano-20k",
        include_str!("../../constraints/tang-nano-20k/board.toml"),
        include_str!("../../constraints/tang-nano-20k/pins.cst"),
    ),
    (
        "tang-nano-9k",
        include_str!("../../constraints/tang-nano-9k/board.toml"),
        include_str!("../../constraints/tang-nano-9k/pins.cst"),
    ),
    (
        "ulx3s",
        include_str!("../../constraints/ulx3s/board.toml"),
        include_str!("../../constraints/ulx3s/pins.lpf"),
    ),
];

fn board((name, text, pins): &(&'static str, &'static str, &'static str)) -> Board {
    let said: Said = toml::from_str(text).unwrap_or_else(|error| panic!("constraints/{name}: {error}"));
    let part = said.part.parse().unwrap_or_else(|error| panic!("constraints/{name}: {error}"));
    Board { name, said, part, pins }
}

impl FromStr for &'static Board {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        let all = || Board::all().iter().map(|board| board.name).collect::<Vec<_>>().join(", ");
        let found = Board::all().iter().find(|board| board.name == s.to_ascii_lowercase());
        found.ok_or_else(|| format!("no board is called {s}; there are {}", all()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The error of a bit's length, times the ten bits of a byte, must stay well below half a bit.
    #[test]
    fn every_line_keeps_its_rate() {
        for board in Board::all() {
            let line = board.line();
            let baud = board.said.clock_mhz * 1e6 / f64::from(line.period);
            let error = (baud / f64::from(board.said.baud) - 1.0).abs();
            assert!(line.period >= 4 && error < 0.015, "{}: {line:?}, {error}", board.name);
            assert!(f64::from(line.patience) / board.said.clock_mhz < 250_000.0, "less than a host waits");
            for port in ["clk", "rx", "tx"].into_iter().chain(board.said.high.iter().map(String::as_str)) {
                assert!(board.pins.contains(port), "{}: no pin of {port}", board.name);
            }
        }
    }
}

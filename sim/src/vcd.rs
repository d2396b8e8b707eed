//! VCD waveforms of the rtl engine, with the module hierarchy.

use std::io::{self, Write};

use vcd::{IdCode, SimulationCommand, TimescaleUnit, Value, VarType, Writer};

use crate::engine::{Simulator, Slot};

/// A VCD writer for the named nets of a simulator, with one sample per cycle. Cycle t is at time 10 t; the clock falls at 10 t +
/// 5.
pub struct Waveform<W: Write> {
    writer: Writer<W>,
    clock: IdCode,
    signals: Vec<(IdCode, Slot, Vec<u64>)>,
    started: bool,
}

impl<W: Write> Waveform<W> {
    /// Writes the header: scopes and signals. `top` names the outermost scope.
    pub fn new(out: W, top: &str, simulator: &Simulator) -> io::Result<Self> {
        let mut writer = Writer::new(out);
        writer.timescale(1, TimescaleUnit::NS)?;
        writer.add_module(top)?;
        let clock = writer.add_var(VarType::Wire, 1, "clk", None)?;
        let mut signals = Vec::new();
        let mut open: Vec<String> = Vec::new();
        for (scope, name, slot) in simulator.names() {
            let common = open.iter().zip(scope).take_while(|(a, b)| a == b).count();
            for _ in common..open.len() {
                writer.upscope()?;
            }
            for inner in &scope[common..] {
                writer.add_module(inner)?;
            }
            open = scope.to_vec();
            let width = slot.width();
            let id = writer.add_var(VarType::Wire, width, name, None)?;
            signals.push((id, slot, vec![]));
        }
        for _ in 0..=open.len() {
            writer.upscope()?;
        }
        writer.enddefinitions()?;
        Ok(Self { writer, clock, signals, started: false })
    }

    /// Writes the changes up to the given cycle. The values are those before the cycle's edge.
    pub fn sample(&mut self, cycle: u64, simulator: &Simulator) -> io::Result<()> {
        self.writer.timestamp(cycle * 10)?;
        if !self.started {
            self.writer.begin(SimulationCommand::Dumpvars)?;
        }
        self.writer.change_scalar(self.clock, Value::V1)?;
        for (id, slot, old) in &mut self.signals {
            let new = simulator.words(*slot);
            if old.as_slice() == new {
                continue;
            }
            let width = slot.width();
            if width == 1 {
                self.writer.change_scalar(*id, new[0] & 1 == 1)?;
            } else {
                let bits = (0..width).rev().map(|b| Value::from(new[b as usize / 64] >> (b % 64) & 1 == 1));
                self.writer.change_vector(*id, bits)?;
            }
            *old = new.to_vec();
        }
        if !std::mem::replace(&mut self.started, true) {
            self.writer.end()?;
        }
        self.writer.timestamp(cycle * 10 + 5)?;
        self.writer.change_scalar(self.clock, Value::V0)
    }
}

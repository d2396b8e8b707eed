//! A board in the rtl engine at the other end of a serial line, bit by bit: a port for a host.

use std::collections::VecDeque;
use std::io::{self, Read, Write};

use stoxnor::board::{Line, serial};
use stoxnor::lower::Hardware;
use stoxnor::network::Network;
use stoxnor_sim::{Simulator, Slot};

/// A line fast enough for simulations.
pub const LINE: Line = Line { period: 4, patience: 1024 };

/// What a line does to a byte: the bytes that arrive.
pub type Noise = Box<dyn FnMut(u8) -> Vec<u8> + Send>;

/// A simulated board.
pub struct Board {
    simulator: Simulator,
    rx: Slot,
    tx: Slot,
    /// Bits of the byte that is being received, their number, and cycles until the next.
    receiving: Option<(u16, u32, u32)>,
    /// Bytes that have come from the board.
    received: VecDeque<u8>,
    /// Both lines, cycle by cycle, if they are recorded.
    pub trace: Option<Vec<(bool, bool)>>,
    /// What happens to bytes to the board, and from it.
    noise: Option<[Noise; 2]>,
}

impl std::fmt::Debug for Board {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Board").finish_non_exhaustive()
    }
}

impl Board {
    /// A board with a network, after reset.
    ///
    /// # Panics
    /// If the core has several inputs or outputs.
    pub fn new(network: &Network, hardware: &Hardware) -> Self {
        let mut simulator = Simulator::new(&serial(network, hardware, LINE));
        let [rx, tx] = ["rx", "tx"].map(|name| simulator.port(name).expect("a line"));
        simulator.set_bit(rx, true);
        for _ in 0..2 {
            simulator.settle();
            simulator.edge(true);
        }
        let received = VecDeque::new();
        Self { simulator, rx, tx, receiving: None, received, trace: None, noise: None }
    }

    /// The same with noise on its lines: to the board, and from it.
    #[must_use]
    pub fn with_noise(self, noise: [Noise; 2]) -> Self {
        Self { noise: Some(noise), ..self }
    }

    /// The same with its lines recorded from here on.
    #[must_use]
    pub fn recorded(self) -> Self {
        Self { trace: Some(Vec::new()), ..self }
    }

    /// One clock cycle with this bit on the line to the board.
    fn step(&mut self, line: bool) {
        self.simulator.set_bit(self.rx, line);
        self.simulator.settle();
        let tx = self.simulator.bit(self.tx);
        self.receiving = match self.receiving {
            None if !tx => Some((0, 0, LINE.period + LINE.period / 2 - 1)),
            None => None,
            Some((bits, 8, 0)) => {
                assert!(tx, "a stop bit is 1");
                let byte = bits as u8;
                let bytes = self.noise.as_mut().map_or_else(|| vec![byte], |[_, from]| from(byte));
                self.received.extend(bytes);
                None
            }
            Some((bits, count, 0)) => Some((bits | u16::from(tx) << count, count + 1, LINE.period - 1)),
            Some((bits, count, wait)) => Some((bits, count, wait - 1)),
        };
        self.simulator.edge(false);
        if let Some(trace) = &mut self.trace {
            trace.push((line, tx));
        }
    }

    /// So many cycles of a line at rest.
    pub fn rest(&mut self, cycles: u32) {
        (0..cycles).for_each(|_| self.step(true));
    }
}

impl Write for Board {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for byte in bytes {
            let sent = self.noise.as_mut().map_or_else(|| vec![*byte], |[to, _]| to(*byte));
            for byte in sent {
                for bit in (0..10).map(|at| u16::from(byte) << 1 >> at & 1 | u16::from(at == 9)) {
                    (0..LINE.period).for_each(|_| self.step(bit == 1));
                }
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Cycles without a byte after which a read ends: longer than the board's patience, and than what a small network needs for a frame.
const SILENCE: u32 = 4 * LINE.patience;

impl Read for Board {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        for _ in 0..SILENCE {
            if !self.received.is_empty() {
                break;
            }
            self.step(true);
        }
        if self.received.is_empty() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.received.read(buffer)
    }
}

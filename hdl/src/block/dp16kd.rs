//! Read-only memories in block RAMs of ECP5, with the output registers that synthesis does not infer.

use std::sync::Arc;

use crate::module::is_block_rom;
use crate::{Bits, Builder, Image, Module, Net, Primitive, Role, index_bits};

/// Address bits of a port.
const ADDRESS: u32 = 14;

/// Widths of a port and the bits of its words' numbers.
const SHAPES: [(u32, u32); 5] = [(18, 10), (9, 11), (4, 12), (2, 13), (1, 14)];

/// Bits of a row of initial contents. A row has 16 words of 18 bits, each in 20 bits.
const ROW: u32 = 320;

/// The most banks of a memory: a choice of one of four is two LUTs deep.
const BANKS: u32 = 4;

/// A read-only memory of the words of `image` in block RAMs of ECP5, called after the image. `None` where it does not belong into block
/// RAM, or has more words than four block RAMs have bits.
///
/// Ports `address`, `enable`, `data`. It takes two edges with `enable` from an address to its word.
pub fn rom_dp16kd(image: &Arc<Image>) -> Option<Arc<Module>> {
    let (width, depth) = (image.words[0].width(), image.words.len() as u32);
    let banks = banks(width, depth).filter(|_| is_block_rom(width, depth))?;
    let stem = image.file.strip_suffix(".mem").unwrap_or(&image.file).to_owned();
    let mut b = Builder::new(stem.clone());
    b.doc(format!("ROM: {depth} words of {width} bits, in block RAMs with output registers."));
    if banks.len() > 1 {
        b.doc(format!(
            "{} banks of words {} and so on, of which the address chooses one.",
            banks.len(),
            banks[0].range(depth)
        ));
    }
    b.doc("Timing: two edges with enable from address to data; else data stays.");
    let ports = |b: &mut Builder| {
        let address = b.input("address", index_bits(depth.into()), Role::Control);
        (address, b.input("enable", 1, Role::Control))
    };
    let (address, enable) = ports(&mut b);
    let words = b.memory_of("words", image);
    let word = b.read(words, "word", address, enable);
    let data = b.registered("data", None, enable, word);
    b.output("data", data, Role::Data);
    Some(b.finish_realised(|model| {
        let mut b = Builder::new(model.name.clone());
        model.doc.iter().for_each(|line| b.doc(line.clone()));
        let (address, enable) = ports(&mut b);
        let one = banks.len() == 1;
        let mut words = banks
            .iter()
            .enumerate()
            .map(|(number, bank)| {
                let names = if one {
                    (stem.clone(), String::new())
                } else {
                    (format!("{stem}_bank_{number}"), format!("bank_{number}_"))
                };
                let word = bank.read(&mut b, (&names.0, &names.1), &image.words, (address, enable));
                b.named(if one { "data".to_owned() } else { format!("data_{number}") }, word)
            })
            .collect::<Vec<_>>();
        let mut data = words.pop().expect("a bank");
        if !one {
            let (bits, low) = (b.width(address), banks[0].shape.address);
            let of = b.slice(address, low, bits - low);
            let of = b.registered("bank", None, enable, of);
            let of = b.registered("bank_read", None, enable, of);
            for (number, word) in words.into_iter().enumerate().rev() {
                let here = b.is(of, number as u64);
                data = b.mux(here, word, data);
            }
        }
        b.output("data", data, Role::Data);
        b.finish()
    }))
}

/// Neighbouring words of a memory in block RAMs of one shape.
#[derive(Debug, Clone, Copy)]
struct Bank {
    /// Number of the first word.
    first: u32,
    /// Bits of a word.
    width: u32,
    shape: Shape,
}

/// The banks of a memory of `depth` words: as few as there can be, unless more save a fifth of the block RAMs.
fn banks(width: u32, depth: u32) -> Option<Vec<Bank>> {
    let of = |chunk: u32| {
        let firsts = (0..depth).step_by(chunk as usize);
        let banks = firsts.map(|first| {
            let shape = Shape::of(chunk.min(depth - first))?;
            Some(Bank { first, width, shape })
        });
        banks.collect::<Option<Vec<Bank>>>()
    };
    let blocks = |banks: &Vec<Bank>| banks.iter().map(|bank| bank.blocks()).sum::<u32>();
    let chunks = (0..=BANKS.ilog2()).filter_map(|halvings| depth.next_power_of_two().checked_shr(halvings));
    let possible = chunks.filter(|chunk| *chunk > 1).filter_map(of);
    possible.min_by_key(|banks| blocks(banks) * if banks.len() == 1 { 4 } else { 5 })
}

impl Bank {
    /// Its number of block RAMs.
    fn blocks(&self) -> u32 {
        self.width.div_ceil(self.shape.bits())
    }

    /// The words of the first bank, of `depth` in all.
    fn range(&self, depth: u32) -> String {
        format!("{} to {}", self.first, (self.first + (1 << self.shape.address)).min(depth) - 1)
    }

    /// Its block RAMs, whose modules and instances are called by `stem` and `prefix`, and the word that they read.
    fn read(
        &self,
        b: &mut Builder,
        (stem, prefix): (&str, &str),
        words: &[Bits],
        (address, enable): (Net, Net),
    ) -> Net {
        let shape = self.shape;
        let words = &words[self.first as usize..];
        let words = &words[..words.len().min(1 << shape.address)];
        let bits: Vec<Net> = (0..shape.address).map(|bit| b.slice(address, bit, 1)).collect();
        let mut parts = Vec::new();
        for (index, low) in (0..self.width).step_by(shape.bits() as usize).enumerate() {
            let used = shape.bits().min(self.width - low);
            let block_ram = shape.block_ram(&format!("{stem}_{index}"), words, low, used);
            let ram = b.instance(&format!("u_{prefix}ram_{index}"), &block_ram);
            for port in shape.ports(used) {
                for (bit, net) in bits.iter().enumerate() {
                    let pin = shape.first() + bit as u32;
                    b.connect(ram, &format!("AD{port}{pin}"), *net);
                }
                b.connect(ram, &format!("CE{port}"), enable);
                b.connect(ram, &format!("OCE{port}"), enable);
            }
            parts.extend(shape.outputs(used).map(|pin| b.out(ram, &pin)));
        }
        b.concat(&parts)
    }
}

/// The use of a block RAM.
#[derive(Debug, Clone, Copy)]
struct Shape {
    /// Bits of a port.
    width: u32,
    /// Whether both ports read, from a half of the words each.
    both: bool,
    /// Bits of the number of a word of the memory.
    address: u32,
}

impl Shape {
    /// The shape for `depth` words; `None` if they are more than the bits of a block RAM.
    fn of(depth: u32) -> Option<Self> {
        let address = index_bits(depth.max(2).into());
        let (width, bits) = SHAPES.into_iter().find(|(_, bits)| address <= *bits)?;
        Some(Self { width, both: address < bits && width == SHAPES[0].0, address })
    }

    /// Bits of a word that a block RAM holds.
    fn bits(self) -> u32 {
        self.width << u32::from(self.both)
    }

    /// The ports that read, where `used` bits are used.
    fn ports(self, used: u32) -> impl Iterator<Item = char> {
        ['A', 'B'].into_iter().take(used.div_ceil(self.width) as usize)
    }

    /// The pins of the first `used` bits.
    fn outputs(self, used: u32) -> impl Iterator<Item = String> {
        (0..used).map(move |bit| format!("DO{}{}", ['A', 'B'][(bit / self.width) as usize], bit % self.width))
    }

    /// The words in 18 bits. Those of less than 9 bits leave every ninth bit out.
    fn words(self) -> u32 {
        if self.width == 18 { 1 } else { 2 * (8 / self.width).max(1) }
    }

    /// The address pin of the lowest bit of a word's number.
    fn first(self) -> u32 {
        4 - self.words().ilog2()
    }

    /// A model of a block RAM with bits `low` to `low + used - 1` of all words.
    fn block_ram(self, name: &str, words: &[Bits], low: u32, used: u32) -> Arc<Module> {
        let mut b = Builder::new(format!("DP16KD_{name}"));
        let mut pins = Vec::new();
        for port in ['A', 'B'] {
            let reads = self.ports(used).any(|own| own == port);
            let constant = |pin: u32| self.both && port == 'B' && pin == self.first() + self.address;
            let own = self.first()..self.first() + self.address;
            let mut address = Vec::new();
            for pin in 0..ADDRESS {
                let name = format!("AD{port}{pin}");
                if reads && own.contains(&pin) {
                    address.push(b.input(name, 1, Role::Control));
                } else {
                    pins.push((name, Some(constant(pin))));
                }
            }
            pins.extend((0..18).map(|bit| (format!("DI{port}{bit}"), Some(false))));
            let off = ["WE", "RST"].map(|pin| format!("{pin}{port}"));
            let select = [0, 1, 2].map(|bit| format!("CS{port}{bit}"));
            pins.extend(off.into_iter().chain(select).map(|pin| (pin, Some(false))));
            if !reads {
                pins.extend([(format!("CE{port}"), Some(false)), (format!("OCE{port}"), Some(false))]);
                pins.extend((0..18).map(|bit| (format!("DO{port}{bit}"), None)));
                continue;
            }
            let enable = b.input(format!("CE{port}"), 1, Role::Control);
            let moves = b.input(format!("OCE{port}"), 1, Role::Control);
            let at = u32::from(port == 'B') * self.width;
            let bits = self.width.min(used - at);
            let own = |word: &Bits| Bits::from_words(bits, [word.extract(low + at, bits)]);
            let image = Image { file: String::new(), words: words.iter().map(own).collect() };
            let memory = b.memory_of(&format!("words_{port}"), &Arc::new(image));
            let address = b.concat(&address);
            let word = b.read(memory, &format!("word_{port}"), address, enable);
            let data = b.registered(&format!("data_{port}"), None, moves, word);
            for bit in 0..18 {
                let pin = format!("DO{port}{bit}");
                if bit < bits {
                    let net = b.slice(data, bit, 1);
                    b.output(pin, net, Role::Data);
                } else {
                    pins.push((pin, None));
                }
            }
        }
        b.primitive(Primitive {
            cell: "DP16KD",
            parameters: self.parameters(words, low, used),
            order: &[],
            pins,
            clocks: &["CLKA", "CLKB"],
        });
        b.finish()
    }

    /// The parameters: the mode of both ports, and rows of contents that are not 0.
    fn parameters(self, words: &[Bits], low: u32, used: u32) -> Vec<(String, String)> {
        let mut parameters = Vec::new();
        for port in ['A', 'B'] {
            parameters.push((format!("DATA_WIDTH_{port}"), self.width.to_string()));
            parameters.push((format!("REGMODE_{port}"), "\"OUTREG\"".to_owned()));
        }
        let mut rows = vec![Bits::zero(ROW); 64];
        for (at, word) in words.iter().enumerate() {
            for bit in (0..used).filter(|bit| word.bit(low + bit)) {
                let (port, own) = (bit / self.width, bit % self.width);
                // A half of the words is that of port B.
                let place = port << self.address | at as u32;
                let (entry, part) = (place / self.words(), place % self.words());
                let half = (self.words() / 2).max(1);
                let own = part / half * 9 + part % half * self.width + own;
                rows[entry as usize / 16].set(entry % 16 * 20 + own, true);
            }
        }
        let filled = rows.iter().enumerate().filter(|(_, row)| row.words().iter().any(|word| *word != 0));
        parameters.extend(filled.map(|(at, row)| (format!("INITVAL_{at:02X}"), format!("{ROW}'h{row}"))));
        parameters
    }
}

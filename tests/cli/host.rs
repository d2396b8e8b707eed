//! host: a simulated board behind a pseudo-terminal.

use std::fs;
use std::io::{Read, Write};
use std::thread;

use nix::fcntl::OFlag;
use nix::pty::{PtyMaster, grantpt, posix_openpt, ptsname_r, unlockpt};
use stoxnor::board::boards::Board;
use stoxnor::lower::{Hardware, lower};
use stoxnor::network::Network;
use stoxnor::{Config, import};
use stoxnor_testbenches::serial::Board as Simulated;

use crate::bed::{Bed, WIDTHS, float_bytes, npy, pixels};

const FRAMES: usize = 5;

/// What `build` puts on the board.
fn on_board(bed: &Bed, model: &str) -> (Network, Hardware) {
    let network = import::load(&bed.path(model)).unwrap();
    let board: &Board = "icebreaker".parse().unwrap();
    let mut config = Config::default();
    config.target.clock_mhz = Some(board.said.clock_mhz);
    board.part.complete(&mut config).unwrap();
    let mut hardware = lower(&network, &config.foldings(&network).unwrap());
    hardware.design.top = board.part.family.placed(&hardware.design.top);
    (network, hardware)
}

/// A terminal, and the path of its other end.
fn terminal() -> (PtyMaster, String) {
    let master = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let path = ptsname_r(&master).unwrap();
    (master, path)
}

/// Passes bytes between a terminal and a board, until the other end is closed.
fn connect(mut terminal: PtyMaster, mut board: Simulated) {
    let mut bytes = [0; 4096];
    while let Ok(count) = terminal.read(&mut bytes) {
        board.write_all(&bytes[..count]).unwrap();
        let mut answer = [0; 4096];
        while let Ok(count) = board.read(&mut answer) {
            terminal.write_all(&answer[..count]).unwrap();
        }
    }
}

#[test]
fn a_board_gives_what_run_gives() {
    let bed = Bed::with_frames(FRAMES);
    bed.run(&["run", "m.onnx", "--input", "x.npy", "--output", "y.npy"]).with(0);
    let (network, hardware) = on_board(&bed, "m.onnx");
    let (master, path) = terminal();
    let board = Simulated::new(&network, &hardware);
    // The terminal stays open between two hosts.
    let kept = fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let wire = thread::spawn(move || connect(master, board));
    let host = ["host", "m.onnx", "--board", "icebreaker", "--port", &path, "--input", "x.npy", "--output"];
    let told = bed.run(&[&host[..], &["h.npy", "--json"]].concat()).with(0).json();
    assert_eq!(
        (&told["frames"], &told["output_shape"]),
        (&FRAMES.into(), &serde_json::json!([FRAMES, WIDTHS[3]]))
    );
    assert_eq!(fs::read(bed.path("h.npy")).unwrap(), fs::read(bed.path("y.npy")).unwrap());
    let words = bed.run(&[&host[..], &["w.npy"]].concat()).with(0).out;
    assert!(words.starts_with("5 frames by the board, "), "{words}");
    drop(kept);
    wire.join().unwrap();
}

#[test]
fn another_core_on_the_board_is_told() {
    let bed = Bed::with_frames(1);
    bed.write("other.onnx", stoxnor_testbenches::onnx::random_dense(7, &[24, 12, 8, 5]));
    let (network, hardware) = on_board(&bed, "other.onnx");
    let (master, path) = terminal();
    let wire = thread::spawn(move || connect(master, Simulated::new(&network, &hardware)));
    let arguments =
        ["host", "m.onnx", "--board", "icebreaker", "--port", &path, "--input", "x.npy", "--output", "h.npy"];
    let ended = bed.run(&arguments).with(3);
    assert!(ended.err.contains("board-silent") && !bed.path("h.npy").exists(), "{}", ended.err);
    wire.join().unwrap();
}

#[test]
fn a_port_that_is_not_there_is_named() {
    let bed = Bed::new();
    bed.write("x.npy", npy("<f4", &[1, WIDTHS[0]], &float_bytes(&pixels(1))));
    let missing = [
        "host",
        "m.onnx",
        "--board",
        "icebreaker",
        "--port",
        "nowhere",
        "--input",
        "x.npy",
        "--output",
        "h.npy",
    ];
    let ended = bed.run(&missing).with(3);
    assert!(ended.err.contains("nowhere") && ended.err.contains("dialout"), "{}", ended.err);
}

/// A bitstream for an iCEBreaker by Debian's tools, at its clock.
#[test]
fn a_bitstream_is_made() {
    let bed = Bed::new();
    let built = bed.run(&["build", "m.onnx", "--board", "icebreaker", "--out", "b", "--json"]).with(0).json();
    assert_eq!((&built["bitstream"], &built["met"]), (&"m.bin".into(), &true.into()));
    assert!(
        built["flash"].as_str().unwrap().starts_with("iceprog ") && built["clock_mhz"] == 12.0,
        "{built}"
    );
    assert_eq!(fs::metadata(bed.path("b/m.bin")).unwrap().len(), 104_090, "the size of an up5k's bitstream");
    let top = fs::read_to_string(bed.path("b/stoxnor_board.v")).unwrap();
    assert!(top.contains("m_serial u_core"), "{top}");
    bed.run(&["build", "m.onnx", "--board", "icebreaker", "--out", "b"]).with(2);
}

/// No open tool routes Xilinx' parts: a project for the vendor's, which needs no tool here.
#[test]
fn a_project_is_written_where_no_open_tool_routes() {
    let bed = Bed::new();
    let built = bed.without_tools(&["build", "m.onnx", "--board", "arty-a7", "--out", "b"]).with(0);
    assert!(built.out.contains("vivado -mode batch -source build.tcl"), "{}", built.out);
    let files = bed.list("b");
    for file in ["build.tcl", "pins.xdc", "stoxnor_board.v", "m_serial.v", "m_l1_dense_weights.mem"] {
        assert!(files.iter().any(|name| name == file), "{file} in {files:?}");
    }
}

#[test]
fn what_cannot_be_built_is_said_and_leaves_nothing() {
    let bed = Bed::new();
    let build = |options: &[&'static str]| [&["build", "m.onnx", "--out", "b", "--board"], options].concat();
    let missing = bed.without_tools(&build(&["icebreaker"])).with(3);
    assert!(missing.err.contains("tool-missing"), "{}", missing.err);
    let unknown = bed.run(&build(&["pynq"])).with(2);
    assert!(unknown.err.contains("tang-nano-9k"), "{}", unknown.err);
    let clock = bed.run(&build(&["icebreaker", "--clock-mhz", "48"])).with(2);
    assert!(clock.err.contains("the clock of iCEBreaker is 12 MHz"), "{}", clock.err);
    bed.write("c.toml", "[target]\nclock_mhz = 48\n");
    let clock = bed.run(&build(&["icebreaker", "--config", "c.toml"])).with(2);
    assert!(clock.err.contains("target.clock_mhz"), "{}", clock.err);
    bed.write("big.onnx", stoxnor_testbenches::onnx::random_dense(7, &[784, 2048, 2048, 10]));
    let full = bed.run(&["build", "big.onnx", "--board", "icebreaker", "--out", "b", "--fit"]).with(2);
    assert!(full.err.contains("part-too-small"), "{}", full.err);
    assert!(!bed.path("b").exists());
}

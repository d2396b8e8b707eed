//! A core behind a serial line, bit by bit: right, damaged, cut and late requests.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::process::Command;

use rand::RngExt as _;
use stoxnor::board::boards::Board as Boards;
use stoxnor::board::build::{TOP, top};
use stoxnor::board::host::{Host, payloads};
use stoxnor::board::protocol::{Answer, Answers, Status, crc, request};
use stoxnor::board::serial;
use stoxnor::engine::{self, entry_beats, frames_to_beats};
use stoxnor::lower::{Hardware, lower};
use stoxnor::network::{Network, Node};
use stoxnor::unit::folding::Folding;
use stoxnor_hdl::{Bits, verilog};
use stoxnor_testbenches::conformance::{
    ensemble, random, random_dense, random_few_bit, random_folds, random_frames,
};
use stoxnor_testbenches::runs;
use stoxnor_testbenches::serial::{Board, LINE, Noise};

use crate::bench::yosys_share;

/// Beats as bytes, little endian.
fn bytes(beats: &[Bits]) -> Vec<u8> {
    let of = |beat: &Bits| {
        let words: Vec<u8> = beat.words().iter().flat_map(|word| word.to_le_bytes()).collect();
        words[..beat.width().div_ceil(8) as usize].to_vec()
    };
    beats.iter().flat_map(of).collect()
}

/// The host's end of a line, whose answers are looked at one by one.
struct Bench {
    board: Board,
    answers: Answers,
    found: Vec<Answer>,
}

impl Bench {
    fn new(network: &Network, hardware: &Hardware) -> Self {
        let exit = &hardware.boundaries[hardware.design.exits[0]];
        let width = exit.lanes as u32 * exit.element.bits();
        let answers = Answers::new(exit.beats() * width.div_ceil(8) as usize);
        Self { board: Board::new(network, hardware), answers, found: Vec::new() }
    }

    fn send(&mut self, bytes: &[u8]) {
        self.board.write_all(bytes).unwrap();
    }

    /// The next answer, if the board is not quiet before it comes.
    fn answer(&mut self) -> Option<Answer> {
        let mut byte = [0];
        while self.found.is_empty() {
            if self.board.read(&mut byte).is_err() {
                return None;
            }
            self.found.extend(self.answers.take(&byte));
        }
        Some(self.found.remove(0))
    }
}

/// Members of a frame.
fn members(network: &Network, frame: usize) -> u32 {
    network.ensemble.as_ref().map_or(1, |ensemble| frame as u32 % ensemble.max_members + 1)
}

/// Members of a frame, as a request has them.
fn user(network: &Network, frame: usize) -> Option<u8> {
    network.ensemble.as_ref().map(|_| members(network, frame) as u8)
}

/// Frames as the bytes of their beats, and the bytes that must come back.
fn frames(network: &Network, hardware: &Hardware, count: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
    let frames = random_frames(5, network, count);
    let exit = &hardware.boundaries[hardware.design.exits[0]];
    let members: Vec<u32> = (0..count).map(|frame| members(network, frame)).collect();
    let results = engine::reference(network, &frames, &members);
    let values = &results[hardware.design.exits[0]].values;
    let passes: Vec<Vec<i32>> = values.chunks(exit.elements).map(<[i32]>::to_vec).collect();
    let outputs = frames_to_beats(&passes, exit.lanes, exit.element);
    let inputs = entry_beats(network, hardware, &frames, 0);
    assert_eq!((inputs.len(), outputs.len()), (count, count));
    inputs.iter().zip(outputs).map(|(input, output)| (bytes(input), bytes(&output))).collect()
}

#[test]
fn frames_come_back_as_results() {
    let networks = [
        random_dense(8, &[40, 24, 10]),
        random_few_bit(3, &[12, 8, 6, 4]),
        random_dense(8, &[6, 3]),
        ensemble(),
    ];
    for (index, network) in networks.iter().enumerate() {
        for seed in 0..4 {
            // The last folding takes a frame in one beat.
            let at_once = |node: &Node| Folding::new(node.layer.lanes().rows, node.layer.lanes().fan_in);
            let folds = match seed {
                3 => network.nodes.iter().map(at_once).collect(),
                seed => random_folds(&mut random(seed), network),
            };
            let hardware = lower(network, &folds);
            let mut bench = Bench::new(network, &hardware);
            for (sequence, (input, output)) in frames(network, &hardware, 4).into_iter().enumerate() {
                bench.send(&request(sequence as u8, user(network, sequence), &input));
                let answer = bench.answer();
                let right = Answer { sequence: sequence as u8, status: Status::Result, beats: output };
                assert_eq!(answer, Some(right), "network {index}, folding {seed}");
            }
        }
    }
}

/// Requests that are damaged, cut, behind noise, or too many.
#[test]
fn what_is_damaged_is_never_a_result() {
    let network = random_dense(8, &[40, 24, 10]);
    let hardware = lower(&network, &random_folds(&mut random(1), &network));
    let frames = frames(&network, &hardware, 4);
    let mut bench = Bench::new(&network, &hardware);
    let mut rng = random(9);
    let mut seen = [0; 4];
    for number in 0..200u32 {
        let sequence = number as u8;
        let (input, output) = &frames[number as usize % frames.len()];
        let good = request(sequence, None, input);
        let mut sent = good.clone();
        let status = match rng.random_range(0..5) {
            0 => {
                // A bit of anything but the mark: without it nothing is a request.
                let at = rng.random_range(1..sent.len());
                sent[at] ^= 1 << rng.random_range(0..8);
                Status::Damaged
            }
            1 => {
                sent.truncate(rng.random_range(1..sent.len()));
                Status::Cut
            }
            2 => {
                let noise: Vec<u8> =
                    (0..rng.random_range(1..20)).map(|_| rng.random_range(0..0x5a)).collect();
                sent = [noise, good].concat();
                Status::Result
            }
            3 => {
                // Behind the request comes another, while the first is in work.
                sent = [&good[..], &good[..]].concat();
                Status::Dropped
            }
            _ => Status::Result,
        };
        bench.send(&sent);
        let answer = bench.answer().unwrap_or_else(|| panic!("request {number} has no answer: {status:?}"));
        match status {
            Status::Result | Status::Dropped => {
                let right = Answer { sequence, status: Status::Result, beats: output.clone() };
                assert_eq!(answer, right, "request {number}");
            }
            other => assert_eq!((answer.status, answer.beats.len()), (other, 0), "request {number}"),
        }
        if status == Status::Dropped {
            let told = bench.answer().expect("dropped bytes are told");
            assert_eq!((told.status, told.sequence), (Status::Dropped, sequence));
        }
        seen[status as usize] += 1;
        assert_eq!(bench.answer(), None, "one answer to request {number}");
    }
    assert!(seen.iter().all(|count| *count > 20), "{seen:?}");
}

/// A line that changes, drops and adds bytes, each of them once in `often`.
fn noisy(seed: u64, often: u32) -> Noise {
    let mut rng = random(seed);
    Box::new(move |byte| {
        if !rng.random_ratio(1, often) {
            return vec![byte];
        }
        match rng.random_range(0..3) {
            0 => vec![byte ^ 1 << rng.random_range(0..8)],
            1 => vec![],
            _ => vec![byte, rng.random()],
        }
    })
}

/// The integers that a board must give for each frame.
fn due(network: &Network, hardware: &Hardware, frames: &[Vec<i32>]) -> Vec<Vec<i64>> {
    let members: Vec<u32> = (0..frames.len()).map(|frame| members(network, frame)).collect();
    let results = engine::reference(network, frames, &members);
    let exit = hardware.design.exits[0];
    let values = results[exit].values.chunks(hardware.boundaries[exit].elements);
    values.map(|frame| frame.iter().map(|v| i64::from(*v)).collect()).collect()
}

/// A host on a line that damages requests and answers gets every frame's integers and no others.
#[test]
fn a_host_gets_right_results_over_a_bad_line() {
    for (network, repeated) in
        [(random_few_bit(3, &[12, 8, 6, 4]), runs(200, 10_000)), (ensemble(), runs(50, 1_000))]
    {
        let hardware = lower(&network, &random_folds(&mut random(2), &network));
        let frames = random_frames(7, &network, 50);
        let due = due(&network, &hardware, &frames);
        let board = Board::new(&network, &hardware).with_noise([noisy(1, 100), noisy(2, 100)]);
        let mut host = Host::new(board, &hardware);
        let payloads = payloads(&network, &hardware, &frames);
        let mut number = 0;
        while host.repeated < repeated {
            let frame = number % frames.len();
            let found = host.frame(user(&network, frame), &payloads[frame]).unwrap();
            assert_eq!(found, due[frame], "{}, frame {number}", network.name);
            number += 1;
        }
    }
}

/// An answer that was still in the port is not taken for that to the first request.
#[test]
fn an_earlier_answer_is_not_a_result() {
    let network = random_dense(8, &[40, 24, 10]);
    let hardware = lower(&network, &random_folds(&mut random(1), &network));
    let frames = random_frames(7, &network, 2);
    let due = due(&network, &hardware, &frames);
    assert_ne!(due[0], due[1]);
    let payloads = payloads(&network, &hardware, &frames);
    let mut board = Board::new(&network, &hardware);
    board.write_all(&request(0, None, &payloads[0])).unwrap();
    board.rest(20_000);
    let mut host = Host::new(board, &hardware);
    assert_eq!(host.frame(None, &payloads[1]).unwrap(), due[1]);
    assert_eq!(host.repeated, 0);
}

/// A port that never ends: without an answer, or with one that asks for another attempt.
struct Endless(Vec<u8>, usize);

impl io::Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        buffer[0] = self.0[self.1 % self.0.len()];
        self.1 += 1;
        Ok(1)
    }
}

impl io::Write for Endless {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_port_that_never_falls_silent_is_told() {
    let network = random_dense(8, &[40, 24, 10]);
    let hardware = lower(&network, &random_folds(&mut random(1), &network));
    let payload = &payloads(&network, &hardware, &random_frames(7, &network, 1))[0];
    let damaged = [0xa5, 1, 1, 0, 0];
    let damaged = [&damaged[..3], &crc(&damaged[1..3]).to_be_bytes()].concat();
    for bytes in [vec![0], damaged] {
        let error = Host::new(Endless(bytes, 0), &hardware).frame(None, payload).unwrap_err();
        assert!(error.to_string().contains("never falls silent"), "{error}");
    }
}

/// What is emitted answers on the same cycles, in both simulators, and linters have nothing to say.
#[test]
fn the_verilog_is_the_same_to_the_cycle() {
    let network = random_few_bit(3, &[12, 8, 6, 4]);
    let hardware = lower(&network, &random_folds(&mut random(2), &network));
    let mut bench = Bench::new(&network, &hardware);
    bench.board = bench.board.recorded();
    let (input, output) = &frames(&network, &hardware, 1)[0];
    let good = request(3, None, input);
    bench.send(&[&good[..], &good[..9]].concat());
    assert_eq!(bench.answer().map(|answer| answer.beats), Some(output.clone()));
    assert_eq!(bench.answer().map(|answer| answer.status), Some(Status::Dropped));
    bench.send(&good[..good.len() - 1]);
    assert_eq!(bench.answer().map(|answer| answer.status), Some(Status::Cut));

    let directory = tempfile::tempdir().unwrap();
    let board = serial(&network, &hardware, LINE);
    let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
    let mut files: Vec<String> = verilog::models(&board)
        .into_iter()
        .map(|model| {
            write(&model.name, &model.text);
            model.name
        })
        .collect();
    for file in verilog::files(&board, &[]) {
        write(&file.name, &file.text);
        files.push(file.name);
    }
    for image in board.parameters.iter().filter_map(|parameter| parameter.image.as_ref()) {
        write(&image.file, &image.text());
    }
    let recorded = bench.board.trace.take().expect("it is recorded");
    let trace: String =
        recorded.iter().map(|(rx, tx)| format!("{}\n", u8::from(*rx) << 1 | u8::from(*tx))).collect();
    write("trace.mem", &trace);
    write("replay.v", &REPLAY.replace("@TOP@", &board.name).replace("@COUNT@", &recorded.len().to_string()));
    let run = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).current_dir(directory.path()).output();
        let output = output.unwrap_or_else(|e| panic!("{program} is needed for the tests: {e}"));
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    };
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let lint = ["--lint-only", "-Wall", "--top-module", &board.name];
    assert_eq!(run("verilator", &[&lint[..], &files].concat()), "");
    let with_bench = [&["replay.v"], &files[..]].concat();
    let icarus = ["-g2005", "-Wall", "-s", "replay", "-o", "replay.vvp"];
    assert_eq!(run("iverilog", &[&icarus[..], &with_bench].concat()), "");
    let said = run("vvp", &["-n", "replay.vvp"]);
    assert!(said.contains("PASS"), "{said}");
    let binary = ["--binary", "--timing", "-Wno-fatal", "-Wno-lint", "-Wno-style", "--top-module", "replay"];
    let built = run("verilator", &[&binary[..], &with_bench].concat());
    let said = run("obj_dir/Vreplay", &[]);
    assert!(said.contains("PASS"), "{built}{said}");

    // Behind its own reset the top module of a board does the same.
    let boards = Boards::all();
    for of in boards {
        write("board.v", &top(of, &board.name));
        let own = REPLAY
            .replace("@TOP@ dut (.clk(clk), .rst(!running), ", &format!("{TOP} dut (.clk(clk), "))
            .replace("start == 2'd2", "start == 8'd128")
            .replace("start <= start + 2'd1", "start <= start + 8'd1")
            .replace("reg [1:0] start = 2'd0", "reg [7:0] start = 8'd0")
            .replace("@COUNT@", &recorded.len().to_string());
        write("replay_board.v", &own);
        let with_board = [&["replay_board.v", "board.v"], &files[..]].concat();
        let icarus = ["-g2005", "-Wall", "-s", "replay", "-o", "board.vvp"];
        assert_eq!(run("iverilog", &[&icarus[..], &with_board].concat()), "", "{}", of.name);
        let said = run("vvp", &["-n", "board.vvp"]);
        assert!(said.contains("PASS"), "{}: {said}", of.name);
    }

    // The netlist for iCE40 too.
    let script = format!(
        "read_verilog {}; synth_ice40 -top {}; write_verilog -noattr net.v",
        files.join(" "),
        board.name
    );
    let synthesised = run("yosys", &["-q", "-p", &script]);
    let cells = yosys_share().join("ice40/cells_sim.v").display().to_string();
    let netlist =
        ["-g2005", "-DNO_ICE40_DEFAULT_ASSIGNMENTS", "-s", "replay", "-o", "net.vvp", "replay.v", "net.v"];
    let built = run("iverilog", &[&netlist[..], &[cells.as_str()]].concat());
    let said = run("vvp", &["-n", "net.vvp"]);
    assert!(said.contains("PASS"), "{synthesised}{built}{said}");
}

/// Plays one end of the line and compares the other in every cycle.
const REPLAY: &str = r#"
module replay;
  reg clk = 1'b0;
  always #5 clk = ~clk;
  reg [1:0] trace [0:@COUNT@-1];
  reg [1:0] start = 2'd0;
  integer at = 0;
  initial $readmemh("trace.mem", trace);
  wire running = start == 2'd2;
  wire [1:0] lines = trace[at];
  wire tx;
  @TOP@ dut (.clk(clk), .rst(!running), .rx(!running || lines[1]), .tx(tx));
  always @(posedge clk) begin
    if (!running) start <= start + 2'd1;
    else begin
      if (tx !== lines[0]) begin
        $display("FAIL: tx is %b in cycle %0d", tx, at);
        $finish;
      end
      if (at == @COUNT@-1) begin
        $display("PASS");
        $finish;
      end else at <= at + 1;
    end
  end
endmodule
"#;

//! External simulators that are missing or fail: exit code 3, and all that a user needs to go on.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::bed::Bed;

const CHECK: [&str; 5] = ["check", "m.onnx", "--input", "x.npy", "--engines"];

#[test]
fn missing_simulators_are_named_with_what_to_install() {
    let bed = Bed::with_frames(1);
    for (engine, program, package) in
        [("verilator", "verilator", "verilator"), ("icarus", "iverilog", "iverilog")]
    {
        let ended =
            bed.without_tools(&[&CHECK[..], &[&format!("reference,{engine}"), "--json"]].concat()).with(3);
        assert_eq!(ended.out, "");
        for part in
            ["tool-missing", &format!("{program} cannot be started"), &format!("apt-get install {package}")]
        {
            assert!(ended.err.contains(part), "{engine}: no {part} in {}", ended.err);
        }
    }
    bed.without_tools(&[&CHECK[..], &["reference,fast,rtl"]].concat()).with(0);
}

#[test]
fn a_failing_verilator_shows_command_exit_code_last_lines_and_the_kept_directory() {
    let bed = Bed::with_frames(1);
    bed.program(
        "verilator",
        "for i in $(seq 40); do echo \"line $i\"; done; echo '%Error: out of cheese' >&2; exit 17",
    );
    fs::create_dir(bed.path("tmp")).unwrap();
    let mut command = bed.command(&[&CHECK[..], &["reference,verilator"]].concat());
    let path = format!("{}:{}", bed.path("bin").display(), std::env::var("PATH").unwrap());
    let output = command.env("PATH", path).env("TMPDIR", bed.path("tmp")).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{text}");
    for part in [
        "tool-failed",
        "`verilator --cc --exe",
        "m_top.v",
        "exit code 17",
        "line 40",
        "%Error: out of cheese",
    ] {
        assert!(text.contains(part), "no {part} in {text}");
    }
    assert!(!text.contains("line 5\n"), "the last lines only: {text}");
    let kept: Vec<PathBuf> = fs::read_dir(bed.path("tmp")).unwrap().map(|e| e.unwrap().path()).collect();
    let [kept] = &kept[..] else { panic!("{kept:?}") };
    assert!(text.contains(kept.to_str().unwrap()), "{text}");
    assert!(kept.join("m_top.v").is_file(), "what it failed on is there");
}

#[test]
fn a_working_simulator_leaves_no_directory() {
    let bed = Bed::with_frames(1);
    fs::create_dir(bed.path("tmp")).unwrap();
    let mut command = bed.command(&[&CHECK[..], &["rtl,icarus,verilator"]].concat());
    assert!(command.env("TMPDIR", bed.path("tmp")).status().unwrap().success());
    assert_eq!(bed.list("tmp"), [""; 0]);
}

#[test]
fn a_simulator_of_the_environment_is_the_one_that_runs() {
    let bed = Bed::with_frames(1);
    bed.program("other", "echo 'this is the other one'; exit 4");
    let mut command = bed.command(&[&CHECK[..], &["reference,verilator"]].concat());
    let output = command
        .env("STOXNOR_VERILATOR", bed.path("bin/other"))
        .env("TMPDIR", bed.path("."))
        .output()
        .unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(text.contains("this is the other one") && text.contains("exit code 4"), "{text}");
}

#[test]
fn run_says_where_a_simulation_stands_still() {
    let bed = Bed::with_frames(2);
    let real = bed.shell("command -v vvp").out;
    bed.program("vvp", &format!("{} \"$@\"; grep -v '^2 ' trace.txt >t; mv t trace.txt", real.trim()));
    let ended =
        bed.faked(&["run", "m.onnx", "--input", "x.npy", "--output", "y.npy", "--engine", "icarus"]).with(3);
    assert!(ended.err.contains("simulation-stuck") && ended.err.contains("0 of 2 frames"), "{}", ended.err);
    assert!(!bed.path("y.npy").exists());
}

/// A run that is ended from outside ends its tools and removes its directories: the exit code is 130.
#[test]
fn an_interrupted_run_leaves_nothing() {
    let bed = Bed::with_frames(1);
    bed.program("verilator", "echo $$ > pid; sleep 60");
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let tmp = bed.path("tmp");
        fs::create_dir_all(&tmp).unwrap();
        let mut command = bed.command(&[&CHECK[..], &["reference,verilator"]].concat());
        let path = format!("{}:{}", bed.path("bin").display(), std::env::var("PATH").unwrap());
        let mut run = command.env("PATH", path).env("TMPDIR", &tmp).spawn().unwrap();
        let patience = Instant::now();
        let tool = loop {
            let entries = fs::read_dir(&tmp).unwrap().map(|entry| entry.unwrap().path().join("pid"));
            let pid =
                entries.filter_map(|file| fs::read_to_string(file).ok()?.trim().parse::<u32>().ok()).next();
            if let Some(pid) = pid {
                break pid;
            }
            assert!(patience.elapsed() < Duration::from_secs(30), "the tool never began");
            std::thread::sleep(Duration::from_millis(20));
        };
        kill(Pid::from_raw(run.id().cast_signed()), signal).unwrap();
        assert_eq!(run.wait().unwrap().code(), Some(130), "{signal}");
        assert_eq!(fs::read_dir(&tmp).unwrap().count(), 0, "{signal}");
        let state = || fs::read_to_string(format!("/proc/{tool}/stat")).unwrap_or_default();
        while !state().is_empty() && !state().contains(") Z ") {
            assert!(patience.elapsed() < Duration::from_secs(30), "{signal}: the tool goes on");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

//! The time of a compilation, in a test binary of its own: nothing else runs beside it.

use std::hint::black_box;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use stoxnor_testbenches::data::data_dir;

/// Bytes of the files in a directory whose names end with `end`.
fn bytes(dir: &Path, end: &str) -> u64 {
    let files = std::fs::read_dir(dir).unwrap().map(|file| file.unwrap());
    files
        .filter(|f| f.file_name().to_string_lossy().ends_with(end))
        .map(|f| f.metadata().unwrap().len())
        .sum()
}

/// What the machine does in about a second if it has nothing else to do: 400 million steps of a generator of random numbers.
fn steps() -> Duration {
    let begin = Instant::now();
    let mut state = black_box(1_u64);
    for _ in 0..400_000_000 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
    }
    black_box(state);
    begin.elapsed()
}

/// The whole command, of a build with overflow checks and little optimisation, measured in steps of a generator: the machine may be
/// slow or busy. The best of three each: other programs only add to a time.
#[test]
fn cnv_compiles_in_a_few_seconds() {
    let Some(data) = data_dir() else { return };
    let out = tempfile::tempdir().unwrap();
    let compile = |run: usize| -> Duration {
        let begin = Instant::now();
        let done = Command::new(env!("CARGO_BIN_EXE_stoxnor"))
            .arg("compile")
            .arg(data.join("bnn-pynq/cnv_w1a1_cifar10.onnx"))
            .arg("--out")
            .arg(out.path().join(run.to_string()))
            .output()
            .unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        begin.elapsed()
    };
    let (compiled, stepped): (Vec<Duration>, Vec<Duration>) =
        (0..3).map(|run| (compile(run), steps())).unzip();
    let ratio = compiled.iter().min().unwrap().as_secs_f64() / stepped.iter().min().unwrap().as_secs_f64();
    eprintln!("a compilation takes {ratio:.2} times as long as the steps: {compiled:?}, {stepped:?}");
    assert!(ratio < 5.0, "{ratio}");
    let [text, images] = [".v", ".mem"].map(|end| bytes(&out.path().join("0/rtl"), end));
    assert!(
        text < 300_000 && images < 600_000,
        "{text}, {images}: text grows with the layers, not with the weights"
    );
}

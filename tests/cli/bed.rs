//! A directory with a model in it, and the program run in that directory.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use stoxnor_testbenches::onnx::random_dense;

/// Layers of the model `m.onnx`: 24 inputs, then 12, 8 and 4 outputs.
pub const WIDTHS: [usize; 4] = [24, 12, 8, 4];

/// A fresh directory with the model `m.onnx`.
pub struct Bed(tempfile::TempDir);

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Ended {
    fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
        Self { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }

    /// Demands the exit code, and that nothing panicked.
    #[track_caller]
    pub fn with(self, code: i32) -> Self {
        assert!(!self.err.contains("panicked"), "{}", self.err);
        assert_eq!(self.code, Some(code), "{}{}", self.out, self.err);
        self
    }

    /// Standard output as JSON: all of it, once.
    #[track_caller]
    pub fn json(&self) -> Value {
        let value: Value = serde_json::from_str(&self.out).expect("exactly one JSON value");
        assert!(value.is_object(), "{value}");
        value
    }
}

impl Bed {
    pub fn new() -> Self {
        let bed = Self(tempfile::tempdir().unwrap());
        bed.write("m.onnx", random_dense(7, &WIDTHS));
        bed
    }

    /// With `x.npy`: so many random frames of float32.
    pub fn with_frames(count: usize) -> Self {
        let bed = Self::new();
        bed.write("x.npy", npy("<f4", &[count, WIDTHS[0]], &float_bytes(&pixels(count))));
        bed
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).unwrap();
    }

    /// A program of the directory `bin`, to be put before others of the path by [`faked`](Self::faked).
    pub fn program(&self, name: &str, script: &str) {
        let path = self.path("bin").join(name);
        fs::create_dir_all(self.path("bin")).unwrap();
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    }

    /// What a directory holds, hidden files too.
    pub fn list(&self, name: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(name)).unwrap();
        let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// The program with these arguments, not started yet.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stoxnor"));
        command
            .args(arguments)
            .current_dir(self.0.path())
            .stdin(Stdio::null())
            .env_remove("STOXNOR_VERILATOR")
            .env_remove("YOSYS")
            .env_remove("NEXTPNR_ICE40");
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Ended {
        Ended::of(&self.command(arguments).output().unwrap())
    }

    /// Runs with nothing on the path.
    pub fn without_tools(&self, arguments: &[&str]) -> Ended {
        Ended::of(&self.command(arguments).env("PATH", self.path("nothing")).output().unwrap())
    }

    /// Runs with the directory `bin` first on the path.
    pub fn faked(&self, arguments: &[&str]) -> Ended {
        let old = std::env::var("PATH").unwrap_or_default();
        let path = format!("{}:{old}", self.path("bin").display());
        Ended::of(&self.command(arguments).env("PATH", path).output().unwrap())
    }

    /// Runs in a shell, where `$STOXNOR` is the program.
    pub fn shell(&self, script: &str) -> Ended {
        let mut command = Command::new("bash");
        command.args(["-c", script]).current_dir(self.0.path()).env("STOXNOR", env!("CARGO_BIN_EXE_stoxnor"));
        Ended::of(&command.output().unwrap())
    }
}

/// Pixels of random frames of the model's input, each p/255.
pub fn pixels(frames: usize) -> Vec<f32> {
    bytes(frames).into_iter().map(|p| f32::from(p) / 255.0).collect()
}

/// Random bytes, as many as so many frames have elements.
pub fn bytes(frames: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..frames * WIDTHS[0]).map(|_| next()).collect()
}

pub fn float_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// A npy file in C order, written by hand: version 1.0 of the format.
pub fn npy(descr: &str, shape: &[usize], data: &[u8]) -> Vec<u8> {
    npy_of(descr, "False", &shape.iter().map(|d| format!("{d}, ")).collect::<String>(), data)
}

/// A npy file with any text as order and shape.
pub fn npy_of(descr: &str, fortran: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let mut header =
        format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': ({shape}), }}").into_bytes();
    header.resize((header.len() + 11).next_multiple_of(64) - 11, b' ');
    header.push(b'\n');
    let length = u16::try_from(header.len()).unwrap().to_le_bytes();
    [b"\x93NUMPY\x01\x00", &length[..], &header, data].concat()
}

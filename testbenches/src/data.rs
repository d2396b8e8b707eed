//! The public models and data sets, which live outside the repository, and readers for their formats.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

/// The directory of the public data: `STOXNOR_DATA`, else `shared/data` beside the repository.
///
/// Where it is not there, tests that need it say so and pass; with `CI=true` they fail.
pub fn data_dir() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let dir = std::env::var_os("STOXNOR_DATA").map_or_else(beside, PathBuf::from);
    if dir.is_dir() {
        return Some(dir);
    }
    let message = format!("no public data at {}; set STOXNOR_DATA", dir.display());
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{message}");
    eprintln!("SKIPPED: {message}");
    None
}

/// The programs of a Python environment with FuseSoC, cocotb and LiteX: `STOXNOR_PYPI`, which `cargo xtask test` installs.
///
/// Where it is not there, tests that need it say so and pass; with `CI=true` they fail.
pub fn pypi_tools() -> Option<PathBuf> {
    if let Some(tools) = std::env::var_os("STOXNOR_PYPI").map(PathBuf::from).filter(|tools| tools.is_dir()) {
        return Some(tools);
    }
    let message = "no FuseSoC, cocotb and LiteX; `cargo xtask test` installs them, STOXNOR_PYPI names their programs' directory";
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{message}");
    eprintln!("SKIPPED: {message}");
    None
}

/// An array of numbers with its shape.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    /// Extents.
    pub shape: Vec<usize>,
    /// Elements, row-major. Every type in use (uint8, int32, int64 below 2^53, float32) fits.
    pub values: Vec<f64>,
}

impl Array {
    /// The parts along the first axis.
    pub fn rows(&self) -> std::slice::Chunks<'_, f64> {
        self.values.chunks(self.values.len() / self.shape[0])
    }
}

fn array(npy: npyz::NpyFile<impl Read>) -> io::Result<Array> {
    let shape = npy.shape().iter().map(|&d| d as usize).collect();
    let npyz::DType::Plain(kind) = npy.dtype() else {
        return Err(io::Error::other("a structured array"));
    };
    let values = match kind.to_string().trim_start_matches(['<', '|']) {
        "u1" => widen(npy.into_vec::<u8>()?),
        "i1" => widen(npy.into_vec::<i8>()?),
        "i4" => widen(npy.into_vec::<i32>()?),
        "i8" => npy.into_vec::<i64>()?.into_iter().map(|v| v as f64).collect(),
        "f4" => widen(npy.into_vec::<f32>()?),
        "f8" => npy.into_vec()?,
        other => return Err(io::Error::other(format!("elements of type {other}"))),
    };
    Ok(Array { shape, values })
}

fn widen<T: Into<f64>>(values: Vec<T>) -> Vec<f64> {
    values.into_iter().map(Into::into).collect()
}

/// Reads a `.npy` file.
pub fn read_npy(path: &Path) -> io::Result<Array> {
    array(npyz::NpyFile::new(BufReader::new(File::open(path)?))?)
}

/// Reads array `name` of an `.npz` file.
pub fn read_npz(path: &Path, name: &str) -> io::Result<Array> {
    let mut archive = npyz::npz::NpzArchive::open(path)?;
    let npy = archive.by_name(name)?;
    array(npy.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("no array {name}")))?)
}

/// Reads an IDX file of bytes, compressed or not: the extents, and the bytes row-major.
pub fn read_idx(path: &Path) -> io::Result<(Vec<usize>, Vec<u8>)> {
    let mut bytes = Vec::new();
    let mut file = BufReader::new(File::open(path)?);
    if path.extension().is_some_and(|e| e == "gz") {
        flate2::read::GzDecoder::new(file).read_to_end(&mut bytes)?;
    } else {
        file.read_to_end(&mut bytes)?;
    }
    let bad = || io::Error::other("not an IDX file of bytes");
    let Some((&[0, 0, 8, axes], rest)) = bytes.split_first_chunk() else { return Err(bad()) };
    let (extents, data) = rest.split_at_checked(usize::from(axes) * 4).ok_or_else(bad)?;
    let shape: Vec<usize> = extents.as_chunks().0.iter().map(|b| u32::from_be_bytes(*b) as usize).collect();
    if shape.iter().product::<usize>() != data.len() {
        return Err(bad());
    }
    Ok((shape, data.to_vec()))
}

//! Input frames, labels and arrays in npy and IDX files.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::Path;
use std::{fs, io};

use npyz::{DType, NpyFile, Order, TypeChar, WriterBuilder};
use rayon::prelude::*;
use stoxnor_sim::work::WorkDirectory;

use crate::data::idx;
use crate::data::scale::Scale;
use crate::diagnostic::{Diagnostic, Diagnostics, INPUT_SHAPE, INPUT_UNREADABLE, OUTPUT_UNWRITABLE, Result};
use crate::network::Network;

/// Frames of the graph's inputs. A frame holds all inputs, one after another.
#[derive(Debug, Clone, PartialEq)]
pub struct Frames {
    /// Elements per frame.
    pub elements: usize,
    /// The elements of all frames, concatenated.
    pub values: Vec<f32>,
}

impl Frames {
    /// Frames of `elements` numbers each; `values` concatenates them. Each frame is row-major in the shape of the graph's input.
    ///
    /// # Panics
    /// If the number of values is no multiple of `elements`.
    pub fn new(elements: usize, values: Vec<f32>) -> Self {
        assert!(elements > 0 && values.len().is_multiple_of(elements), "whole frames of {elements} elements");
        Self { elements, values }
    }

    /// Frames of all inputs from the frames of each, in the order of the inputs.
    ///
    /// # Errors
    /// If the inputs do not have equally many frames.
    pub fn of_inputs(inputs: &[Self]) -> Result<Self> {
        let counts: Vec<usize> = inputs.iter().map(Self::count).collect();
        let count = counts.first().copied().unwrap_or(0);
        if counts.iter().any(|other| *other != count) {
            let message = format!(
                "the inputs have {} frames",
                counts.iter().map(usize::to_string).collect::<Vec<_>>().join(" and ")
            );
            return Err(Diagnostic::new(&INPUT_SHAPE, message)
                .help("give every input the same number of frames")
                .into());
        }
        let frame = |index| inputs.iter().flat_map(move |i| &i.values[index * i.elements..][..i.elements]);
        let values = (0..count).flat_map(frame).copied().collect();
        Ok(Self { elements: inputs.iter().map(|i| i.elements).sum(), values })
    }

    /// Number of frames.
    pub fn count(&self) -> usize {
        self.values.len().checked_div(self.elements).unwrap_or(0)
    }

    /// The first `count` frames as integer inputs of the hardware, after multiplication by `scale`.
    ///
    /// # Errors
    /// If a value cannot be quantised.
    pub fn quantise(&self, network: &Network, scale: Option<Scale>, count: usize) -> Result<Vec<Vec<i32>>> {
        self.values
            .par_chunks(self.elements)
            .take(count)
            .enumerate()
            .map(|(index, frame)| {
                let quantised = match scale {
                    None => network.quantise(frame),
                    Some(scale) => {
                        let scaled: Vec<f32> = frame.iter().map(|x| scale.apply(*x)).collect();
                        network.quantise(&scaled)
                    }
                };
                quantised.map_err(|found| found.placed(&format!("frame {index} of the input")))
            })
            .collect()
    }
}

/// Reads frames of `elements` elements: an array `[N, ...]` of float32, uint8 or int8 from a npy file, or of bytes from an IDX file
/// (gzip-compressed or not).
///
/// # Errors
/// If the file cannot be read, has another type or shape, or is truncated. Sizes in the header are checked before memory is
/// allocated.
pub fn read_frames(path: &Path, elements: usize, shape: &[usize]) -> Result<Frames> {
    let place = path.display().to_string();
    let unreadable =
        |reason: String, help: &str| Diagnostic::new(&INPUT_UNREADABLE, reason).at(&place).help(help);
    let missing = |e: io::Error| unreadable(e.to_string(), "check the path and the permissions");
    let file = File::open(path).map_err(missing)?;
    let meta = file.metadata().map_err(missing)?;
    if !meta.is_file() {
        return Err(
            unreadable("it is not a regular file".to_owned(), "save the array in a file first").into()
        );
    }
    let wrong = |message: String| {
        Diagnostic::new(&INPUT_SHAPE, message).at(&place).help(format!(
            "give N frames of the model's input {shape:?}: an array [N, ...] with {elements} elements a frame"
        ))
    };
    if idx::is_idx(path) {
        let (dims, bytes) = idx::read(path).map_err(|e| unreadable(e.to_string(), IDX))?;
        let per_frame: usize = dims.iter().skip(1).product();
        if per_frame != elements || dims[0] == 0 {
            let message =
                format!("{dims:?} is {} frames of {per_frame} elements, not of {elements}", dims[0]);
            return Err(wrong(message).into());
        }
        return Ok(Frames { elements, values: bytes.into_iter().map(f32::from).collect() });
    }
    let no_npy = |e: io::Error| unreadable(format!("it is not a npy file: {e}"), NUMPY);
    let npy = NpyFile::new(BufReader::new(file)).map_err(no_npy)?;
    let dims = npy.shape().to_vec();
    let descr = npy.dtype().descr().replace('\'', "");
    let kind = match npy.dtype() {
        DType::Plain(t) => Some((t.type_char(), t.num_bytes())),
        _ => None,
    };
    let bytes = match kind {
        Some((TypeChar::Float, Some(4))) => 4,
        Some((TypeChar::Uint | TypeChar::Int, Some(1))) => 1,
        _ => {
            return Err(unreadable(
                format!("its elements are of type {descr}, not float32, uint8 or int8"),
                NUMPY,
            )
            .into());
        }
    };
    let total = dims.iter().try_fold(bytes as u64, |product, d| product.checked_mul(*d));
    if total.is_none_or(|total| total > meta.len()) {
        let needs = total.map_or("more than 2^64 bytes".to_owned(), |t| format!("{t} bytes"));
        let message = format!(
            "its header says {dims:?} of type {descr}, which is {needs}; the whole file has {}",
            meta.len()
        );
        return Err(unreadable(message, "the file is cut short or damaged: write it again").into());
    }
    if npy.order() != Order::C && dims.len() > 1 {
        let message = format!("the array {dims:?} is stored in Fortran order");
        return Err(wrong(message).help("save numpy.ascontiguousarray(x)").into());
    }
    // A batch of frames may have several axes, if the frames have the model's own shape.
    let own: Vec<u64> = shape.iter().map(|d| *d as u64).collect();
    let skipped = if dims.len() > own.len() && dims.ends_with(&own) { dims.len() - own.len() } else { 1 };
    let per_frame = dims.iter().skip(skipped).try_fold(1u64, |product, d| product.checked_mul(*d));
    match dims.first() {
        None => return Err(wrong("it holds one number, not an array of frames".to_owned()).into()),
        Some(_) if total == Some(0) => {
            return Err(wrong(format!("an array of shape {dims:?} holds no frame")).into());
        }
        Some(frames) if per_frame != Some(elements as u64) => {
            let each = per_frame.map_or("too many".to_owned(), |n| n.to_string());
            let message = format!("{dims:?} is {frames} frames of {each} elements, not of {elements}");
            return Err(wrong(message).into());
        }
        Some(_) if total == Some(0) => {
            return Err(wrong(format!("an array of shape {dims:?} holds no frame")).into());
        }
        Some(_) => {}
    }
    let short = |e: io::Error| {
        unreadable(
            format!("it ends before the {dims:?} elements that its header says: {e}"),
            "the file is cut short or damaged: write it again",
        )
    };
    let values: Vec<f32> = if bytes == 4 {
        npy.into_vec::<f32>().map_err(short)?
    } else if matches!(kind, Some((TypeChar::Int, _))) {
        npy.into_vec::<i8>().map_err(short)?.into_iter().map(f32::from).collect()
    } else {
        npy.into_vec::<u8>().map_err(short)?.into_iter().map(f32::from).collect()
    };
    Ok(Frames { elements, values })
}

/// Help text: how to write an input file.
const NUMPY: &str = "write it with numpy.save(path, x.astype(numpy.float32)), numpy.uint8 or numpy.int8; x has the shape [N, input shape]; IDX files of bytes are read too";

/// Help text: the supported IDX files.
const IDX: &str = "give an IDX file of bytes, compressed by gzip or not, as MNIST has them; or a npy file";

/// Reads one label per frame from an IDX file of bytes, or from a npy file of integers.
///
/// # Errors
/// If the file cannot be read, has another type or shape, or a label is negative.
pub fn read_labels(path: &Path) -> Result<Vec<usize>> {
    let place = path.display().to_string();
    let bad = |reason: String| {
        Diagnostic::new(&INPUT_UNREADABLE, reason)
            .at(&place)
            .help("labels are an IDX file of bytes, or a npy file of shape [N] of integers from 0 on")
    };
    if !fs::metadata(path).map_err(|e| bad(e.to_string()))?.is_file() {
        return Err(bad("it is not a regular file".to_owned()).into());
    }
    if idx::is_idx(path) {
        let (dims, bytes) = idx::read(path).map_err(|e| bad(e.to_string()))?;
        if dims.len() != 1 {
            return Err(bad(format!("its shape is {dims:?}, not [N]")).into());
        }
        return Ok(bytes.into_iter().map(usize::from).collect());
    }
    let file = File::open(path).map_err(|e| bad(e.to_string()))?;
    let most = file.metadata().map_err(|e| bad(e.to_string()))?.len();
    let npy = NpyFile::new(BufReader::new(file)).map_err(|e| bad(format!("it is not a npy file: {e}")))?;
    let dims = npy.shape().to_vec();
    let &[count] = &dims[..] else { return Err(bad(format!("its shape is {dims:?}, not [N]")).into()) };
    if count > most {
        return Err(
            bad(format!("its header says {count} labels, and the whole file has {most} bytes")).into()
        );
    }
    let descr = npy.dtype().descr().replace('\'', "");
    let values: io::Result<Vec<i64>> = match descr.trim_start_matches(['<', '|']) {
        "u1" => npy.into_vec::<u8>().map(|v| v.into_iter().map(i64::from).collect()),
        "i4" => npy.into_vec::<i32>().map(|v| v.into_iter().map(i64::from).collect()),
        "i8" => npy.into_vec::<i64>(),
        _ => return Err(bad(format!("its elements are of type {descr}, not uint8, int32 or int64")).into()),
    };
    let values = values.map_err(|e| bad(e.to_string()))?;
    let label = |v: i64| usize::try_from(v).map_err(|_| bad(format!("it has the label {v}")).into());
    values.into_iter().map(label).collect()
}

/// Writes an array to a npy file.
///
/// # Errors
/// If the file cannot be written. A partial file is removed.
pub fn write_npy<T: npyz::AutoSerialize + Copy>(path: &Path, shape: &[usize], values: &[T]) -> Result<()> {
    let write = || -> io::Result<()> {
        let shape: Vec<u64> = shape.iter().map(|d| *d as u64).collect();
        let mut out = BufWriter::new(File::create(path)?);
        {
            let mut writer =
                npyz::WriteOptions::new().default_dtype().shape(&shape).writer(&mut out).begin_nd()?;
            writer.extend(values.iter().copied())?;
            writer.finish()?;
        }
        out.flush()
    };
    write().map_err(|e| {
        // Remove the partial file.
        if fs::symlink_metadata(path).is_ok_and(|m| m.is_file()) {
            let _ = fs::remove_file(path);
        }
        unwritable(path, &e)
    })
}

/// Replaces a file atomically: writes a new file in the same directory and renames it.
///
/// # Errors
/// If the file cannot be written; its old contents are kept then.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    // Devices and directories are not replaced; links are followed.
    let place = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let write = || -> io::Result<()> {
        if fs::metadata(&place).is_ok_and(|m| !m.is_file()) {
            return Err(io::Error::other("it is there, and is no regular file"));
        }
        let path = place.as_path();
        let directory = path.parent().filter(|p| *p != Path::new("")).unwrap_or(Path::new("."));
        let fresh = WorkDirectory::hidden_in(directory)?;
        let file = fresh.path().join("new");
        fs::write(&file, bytes)?;
        fs::rename(&file, path)
    };
    write().map_err(|e| unwritable(path, &e))
}

fn unwritable(path: &Path, error: &io::Error) -> Diagnostics {
    Diagnostic::new(&OUTPUT_UNWRITABLE, error.to_string())
        .at(path.display().to_string())
        .help("choose a file that you may write, on a disk with room")
        .into()
}

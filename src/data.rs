//! Arrays in files.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::Path;

use npyz::{DType, NpyFile, Order, TypeChar, WriterBuilder};

use crate::config::Scale;
use crate::diagnostic::{Diagnostic, INPUT_SHAPE, INPUT_UNREADABLE, OUTPUT_UNWRITABLE, Result};
use crate::network::Network;

/// Frames of graph input.
#[derive(Debug, Clone, PartialEq)]
pub struct Frames {
    /// Elements of a frame.
    pub elements: usize,
    /// All frames, one after another.
    pub values: Vec<f32>,
}

impl Frames {
    /// Number of frames.
    pub fn count(&self) -> usize {
        self.values.len().checked_div(self.elements).unwrap_or(0)
    }

    /// The first `count` frames, quantised as the hardware takes them.
    ///
    /// # Errors
    /// Where a value cannot be quantised.
    pub fn quantise(&self, network: &Network, scale: Option<Scale>, count: usize) -> Result<Vec<Vec<i32>>> {
        self.values
            .chunks(self.elements)
            .take(count)
            .map(|frame| match scale {
                None => network.quantise(frame),
                Some(scale) => {
                    let scaled: Vec<f32> = frame.iter().map(|x| scale.apply(*x)).collect();
                    network.quantise(&scaled)
                }
            })
            .collect()
    }
}

/// Reads `[N, ...]` of float32 or uint8 from a npy file, `elements` a frame.
///
/// # Errors
/// Where the file cannot be read, is of another type, or does not fit.
pub fn read_frames(path: &Path, elements: usize, shape: &[usize]) -> Result<Frames> {
    let place = path.display().to_string();
    let unreadable = |reason: String| {
        Diagnostic::new(&INPUT_UNREADABLE, reason)
            .at(&place)
            .help("inputs are npy files of float32 or uint8, in C order, shape [N, input shape]: numpy.save writes them")
    };
    let file = File::open(path).map_err(|e| unreadable(e.to_string()))?;
    let bytes = file.metadata().map_err(|e| unreadable(e.to_string()))?.len();
    let npy = NpyFile::new(BufReader::new(file)).map_err(|e| unreadable(e.to_string()))?;
    let dims = npy.shape().to_vec();
    let total = dims.iter().try_fold(1u64, |product, d| product.checked_mul(*d));
    let Some(total) = total.filter(|t| *t <= bytes) else {
        return Err(unreadable(format!("its header says {dims:?}, more than its {bytes} bytes hold")).into());
    };
    let wrong = |message: String| {
        Diagnostic::new(&INPUT_SHAPE, message).at(&place).help(format!(
            "give N frames of the model's input {shape:?}: an array [N, ...] with {elements} elements a frame"
        ))
    };
    if dims.is_empty() || npy.order() != Order::C {
        return Err(wrong(format!("an array of shape {dims:?} in {:?} order", npy.order())).into());
    }
    let per_frame: u64 = dims[1..].iter().product();
    if per_frame != elements as u64 || dims[0] == 0 {
        return Err(wrong(format!("{dims:?} is {} frames of {per_frame} elements", dims[0])).into());
    }
    let kind = match npy.dtype() {
        DType::Plain(t) => Some((t.type_char(), t.num_bytes())),
        _ => None,
    };
    let values: Vec<f32> = match kind {
        Some((TypeChar::Float, Some(4))) => npy.into_vec::<f32>().map_err(|e| unreadable(e.to_string()))?,
        Some((TypeChar::Uint, Some(1))) => {
            let bytes = npy.into_vec::<u8>().map_err(|e| unreadable(e.to_string()))?;
            bytes.into_iter().map(f32::from).collect()
        }
        _ => return Err(unreadable(format!("elements of type {}", npy.dtype().descr())).into()),
    };
    debug_assert_eq!(values.len() as u64, total);
    Ok(Frames { elements, values })
}

/// Writes an array to a npy file.
///
/// # Errors
/// Where the file cannot be written.
pub fn write_npy<T: npyz::AutoSerialize + Copy>(path: &Path, shape: &[usize], values: &[T]) -> Result<()> {
    let write = || -> std::io::Result<()> {
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
        Diagnostic::new(&OUTPUT_UNWRITABLE, e.to_string())
            .at(path.display().to_string())
            .help("check the path")
            .into()
    })
}

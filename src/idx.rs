//! IDX files, the format of MNIST: `[0, 0, 8, axes]`, big-endian extents, bytes. Compressed by gzip or not.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use flate2::bufread::GzDecoder;

/// Bytes of an IDX file that are read at most; a compressed file may claim more.
const MAX_BYTES: u64 = 4 << 30;

/// Extents and bytes.
pub fn read(path: &Path) -> io::Result<(Vec<usize>, Vec<u8>)> {
    let mut reader = BufReader::new(File::open(path)?);
    let compressed = io::BufRead::fill_buf(&mut reader)?.starts_with(&[0x1f, 0x8b]);
    let mut bytes = Vec::new();
    if compressed {
        GzDecoder::new(reader).take(MAX_BYTES).read_to_end(&mut bytes)?;
    } else {
        reader.take(MAX_BYTES).read_to_end(&mut bytes)?;
    }
    parse(&bytes)
}

/// Whether a file begins like IDX or gzip.
pub fn is_idx(path: &Path) -> bool {
    let mut start = [0; 3];
    let read = File::open(path).and_then(|mut f| f.read_exact(&mut start));
    read.is_ok() && (start[..2] == [0x1f, 0x8b] || start == [0, 0, 8])
}

fn parse(bytes: &[u8]) -> io::Result<(Vec<usize>, Vec<u8>)> {
    let bad = |reason: String| io::Error::new(io::ErrorKind::InvalidData, reason);
    let Some((&[0, 0, 8, axes], rest)) = bytes.split_first_chunk() else {
        return Err(bad("it does not begin like an IDX file of bytes".to_owned()));
    };
    let Some((extents, data)) = rest.split_at_checked(usize::from(axes) * 4) else {
        return Err(bad(format!("it ends within its {axes} extents")));
    };
    let shape: Vec<usize> = extents.as_chunks().0.iter().map(|b| u32::from_be_bytes(*b) as usize).collect();
    let total = shape.iter().try_fold(1usize, |product, extent| product.checked_mul(*extent));
    if total != Some(data.len()) {
        return Err(bad(format!("its header says {shape:?}, and {} bytes follow", data.len())));
    }
    Ok((shape, data.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extents_and_bytes_must_agree() {
        let file = |extents: &[u32], data: &[u8]| {
            let extents: Vec<u8> = extents.iter().flat_map(|e| e.to_be_bytes()).collect();
            [&[0, 0, 8, (extents.len() / 4) as u8][..], &extents, data].concat()
        };
        assert_eq!(parse(&file(&[2, 3], &[1, 2, 3, 4, 5, 6])).unwrap(), (vec![2, 3], vec![1, 2, 3, 4, 5, 6]));
        for bad in [
            file(&[2, 3], &[1]),
            file(&[u32::MAX; 4], &[1]),
            vec![0, 0, 8, 200],
            vec![],
            b"\0\0\x0d\x01".to_vec(),
        ] {
            assert!(parse(&bad).is_err());
        }
    }
}

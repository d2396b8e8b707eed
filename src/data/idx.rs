//! IDX files, the format of MNIST: `[0, 0, 8, axes]`, big-endian extents, then bytes. They may be gzip-compressed.

use std::fs::File;
use std::io;
use std::io::{BufReader, Read};
use std::path::Path;

use flate2::bufread::GzDecoder;

/// Maximum size of the data in bytes; a small compressed file may claim any size.
const MAX_BYTES: usize = 1 << 30;

/// Reads the extents and the bytes of a file. It reads no more data than the header states.
pub fn read(path: &Path) -> io::Result<(Vec<usize>, Vec<u8>)> {
    let mut reader = BufReader::new(File::open(path)?);
    let compressed = io::BufRead::fill_buf(&mut reader)?.starts_with(&[0x1f, 0x8b]);
    if compressed { parse(GzDecoder::new(reader)) } else { parse(reader) }
}

/// Parses the extents and the bytes of a file in memory, compressed or not.
pub fn of_bytes(bytes: &[u8]) -> io::Result<(Vec<usize>, Vec<u8>)> {
    if bytes.starts_with(&[0x1f, 0x8b]) { parse(GzDecoder::new(bytes)) } else { parse(bytes) }
}

/// Whether a file starts like an IDX or a gzip file.
pub fn is_idx(path: &Path) -> bool {
    let mut start = [0; 3];
    let read = File::open(path).and_then(|mut f| f.read_exact(&mut start));
    read.is_ok() && (start[..2] == [0x1f, 0x8b] || start == [0, 0, 8])
}

fn parse(mut from: impl Read) -> io::Result<(Vec<usize>, Vec<u8>)> {
    let bad = |reason: String| io::Error::new(io::ErrorKind::InvalidData, reason);
    let mut magic = [0; 4];
    from.read_exact(&mut magic)?;
    let [0, 0, 8, axes @ 1..=8] = magic else {
        return Err(bad("it does not begin like an IDX file of bytes of 1 to 8 axes".to_owned()));
    };
    let mut shape = Vec::new();
    for _ in 0..axes {
        let mut extent = [0; 4];
        from.read_exact(&mut extent).map_err(|_| bad(format!("it ends within its {axes} extents")))?;
        shape.push(u32::from_be_bytes(extent) as usize);
    }
    let total = shape.iter().try_fold(1usize, |product, extent| product.checked_mul(*extent));
    let Some(total) = total.filter(|t| *t <= MAX_BYTES) else {
        return Err(bad(format!("its header says {shape:?}, more than {MAX_BYTES} bytes")));
    };
    let mut data = Vec::new();
    from.take(total as u64 + 1).read_to_end(&mut data)?;
    if data.len() != total {
        let follow = if data.len() > total { "more".to_owned() } else { data.len().to_string() };
        return Err(bad(format!("its header says {shape:?}, and {follow} bytes follow")));
    }
    Ok((shape, data))
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
        assert_eq!(
            parse(&file(&[2, 3], &[1, 2, 3, 4, 5, 6])[..]).unwrap(),
            (vec![2, 3], vec![1, 2, 3, 4, 5, 6])
        );
        for bad in [
            file(&[2, 3], &[1]),
            file(&[u32::MAX; 4], &[1]),
            vec![0, 0, 8, 200],
            vec![],
            b"\0\0\x0d\x01".to_vec(),
        ] {
            assert!(parse(&bad[..]).is_err());
        }
    }
}

//! External tensor data: files in the model file's directory or below it, and nowhere else.

use std::cell::Cell;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

use crate::diagnostic::{
    Diagnostic, Diagnostics, MODEL_INVALID, MODEL_TOO_LARGE, MODEL_UNREADABLE, OPERATOR_UNSUPPORTED, Result,
};
use crate::import::read::limits::MAX_BYTES;

/// The directory of external data, and the remaining size limit.
#[derive(Debug)]
pub struct External {
    directory: Option<PathBuf>,
    left: Cell<usize>,
}

impl External {
    /// No external data: every read is an error.
    pub fn none() -> Self {
        Self { directory: None, left: Cell::new(0) }
    }

    /// External data in the directory of the model file at `path`, [`MAX_BYTES`] in total.
    pub fn beside(path: &Path) -> Self {
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        Self { directory: Some(directory), left: Cell::new(MAX_BYTES) }
    }

    /// Reads `size` bytes of external data. `place` holds ONNX's keys `location`, `offset` and `length`.
    ///
    /// # Errors
    /// If the location is outside the directory, a link or no regular file, the file is too short, or the size limit is exceeded.
    pub fn read(&self, place: &[(&str, &str)], size: usize) -> Result<Vec<u8>> {
        let Some(directory) = &self.directory else {
            return Err(Diagnostic::new(
                &OPERATOR_UNSUPPORTED,
                "the data is in a file of its own (external data), and the model is not read from a file",
            )
            .help("save the model as one file (onnx.save with save_as_external_data=False)")
            .into());
        };
        let key = |name: &str| place.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
        let number = |name: &str| match key(name) {
            None => Ok(None),
            Some(text) => text
                .parse::<u64>()
                .map(Some)
                .map_err(|_| broken(format!("the {name} of its external data is \"{text}\", not a number"))),
        };
        let location =
            key("location").ok_or_else(|| broken("its external data has no location".to_owned()))?;
        let offset = number("offset")?.unwrap_or(0);
        if let Some(length) = number("length")?.filter(|l| *l != size as u64) {
            return Err(broken(format!("its external data has {length} bytes where {size} are needed")));
        }
        if size > self.left.get() {
            let message = format!("the external data has more than {MAX_BYTES} bytes");
            return Err(Diagnostic::new(&MODEL_TOO_LARGE, message).help("give a smaller model").into());
        }
        self.left.set(self.left.get() - size);
        let path = inside(directory, location)?;
        let unreadable = |e: std::io::Error| {
            Diagnostic::new(&MODEL_UNREADABLE, format!("its external data {location}: {e}"))
                .help("keep the data file beside the model file")
        };
        let mut file = File::open(&path).map_err(unreadable)?;
        let there = file.metadata().map_err(unreadable)?.len();
        if offset.checked_add(size as u64).is_none_or(|end| end > there) {
            return Err(broken(format!(
                "its external data is {size} bytes from {offset} on, and {location} has {there}"
            )));
        }
        file.seek(SeekFrom::Start(offset)).map_err(unreadable)?;
        let mut bytes = vec![0; size];
        file.read_exact(&mut bytes).map_err(unreadable)?;
        Ok(bytes)
    }
}

/// The path of the regular file `location` below `directory`. Absolute paths, `..`, links and devices are rejected.
fn inside(directory: &Path, location: &str) -> Result<PathBuf> {
    let refused = |why: &str| -> Diagnostics {
        Diagnostic::new(&MODEL_INVALID, format!("its external data is at \"{location}\", {why}"))
            .help("external data is read beside the model file only; save the model again, or as one file")
            .into()
    };
    let plain = |c: Component<'_>| matches!(c, Component::Normal(_));
    // Separators and drive letters of other systems are rejected.
    if location.is_empty()
        || location.contains(['\\', ':', '\0'])
        || !Path::new(location).components().all(plain)
    {
        return Err(refused("which is not a path below the model's directory"));
    }
    let mut path = directory.to_owned();
    for part in Path::new(location).components() {
        path.push(part);
        match path.symlink_metadata() {
            Ok(m) if m.is_symlink() => return Err(refused("which is a link")),
            Ok(_) => {}
            Err(e) => {
                return Err(Diagnostic::new(&MODEL_UNREADABLE, format!("its external data {location}: {e}"))
                    .help("keep the data file beside the model file")
                    .into());
            }
        }
    }
    if path.is_file() { Ok(path) } else { Err(refused("which is not a plain file")) }
}

fn broken(message: String) -> Diagnostics {
    Diagnostic::new(&MODEL_INVALID, message).help(crate::diagnostic::SAVE_AGAIN).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_files_beside_the_model_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let below = dir.path().join("model");
        std::fs::create_dir(&below).unwrap();
        std::fs::write(below.join("w.bin"), [1, 2, 3, 4, 5]).unwrap();
        std::fs::write(dir.path().join("secret"), [9; 8]).unwrap();
        let files = External::beside(&below.join("m.onnx"));
        let read = |location: &str, more: &[(&str, &str)], size| {
            let place: Vec<(&str, &str)> = [("location", location)].iter().chain(more).copied().collect();
            files.read(&place, size)
        };
        assert_eq!(read("w.bin", &[("offset", "1"), ("length", "3")], 3).unwrap(), [2, 3, 4]);
        assert_eq!(read("w.bin", &[], 5).unwrap().len(), 5);
        let absolute = dir.path().join("secret").display().to_string();
        for bad in ["../secret", "a/../../secret", absolute.as_str(), "", ".", "..\\secret", "c:x", "gone"] {
            assert!(read(bad, &[], 4).is_err(), "{bad}");
        }
        for more in [("offset", "2"), ("offset", "18446744073709551615"), ("offset", "-1"), ("length", "9")] {
            assert!(read("w.bin", &[more], 4).is_err(), "{more:?}");
        }
        assert!(files.read(&[], 4).is_err() && files.read(&[("location", "w.bin")], MAX_BYTES + 1).is_err());
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink("../secret", below.join("link")).unwrap();
            std::os::unix::fs::symlink("..", below.join("up")).unwrap();
            for bad in ["link", "up/secret"] {
                assert!(read(bad, &[], 4).unwrap_err().to_string().contains("a link"), "{bad}");
            }
        }
        assert!(External::none().read(&[("location", "w.bin")], 4).is_err());
    }
}

//! The output directory. It is written under a temporary name and renamed, so that it is never incomplete.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use stoxnor_sim::work::{WorkDirectory, uninterrupted};

use crate::diagnostic::{Diagnostic, OUTPUT_EXISTS, OUTPUT_UNWRITABLE, Result};
use crate::emit::manifest::{MANIFEST, README};
use crate::emit::readme::count;

/// A directory in the making. It is hidden until it is [`put`](Self::put), and removed if it never is.
#[derive(Debug)]
pub struct Fresh {
    target: PathBuf,
    hidden: WorkDirectory,
}

impl Fresh {
    /// A directory that will be put at `target`, where nothing is yet.
    ///
    /// # Errors
    /// If something is there, or its parent cannot be written.
    pub fn new(target: &Path) -> Result<Self> {
        if fs::symlink_metadata(target).is_ok() {
            return Err(there(target, "choose another one, or delete it").into());
        }
        Self::beside(target)
    }

    fn beside(target: &Path) -> Result<Self> {
        let parent = match target.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        if !parent.is_dir() {
            let what = if parent.exists() { "is not a directory" } else { "does not exist" };
            return Err(Diagnostic::new(
                &OUTPUT_UNWRITABLE,
                format!("its parent {} {what}", parent.display()),
            )
            .at(target.display().to_string())
            .help("make the parent directory first, or choose another one")
            .into());
        }
        let hidden = WorkDirectory::hidden_in(parent).map_err(|e| unwritable(target, &e))?;
        fs::create_dir(hidden.path().join(CONTENT)).map_err(|e| unwritable(target, &e))?;
        Ok(Self { target: target.to_path_buf(), hidden })
    }

    fn content(&self) -> PathBuf {
        self.hidden.path().join(CONTENT)
    }

    /// Writes a file; `name` may lie in directories.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.content().join(name);
        let written =
            fs::create_dir_all(path.parent().unwrap_or(&path)).and_then(|()| fs::write(&path, text));
        written.map_err(|e| unwritable(&self.target, &e).into())
    }

    /// Copies the files of a directory that has no directories.
    ///
    /// # Errors
    /// If one cannot be copied.
    pub fn fill(&self, from: &Path) -> Result<()> {
        let copied = fs::read_dir(from).and_then(|entries| {
            for entry in entries {
                let entry = entry?;
                if entry.file_type()?.is_file() {
                    fs::copy(entry.path(), self.content().join(entry.file_name()))?;
                }
            }
            Ok(())
        });
        copied.map_err(|e| unwritable(&self.target, &e).into())
    }

    /// Puts it in its place, at once; what is there is replaced.
    ///
    /// # Errors
    /// If it cannot be moved. Nothing has changed then.
    pub fn put(self) -> Result<()> {
        let (target, content) = (&self.target, self.content());
        let put = if fs::symlink_metadata(target).is_ok() {
            // The old directory is deleted with the temporary one, unless the new one cannot be moved into place.
            let old = self.hidden.path().join("old");
            uninterrupted(|| {
                fs::rename(target, &old)?;
                fs::rename(&content, target).inspect_err(|_| {
                    let _ = fs::rename(&old, target);
                })
            })
        } else {
            fs::rename(&content, target)
        };
        put.map_err(|e| unwritable(target, &e).into())
    }
}

fn there(place: &Path, help: &str) -> Diagnostic {
    Diagnostic::new(&OUTPUT_EXISTS, "it is there already").at(place.display().to_string()).help(help)
}

/// Where the content is in the hidden directory.
const CONTENT: &str = "new";

fn unwritable(place: &Path, error: &std::io::Error) -> Diagnostic {
    Diagnostic::new(&OUTPUT_UNWRITABLE, error.to_string())
        .at(place.display().to_string())
        .help("choose a place where you may write")
}

/// Writes the files to a new directory. With `force` it may replace a directory that an earlier compilation wrote.
///
/// # Errors
/// If the directory exists and may not be replaced, or cannot be written. Nothing has changed then.
pub fn write(directory: &Path, files: &BTreeMap<String, String>, force: bool) -> Result<()> {
    let exists = fs::symlink_metadata(directory).is_ok();
    let place = directory.display().to_string();
    if exists && !force {
        return Err(there(directory, "choose another one, or replace it with --force").into());
    }
    if exists {
        replaceable(directory).map_err(|reason| {
            Diagnostic::new(&OUTPUT_EXISTS, format!("it is there, and {reason}")).at(&place).help(
                "--force only replaces what compile wrote: move what is yours, or choose another directory",
            )
        })?;
    }
    let fresh = Fresh::beside(directory)?;
    files.iter().try_for_each(|(name, text)| fresh.write(name, text))?;
    fresh.put()
}

/// Whether `--force` may replace the directory: a real directory that is empty, or holds nothing but files of a compilation and
/// of its test bench. Otherwise the error is the reason.
fn replaceable(directory: &Path) -> std::result::Result<(), String> {
    if !fs::symlink_metadata(directory).is_ok_and(|m| m.is_dir()) {
        return Err("is not a directory".to_owned());
    }
    if fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_none()) {
        return Ok(());
    }
    let no_manifest = || format!("is no directory that compile wrote: it has no {MANIFEST} of stoxnor");
    let text = fs::read_to_string(directory.join(MANIFEST)).map_err(|_| no_manifest())?;
    let manifest: serde_json::Value = serde_json::from_str(&text).map_err(|_| no_manifest())?;
    let (Some(_), Some(files)) = (manifest.get("stoxnor_version"), manifest["files"].as_object()) else {
        return Err(no_manifest());
    };
    let ours = |name: &str| {
        [MANIFEST, README].contains(&name)
            || files.contains_key(name)
            || LEFT_BY_BENCH.iter().any(|left| name.starts_with(left))
    };
    let mut foreign = Vec::new();
    foreign_files(directory, "", &ours, &mut foreign);
    match foreign.first() {
        None => Ok(()),
        Some(first) => {
            Err(format!("holds {} that compile did not write, {first} for one", count(foreign.len(), "file")))
        }
    }
}

/// Files that running the test benches creates, and Python.
const LEFT_BY_BENCH: &[&str] = &[
    "tb/build/",
    "tb/bench.vvp",
    "tb/icarus.log",
    "tb/verilator.log",
    "tb/sim_build/",
    "tb/results.xml",
    "tb/__pycache__/",
    "__pycache__/",
];

fn foreign_files(directory: &Path, below: &str, ours: &dyn Fn(&str) -> bool, out: &mut Vec<String>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let name = format!("{below}{}", entry.file_name().to_string_lossy());
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            foreign_files(&entry.path(), &format!("{name}/"), ours, out);
        } else if !ours(&name) {
            out.push(name);
        }
    }
}

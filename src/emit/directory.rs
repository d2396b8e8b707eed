//! The output directory. It is written under a temporary name and renamed, so that it is never incomplete.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use stoxnor_sim::work::{WorkDirectory, uninterrupted};

use crate::diagnostic::{Diagnostic, OUTPUT_EXISTS, OUTPUT_UNWRITABLE, Result};
use crate::emit::manifest::{MANIFEST, README};
use crate::emit::readme::count;

/// Writes the files to a new directory. With `force` it may replace a directory that an earlier compilation wrote.
///
/// # Errors
/// If the directory exists and may not be replaced, or cannot be written. Nothing has changed then.
pub fn write(directory: &Path, files: &BTreeMap<String, String>, force: bool) -> Result<()> {
    let place = directory.display().to_string();
    let unwritable = |e: std::io::Error| {
        Diagnostic::new(&OUTPUT_UNWRITABLE, e.to_string())
            .at(&place)
            .help("choose a place where you may write")
    };
    let exists = fs::symlink_metadata(directory).is_ok();
    if exists && !force {
        return Err(Diagnostic::new(&OUTPUT_EXISTS, "it is there already")
            .at(&place)
            .help("choose another one, or replace it with --force")
            .into());
    }
    if exists {
        replaceable(directory).map_err(|reason| {
            Diagnostic::new(&OUTPUT_EXISTS, format!("it is there, and {reason}")).at(&place).help(
                "--force only replaces what compile wrote: move what is yours, or choose another directory",
            )
        })?;
    }
    let parent = match directory.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    if !parent.is_dir() {
        let what = if parent.exists() { "is not a directory" } else { "does not exist" };
        return Err(Diagnostic::new(&OUTPUT_UNWRITABLE, format!("its parent {} {what}", parent.display()))
            .at(&place)
            .help("make the parent directory first, or choose another one")
            .into());
    }
    let fresh = WorkDirectory::hidden_in(parent).map_err(unwritable)?;
    let content = fresh.path().join("new");
    for (name, text) in files {
        let path = content.join(name);
        fs::create_dir_all(path.parent().unwrap_or(&content)).map_err(unwritable)?;
        fs::write(&path, text).map_err(unwritable)?;
    }
    if exists {
        // The old directory is deleted with the temporary one, unless the new one cannot be moved into place.
        let old = fresh.path().join("old");
        let replaced = uninterrupted(|| {
            fs::rename(directory, &old)?;
            fs::rename(&content, directory).inspect_err(|_| {
                let _ = fs::rename(&old, directory);
            })
        });
        replaced.map_err(unwritable)?;
    } else {
        fs::rename(&content, directory).map_err(unwritable)?;
    }
    Ok(())
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

/// Files that running the test bench creates.
const LEFT_BY_BENCH: &[&str] = &["tb/build/", "tb/bench.vvp", "tb/icarus.log", "tb/verilator.log"];

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

//! Work directories and running tools, and their cleanup after an interruption.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The directories to remove and the process groups to end when the program is interrupted.
#[derive(Debug)]
struct Open {
    directories: Vec<PathBuf>,
    groups: Vec<u32>,
}

static OPEN: Mutex<Open> = Mutex::new(Open { directories: Vec::new(), groups: Vec::new() });
/// Whether tools run in process groups of their own, which signals from the terminal do not reach.
static OWN_GROUPS: AtomicBool = AtomicBool::new(false);

fn open() -> MutexGuard<'static, Open> {
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A temporary directory. It is removed when dropped or when the program is interrupted, unless it is kept.
#[derive(Debug)]
pub struct WorkDirectory(tempfile::TempDir);

impl WorkDirectory {
    /// A new `stoxnor-*` directory in the system's temporary directory.
    ///
    /// # Errors
    /// If it cannot be created.
    pub fn new() -> io::Result<Self> {
        Self::of(|| tempfile::Builder::new().prefix("stoxnor-").tempdir())
    }

    /// A new hidden directory in `parent`, on the same file system as the directory that it will replace.
    ///
    /// # Errors
    /// If it cannot be created.
    pub fn hidden_in(parent: &Path) -> io::Result<Self> {
        Self::of(|| tempfile::Builder::new().prefix(".stoxnor-").tempdir_in(parent))
    }

    fn of(make: impl FnOnce() -> io::Result<tempfile::TempDir>) -> io::Result<Self> {
        let mut open = open();
        let directory = make()?;
        open.directories.push(directory.path().to_path_buf());
        Ok(Self(directory))
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Keeps the directory: neither dropping it nor an interruption removes it.
    pub fn keep(&mut self) {
        self.0.disable_cleanup(true);
        open().directories.retain(|path| path != self.0.path());
    }
}

impl Drop for WorkDirectory {
    fn drop(&mut self) {
        let mut open = open();
        if let Some(at) = open.directories.iter().position(|path| path == self.0.path()) {
            // Removed under the lock: an interruption waits for it, and leaves nothing half-removed.
            let _ = std::fs::remove_dir_all(self.0.path());
            open.directories.remove(at);
        }
    }
}

/// Runs `work` without interruption, for renames that must happen together.
pub fn uninterrupted<R>(work: impl FnOnce() -> R) -> R {
    let _open = open();
    work()
}

/// Runs a command in a process group that an interruption ends, and waits for its end.
pub(crate) fn output(command: &mut Command) -> io::Result<Output> {
    #[cfg(unix)]
    if OWN_GROUPS.load(Ordering::Relaxed) {
        use std::os::unix::process::CommandExt;
        let child = {
            let mut open = open();
            let child = command
                .process_group(0)
                .stdout(std::process::Stdio::piped())
                .stderr(std::process::Stdio::piped())
                .spawn()?;
            open.groups.push(child.id());
            child
        };
        let id = child.id();
        let output = child.wait_with_output();
        open().groups.retain(|group| *group != id);
        return output;
    }
    command.output()
}

/// Makes tools run in process groups of their own from now on, so that [`interrupt`] decides when they end.
pub fn prepare_for_interruption() {
    OWN_GROUPS.store(true, Ordering::Relaxed);
}

/// Ends running tools and removes all work directories, for a program that is about to exit. No files are opened or renamed
/// afterwards.
pub fn interrupt() {
    let open = open();
    #[cfg(unix)]
    for group in &open.groups {
        use nix::sys::signal::{Signal, killpg};
        let _ = killpg(nix::unistd::Pid::from_raw(group.cast_signed()), Signal::SIGKILL);
    }
    for directory in &open.directories {
        // A tool that is being ended may still write a file.
        for _ in 0..10 {
            if std::fs::remove_dir_all(directory).is_ok() || !directory.exists() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
    // The lock is never released: whoever requests a directory now waits for the exit.
    std::mem::forget(open);
}

//! Reading small text files of the kernel without trusting them.
//!
//! `/sys`, `/proc` and captured copies of them can hold anything: files that never end, fifos that
//! block, bytes that are not text. What is read here is a regular file, at most a given number of
//! bytes, and UTF-8; anything else is an [`Error`] with the path.

use crate::{CpuSet, Error};
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

/// The largest file of `/sys` we read. The kernel's own limit was one page for decades; CPU lists
/// of the largest machines are below 64 KiB.
pub(crate) const SYSFS_LIMIT: usize = 256 << 10;

/// The largest file of `/proc` we read: `mountinfo` has a line per mount, thousands on some hosts.
pub(crate) const PROC_LIMIT: usize = 4 << 20;

/// Reads a regular file of at most `limit` bytes as text, without white space and zero bytes at its
/// ends: kernels before 4.0 end some lists with a zero byte.
pub(crate) fn read(path: &Path, limit: usize) -> Result<String, Error> {
    // Asked before opening, because opening a fifo waits for its writer.
    let metadata = fs::metadata(path).map_err(|e| Error::read(path, &e))?;
    if !metadata.is_file() {
        return Err(Error::malformed(path, "not a regular file"));
    }
    let mut file = File::open(path).map_err(|e| Error::read(path, &e))?;
    // Nearly all of these files are a few bytes long: one read for them, and one to see the end.
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    while bytes.len() <= limit {
        match file.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => bytes.extend_from_slice(&piece[..count]),
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(Error::read(path, &e)),
        }
    }
    if bytes.len() > limit {
        return Err(Error::TooLarge {
            path: path.into(),
            limit,
        });
    }
    let text = String::from_utf8(bytes).map_err(|_| Error::malformed(path, "not UTF-8 text"))?;
    let padding = |c: char| c.is_whitespace() || c == '\0';
    Ok(text.trim_matches(padding).into())
}

/// Turns "there is no such file" into `None` and keeps every other error.
pub(crate) fn optional<T>(result: Result<T, Error>) -> Result<Option<T>, Error> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_missing() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns the numbers `N` of the entries `prefixN` of a directory, ascending; `None` if there is
/// no such directory. Entries that do not match are skipped, and those with a number that no CPU or
/// node has.
pub(crate) fn numbered(directory: &Path, prefix: &str) -> Result<Option<Vec<usize>>, Error> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::read(directory, &error)),
    };
    let mut numbers = Vec::new();
    for entry in entries {
        let name = entry.map_err(|e| Error::read(directory, &e))?.file_name();
        let digits = name
            .to_str()
            .and_then(|name| name.strip_prefix(prefix))
            .unwrap_or("");
        if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
            let number = digits.parse::<usize>().ok();
            numbers.extend(number.filter(|&number| number <= CpuSet::MAX_PARSED));
        }
    }
    numbers.sort_unstable();
    Ok(Some(numbers))
}

/// Joins `root` with a path that is absolute on a live system.
pub(crate) fn under(root: &Path, absolute: &str) -> PathBuf {
    root.join(absolute.trim_start_matches('/'))
}

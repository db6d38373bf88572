//! Finding and reading the cgroups of this process, version 1, version 2, or both at once.
//!
//! # How a group is found
//! ```text
//! /proc/self/cgroup      4:cpu,cpuacct:/a/b   (v1)      0::/a/b   (v2)
//! /proc/self/mountinfo   … ROOT MOUNTPOINT … - cgroup … rw,cpu,cpuacct
//!                        … ROOT MOUNTPOINT … - cgroup2 …
//! ```
//! ROOT is the part of the hierarchy that the mount shows. If the group lies below it, its
//! directory is MOUNTPOINT plus the rest, and the groups above are the directories up to
//! MOUNTPOINT, none beyond (LM3). If it does not (a mount from outside the container), only
//! MOUNTPOINT itself can be read, which is listed as a problem; and if ROOT lies below the group,
//! the mount shows another group, which limits nothing here.
//!
//! A hierarchy may be mounted several times, over a part of which nothing is left to see. The mount
//! counts that shows the group with the most files, then the one that shows most groups.
//!
//! Controllers are found one by one: a machine may have `cpu` under v1 and `cpuset` under v2.

use super::{CpusetLimit, PidLimit, Quota};
use crate::bounded::{PROC_LIMIT, SYSFS_LIMIT, optional, read, under};
use crate::error::quoted;
use crate::{CpuSet, Error};
use std::path::{Path, PathBuf};

/// The directories to look at; kept between readings.
#[derive(Clone, Debug, Default)]
pub(super) struct Groups {
    /// `/proc/self/cgroup` as it was when the directories were found.
    text: Option<String>,
    /// This group and those above it, nearest first, where `cpu.max` may be.
    v2: Vec<PathBuf>,
    /// The same where `cpu.cfs_quota_us` may be.
    v1_cpu: Vec<PathBuf>,
    /// The same where `cpuset.cpus` may be.
    v1_cpuset: Vec<PathBuf>,
    /// The same where `pids.max` may be.
    v1_pids: Vec<PathBuf>,
    /// What is strange about the groups themselves.
    problems: Vec<Error>,
}

/// The files that this module reads in the directory of a group.
const FILES: [&str; 6] = [
    "cpu.max",
    "cpu.cfs_quota_us",
    "cpuset.cpus.effective",
    "cpuset.effective_cpus",
    "cpuset.cpus",
    "pids.max",
];

impl Groups {
    /// Finds the directories again if the process has moved. `home` is its directory in `/proc`,
    /// and `root` the directory that its mount points are below.
    pub(super) fn refresh(&mut self, home: &Path, root: &Path, problems: &mut Vec<Error>) {
        let path = home.join("cgroup");
        let text = match optional(read(&path, PROC_LIMIT)) {
            Ok(Some(text)) => text,
            Ok(None) => String::new(), // a kernel without cgroups
            Err(error) => {
                problems.push(error);
                String::new()
            }
        };
        if self.text.as_ref() == Some(&text) {
            problems.extend(self.problems.iter().cloned());
            return;
        }
        let mut found = Self {
            text: Some(text),
            ..Self::default()
        };
        if let Err(error) = found.find(home, root, &path) {
            problems.push(error);
            found.text = None; // so that the next refresh tries again
        }
        problems.extend(found.problems.iter().cloned());
        *self = found;
    }

    fn find(&mut self, home: &Path, root: &Path, path: &Path) -> Result<(), Error> {
        let text = self.text.clone().unwrap_or_default();
        if text.is_empty() {
            return Ok(());
        }
        let mounts = read(&home.join("mountinfo"), PROC_LIMIT)?;
        for line in text.lines() {
            let mut fields = line.splitn(3, ':');
            let (Some(_), Some(controllers), Some(group)) =
                (fields.next(), fields.next(), fields.next())
            else {
                let line = quoted(line);
                let what = format!("{line} is not HIERARCHY:CONTROLLERS:PATH");
                return Err(Error::malformed(path, what));
            };
            if controllers.is_empty() {
                let wanted = |kind: &str, _: &str| kind == "cgroup2";
                self.v2 = directories(root, &mounts, group, wanted, &mut self.problems);
                continue;
            }
            for (name, list) in [
                ("cpu", &mut self.v1_cpu),
                ("cpuset", &mut self.v1_cpuset),
                ("pids", &mut self.v1_pids),
            ] {
                if controllers.split(',').any(|controller| controller == name) {
                    let wanted = |kind: &str, options: &str| {
                        kind == "cgroup" && options.split(',').any(|option| option == name)
                    };
                    *list = directories(root, &mounts, group, wanted, &mut self.problems);
                }
            }
        }
        Ok(())
    }

    /// Returns the CPUs of the nearest group that names any.
    pub(super) fn cpuset(&self, problems: &mut Vec<Error>) -> Option<CpusetLimit> {
        let v2 = self.v2.iter().map(|d| d.join("cpuset.cpus.effective"));
        let effective = self
            .v1_cpuset
            .iter()
            .map(|d| d.join("cpuset.effective_cpus"));
        let wanted = self.v1_cpuset.iter().map(|d| d.join("cpuset.cpus"));
        for file in v2.chain(effective).chain(wanted) {
            match optional(cpus(&file)) {
                Ok(Some(cpus)) if !cpus.is_empty() => return Some(CpusetLimit { cpus, file }),
                Ok(_) => {}
                Err(error) => problems.push(error),
            }
        }
        None
    }

    /// Returns the quotas of all groups that have one, nearest first.
    pub(super) fn quotas(&self, problems: &mut Vec<Error>) -> Vec<Quota> {
        let v2 = self
            .v2
            .iter()
            .map(|directory| v2_quota(&directory.join("cpu.max")));
        let v1 = self.v1_cpu.iter().map(|directory| v1_quota(directory));
        let mut quotas = Vec::new();
        for result in v2.chain(v1) {
            match optional(result) {
                Ok(quota) => quotas.extend(quota.flatten()),
                Err(error) => problems.push(error),
            }
        }
        quotas
    }

    /// Returns the limit on tasks, of this group and those above it, that leaves this process the
    /// fewest; `own` is how many it has.
    pub(super) fn pids(&self, own: u64, problems: &mut Vec<Error>) -> Option<PidLimit> {
        let mut tightest: Option<PidLimit> = None;
        for directory in self.v2.iter().chain(&self.v1_pids) {
            match optional(pid_limit(directory, own)) {
                Ok(limit) => {
                    let tighter = |limit: &PidLimit| {
                        let known = tightest.as_ref();
                        known.is_none_or(|known| limit.workers() < known.workers())
                    };
                    tightest = limit.flatten().filter(tighter).or(tightest);
                }
                Err(error) => problems.push(error),
            }
        }
        tightest
    }
}

/// Reads `pids.max` and `pids.current`; `None` for `max`, no limit.
fn pid_limit(directory: &Path, own: u64) -> Result<Option<PidLimit>, Error> {
    let file = directory.join("pids.max");
    let text = read(&file, SYSFS_LIMIT)?;
    if text == "max" {
        return Ok(None);
    }
    let number = |file: &Path, text: &str| {
        text.parse::<u64>().map_err(|_| {
            let what = format!("{} is not a number of tasks or \"max\"", quoted(text));
            Error::malformed(file, what)
        })
    };
    let max = number(&file, &text)?;
    let path = directory.join("pids.current");
    let current = match optional(read(&path, SYSFS_LIMIT))? {
        Some(text) => number(&path, &text)?,
        None => own,
    };
    let others = current.saturating_sub(own);
    Ok(Some(PidLimit { max, others, file }))
}

fn cpus(file: &Path) -> Result<CpuSet, Error> {
    let text = read(file, SYSFS_LIMIT)?;
    text.parse()
        .map_err(|e| Error::malformed(file, format!("not a list of CPUs, {e}")))
}

/// Reads a quota as `max 100000` or `150000 100000`; `None` for no limit.
fn v2_quota(file: &Path) -> Result<Option<Quota>, Error> {
    let text = read(file, SYSFS_LIMIT)?;
    let mut words = text.split_whitespace();
    let (quota, period) = (words.next().unwrap_or(""), words.next().unwrap_or("100000"));
    if quota == "max" {
        return Ok(None);
    }
    let numbers = quota
        .parse()
        .ok()
        .zip(period.parse().ok())
        .filter(|&(_, period)| period != 0);
    let Some((quota_us, period_us)) = numbers else {
        let text = quoted(&text);
        let what = format!("{text} is not \"QUOTA PERIOD\" in microseconds or \"max PERIOD\"");
        return Err(Error::malformed(file, what));
    };
    Ok(Some(Quota {
        quota_us,
        period_us,
        file: file.into(),
    }))
}

/// Reads `cpu.cfs_quota_us` and `cpu.cfs_period_us`; a quota of −1 is no limit.
fn v1_quota(directory: &Path) -> Result<Option<Quota>, Error> {
    let file = directory.join("cpu.cfs_quota_us");
    let period = directory.join("cpu.cfs_period_us");
    let number = |file: &Path| {
        let text = read(file, SYSFS_LIMIT)?;
        let number = text.parse::<i64>();
        number.map_err(|_| {
            let what = format!("{} is not a number of microseconds", quoted(&text));
            Error::malformed(file, what)
        })
    };
    let Ok(quota_us) = u64::try_from(number(&file)?) else {
        return Ok(None);
    };
    match u64::try_from(number(&period)?) {
        Ok(period_us) if period_us > 0 => Ok(Some(Quota {
            quota_us,
            period_us,
            file,
        })),
        _ => Err(Error::malformed(&period, "the period is not above zero")),
    }
}

/// Returns the directory of `group` and those above it, in the mount that `wanted` (filesystem
/// type, options) picks and that shows most of them.
fn directories(
    root: &Path,
    mounts: &str,
    group: &str,
    wanted: impl Fn(&str, &str) -> bool,
    problems: &mut Vec<Error>,
) -> Vec<PathBuf> {
    let mut best: Option<(usize, Vec<PathBuf>)> = None;
    let mut foreign: Vec<(PathBuf, String)> = Vec::new();
    for (shown, point) in mounts.lines().filter_map(|line| mounted(line, &wanted)) {
        let point = under(root, &point);
        let Some(rest) = below(group, &shown) else {
            foreign.push((point, shown));
            continue;
        };
        let mut found = vec![point];
        for name in rest {
            let deeper = found[found.len() - 1].join(name);
            found.push(deeper);
        }
        found.reverse();
        let there = |directory: &&PathBuf| FILES.iter().any(|name| directory.join(name).exists());
        let files = found.iter().filter(there).count();
        let better =
            |(most, list): &(usize, Vec<PathBuf>)| (files, found.len()) > (*most, list.len());
        if best.as_ref().is_none_or(better) {
            best = Some((files, found));
        }
    }
    if let Some((_, found)) = best {
        return found;
    }
    let Some((point, shown)) = foreign.into_iter().next() else {
        return Vec::new();
    };
    let what = format!("it shows {shown}, and this process is in {group}, which is not below that");
    problems.push(Error::inconsistent(&point, what));
    match below(&shown, group) {
        Some(_) => Vec::new(),
        None => vec![point],
    }
}

/// Returns the root and the mount point of a line of `mountinfo`, if it is a wanted one.
fn mounted(line: &str, wanted: impl Fn(&str, &str) -> bool) -> Option<(String, String)> {
    let (left, right) = line.split_once(" - ")?;
    let mut right = right.split(' ');
    let (kind, options) = (right.next().unwrap_or(""), right.nth(1).unwrap_or(""));
    let mut left = left.split(' ').skip(3);
    let (shown, point) = (left.next()?, left.next()?);
    wanted(kind, options).then(|| (unescape(shown), unescape(point)))
}

/// Returns the path components of `group` below `shown`; `None` if it is not below, or climbs.
fn below<'a>(group: &'a str, shown: &str) -> Option<Vec<&'a str>> {
    let mut group = group.split('/').filter(|name| !name.is_empty());
    for name in shown.split('/').filter(|name| !name.is_empty()) {
        if group.next() != Some(name) {
            return None;
        }
    }
    let rest: Vec<&str> = group.collect();
    (!rest.contains(&"..")).then_some(rest)
}

/// Undoes the kernel's octal escapes (`\040` is a blank) in a path of `mountinfo`.
fn unescape(path: &str) -> String {
    let mut pieces = path.split('\\');
    let mut plain = pieces.next().unwrap_or("").to_string();
    for piece in pieces {
        let code = piece
            .get(..3)
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code.filter(u8::is_ascii) {
            Some(code) => {
                plain.push(char::from(code));
                plain.push_str(&piece[3..]);
            }
            None => {
                plain.push('\\');
                plain.push_str(piece);
            }
        }
    }
    plain
}

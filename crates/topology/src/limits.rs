//! Which CPUs this process may use, how much of them, and which file or call says so.
//!
//! Four things limit a process on Linux: the affinity mask of its threads, the cpuset of its
//! cgroup, the CPU quota of its cgroup **and of every group above it**, the smallest of which
//! counts, and the number of tasks (`pids.max`) of those groups, because every worker is one. A
//! quota of 2.5 CPUs is 3 workers: rounding down would leave half a CPU unused, and all of it where
//! the quota is below one.
//!
//! # Invariants
//! - **LM1** `available_parallelism` is at least 1 and at most the number of usable CPUs.
//! - **LM2** Every number in the answer names the file or call it came from; a file that can't be
//!   understood limits nothing and is listed in [`Limits::problems`].
//! - **LM4** A cpuset that has no CPU in common with the affinity mask is not that of this process,
//!   because the kernel keeps the mask within it: it limits nothing, and is listed as a problem.
//! - **LM3** Groups above a container's own root can't be seen from inside, nor can their quota.
//!
//! # Re-reading
//! [`Limits::refresh`] finds the groups again only if `/proc/self/cgroup` changed; else it costs
//! one system call and one short file per group. The scheduler calls it about once a second.
//!
//! # Why not …
//! `std::thread::available_parallelism`: rounds the quota down, answers once and without a reason.

mod applied;
mod cgroup;

use crate::{CpuSet, Error, affinity};
use cgroup::Groups;
use core::fmt;
use core::num::NonZero;
use std::path::{Path, PathBuf};

/// The limits on this process, as last read.
#[derive(Clone, Debug)]
pub struct Limits {
    affinity: Result<CpuSet, Error>,
    cpuset: Option<CpusetLimit>,
    quotas: Vec<Quota>,
    pids: Option<PidLimit>,
    problems: Vec<Error>,
    groups: Groups,
    root: PathBuf,
    /// Of whom: 0 is the caller, else a process by its number.
    process: u32,
}

/// The CPUs a cgroup's cpuset leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct CpusetLimit {
    /// The CPUs.
    pub cpus: CpuSet,
    /// The file that says so.
    pub file: PathBuf,
}

/// The CPU time a cgroup grants.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Quota {
    /// Microseconds of CPU time in every period.
    pub quota_us: u64,
    /// Microseconds of a period; not zero.
    pub period_us: u64,
    /// The file that says so: `cpu.max`, or `cpu.cfs_quota_us` of cgroup v1.
    pub file: PathBuf,
}

/// The number of tasks (processes and threads) that a cgroup may have.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct PidLimit {
    /// The most tasks of the group and those below it.
    pub max: u64,
    /// The tasks in it that are not of this process.
    pub others: u64,
    /// The file that says so, `pids.max`.
    pub file: PathBuf,
}

/// How many workers can run at once, and what says so.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Parallelism {
    workers: NonZero<usize>,
    reasons: Vec<Reason>,
}

/// One limit and the number of workers it leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Reason {
    /// The number of workers.
    pub workers: usize,
    /// The limit, in words, with the file or call it came from.
    pub what: String,
}

impl Limits {
    /// Reads the limits of the calling thread's process.
    ///
    /// The affinity mask is the **calling thread's**: read it before that thread is pinned.
    #[must_use]
    pub fn read() -> Self {
        Self::read_below("/")
    }

    /// Reads as [`Limits::read`] does, with `proc` and `sys` taken from below `root`; the affinity
    /// mask is still that of the live system.
    #[must_use]
    pub fn read_below(root: impl AsRef<Path>) -> Self {
        Self::read_for(0, root.as_ref())
    }

    /// Reads the limits of another process by its number, with the mask of its first thread; what
    /// can't be read, for want of rights or because it has ended, is in [`Limits::problems`].
    #[must_use]
    pub fn of_process(process: u32) -> Self {
        Self::read_for(process, Path::new("/"))
    }

    fn read_for(process: u32, root: &Path) -> Self {
        let mut limits = Self {
            affinity: Ok(CpuSet::new()),
            cpuset: None,
            quotas: Vec::new(),
            pids: None,
            problems: Vec::new(),
            groups: Groups::default(),
            root: root.into(),
            process,
        };
        let _ = limits.refresh();
        limits
    }

    /// Reads the limits again; true if anything changed.
    #[must_use = "says whether to look at the limits again"]
    pub fn refresh(&mut self) -> bool {
        let affinity = affinity::mask_of(self.process);
        let home = match self.process {
            0 => "proc/self".into(),
            process => format!("proc/{process}"),
        };
        let home = self.root.join(home);
        // Another process may see other mounts.
        let mounts = match self.process {
            0 => self.root.clone(),
            _ => home.join("root"),
        };
        let mut problems = Vec::new();
        problems.extend(affinity.as_ref().err().cloned());
        self.groups.refresh(&home, &mounts, &mut problems);
        let mut cpuset = self.groups.cpuset(&mut problems);
        if let (Ok(mask), Some(limit)) = (&affinity, &cpuset)
            && mask.is_disjoint(&limit.cpus)
        {
            let (cpus, mask) = (limit.cpus.in_words(), mask.in_words());
            let what = format!("{cpus}, of which the affinity mask, {mask}, has none: not ours");
            problems.push(Error::inconsistent(&limit.file, what));
            cpuset = None;
        }
        let quotas = self.groups.quotas(&mut problems);
        let pids = self.groups.pids(own_tasks(&home), &mut problems);
        // Tasks come and go: only a limit that has moved is a change.
        let limit =
            |pids: &Option<PidLimit>| pids.as_ref().map(|pids| (pids.max, pids.file.clone()));
        let changed = affinity != self.affinity
            || cpuset != self.cpuset
            || limit(&pids) != limit(&self.pids)
            || quotas != self.quotas
            || problems != self.problems;
        (self.affinity, self.cpuset) = (affinity, cpuset);
        (self.quotas, self.pids, self.problems) = (quotas, pids, problems);
        changed
    }

    /// Returns the affinity mask of the thread that read, or why it could not be read.
    ///
    /// # Errors
    /// The system call's, on Linux; elsewhere that there is no such thing.
    pub fn affinity(&self) -> &Result<CpuSet, Error> {
        &self.affinity
    }

    /// Returns the cpuset of the cgroup, where one is set.
    #[must_use]
    pub fn cpuset(&self) -> Option<&CpusetLimit> {
        self.cpuset.as_ref()
    }

    /// Returns the quotas of this group and those above it, nearest first; groups without a limit
    /// left out.
    #[must_use]
    pub fn quotas(&self) -> &[Quota] {
        &self.quotas
    }

    /// Returns the limit on the number of tasks that leaves this process the fewest, of its group
    /// and those above; `None` for no limit.
    #[must_use]
    pub fn pids(&self) -> Option<&PidLimit> {
        self.pids.as_ref()
    }

    /// Returns what could not be read or understood, and therefore limits nothing.
    #[must_use]
    pub fn problems(&self) -> &[Error] {
        &self.problems
    }

    /// Returns the CPUs in both the affinity mask and the cpuset; empty if neither could be read.
    #[must_use]
    pub fn usable_cpus(&self) -> CpuSet {
        match (&self.affinity, &self.cpuset) {
            (Ok(mask), Some(cpuset)) => mask & &cpuset.cpus,
            (Ok(mask), None) => mask.clone(),
            (Err(_), Some(cpuset)) => cpuset.cpus.clone(),
            (Err(_), None) => CpuSet::new(),
        }
    }

    /// Returns how many workers can run at once under all of these limits.
    #[must_use]
    pub fn available_parallelism(&self) -> Parallelism {
        let mut reasons = Vec::new();
        let mut reason = |workers: usize, what: String| reasons.push(Reason { workers, what });
        match &self.affinity {
            Ok(mask) => reason(
                mask.len(),
                format!("affinity mask, {} (sched_getaffinity)", mask.in_words()),
            ),
            Err(error) if self.cpuset.is_none() => {
                let (count, how) = affinity::count_cpus();
                reason(
                    count,
                    format!("{how}; the affinity mask is not known: {error}"),
                );
            }
            Err(_) => {}
        }
        if let Some(CpusetLimit { cpus, file }) = &self.cpuset {
            let left = self.usable_cpus().len();
            reason(
                left,
                format!("cpuset, {} ({})", cpus.in_words(), file.display()),
            );
        }
        for quota in &self.quotas {
            reason(quota.workers(), quota.to_string());
        }
        if let Some(pids) = &self.pids {
            reason(pids.workers(), pids.to_string());
        }
        let least = reasons
            .iter()
            .map(|reason| reason.workers)
            .min()
            .unwrap_or(1);
        let workers = NonZero::new(least).unwrap_or(NonZero::<usize>::MIN);
        Parallelism { workers, reasons }
    }
}

impl Quota {
    /// Returns the workers that can use this much CPU time: rounded up, at least 1.
    #[must_use]
    pub fn workers(&self) -> usize {
        let workers = self.quota_us.div_ceil(self.period_us.max(1)).max(1);
        usize::try_from(workers).unwrap_or(usize::MAX)
    }

    /// Returns the quota in CPUs.
    #[must_use]
    pub fn cpus(&self) -> f64 {
        self.quota_us as f64 / self.period_us as f64
    }
}

impl PidLimit {
    /// Returns the workers that there is room for, if they are all that this process starts; at
    /// least 1.
    #[must_use]
    pub fn workers(&self) -> usize {
        let room = self.max.saturating_sub(self.others).max(1);
        usize::try_from(room).unwrap_or(usize::MAX)
    }
}

impl fmt::Display for PidLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { max, others, file } = self;
        write!(
            f,
            "limit of {max} tasks, {others} of other processes ({})",
            file.display()
        )
    }
}

/// Counts the tasks that this process has; 1 if that can't be read.
fn own_tasks(home: &Path) -> u64 {
    let path = home.join("status");
    let text = crate::bounded::read(&path, crate::bounded::PROC_LIMIT).unwrap_or_default();
    let count = text.lines().find_map(|line| line.strip_prefix("Threads:"));
    count
        .and_then(|count| count.trim().parse().ok())
        .unwrap_or(1)
}

impl fmt::Display for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "quota of {:.2} CPUs ({})",
            self.cpus(),
            self.file.display()
        )
    }
}

impl Parallelism {
    /// Returns the number of workers; at least 1.
    #[must_use]
    pub fn get(&self) -> usize {
        self.workers.get()
    }

    /// Returns every limit that was found, whether it decided or not.
    #[must_use]
    pub fn reasons(&self) -> &[Reason] {
        &self.reasons
    }

    /// Returns the limit that decided; the first of equals.
    #[must_use]
    pub fn decisive(&self) -> Option<&Reason> {
        self.reasons.iter().min_by_key(|reason| reason.workers)
    }
}

impl fmt::Display for Parallelism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.workers)?;
        match self.decisive() {
            Some(reason) => write!(f, ", by {}", reason.what),
            None => write!(f, ", because no limit could be read"),
        }
    }
}

/// Returns how many workers can run at once: the CPUs of the affinity mask and cpuset, or the
/// smallest CPU quota rounded up if that is less; never under 1. [`Limits`] does the same for
/// repeated reading.
#[must_use]
pub fn available_parallelism() -> Parallelism {
    Limits::read().available_parallelism()
}

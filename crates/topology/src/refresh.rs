//! A machine that changes while it is used: CPUs that go on or off line, limits that move.
//!
//! Linux moves a thread elsewhere when the last CPU that it is bound to goes off line, and forgets
//! the binding. The owner of a placement reads the machine again ([`Topology::refresh`]), learns
//! what changed, plans anew if a worker is [stranded](Plan::stranded), and binds again those that
//! have [moved](Plan::moved).

use crate::{CpuSet, Error, Limits, Plan, Source, Topology};
use core::fmt;

/// A machine read again, and what is different.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refreshed {
    /// The machine as it is now.
    pub machine: Topology,
    /// What has changed since; empty if nothing has.
    pub changes: Vec<Change>,
}

/// Something about a machine that has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// These CPUs were online and are not.
    WentOffline(CpuSet),
    /// These CPUs are online and were not.
    CameOnline(CpuSet),
    /// These CPUs are online, and this process may use them no longer.
    Forbidden(CpuSet),
    /// These CPUs were online, and this process may use them now.
    Allowed(CpuSet),
    /// CPUs that are online before and after share other things, a line for each difference.
    Rearranged(Vec<String>),
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WentOffline(cpus) => write!(f, "{} went offline", cpus.in_words()),
            Self::CameOnline(cpus) => write!(f, "{} came online", cpus.in_words()),
            Self::Forbidden(cpus) => write!(f, "{} may not be used any more", cpus.in_words()),
            Self::Allowed(cpus) => write!(f, "{} may be used now", cpus.in_words()),
            Self::Rearranged(lines) => write!(f, "parts are arranged anew: {}", lines.join("; ")),
        }
    }
}

impl Topology {
    /// Reads the machine again from where it came from, and says what has changed.
    ///
    /// - The live machine gets those CPUs as allowed that `limits`, refreshed by the caller, leave.
    /// - A captured tree gets all that are online.
    /// - A machine that was described in words stays as it is.
    ///
    /// # Errors
    /// As [`Topology::from_sysfs`]; and [`Error::Inconsistent`] if the limits leave no CPU that is
    /// online.
    pub fn refresh(&self, limits: &Limits) -> Result<Refreshed, Error> {
        let machine = match self.source() {
            Source::Sysfs(root) if root.as_os_str() == "/" => {
                Self::from_sysfs(root)?.with_limits(limits)?
            }
            Source::Sysfs(root) => Self::from_sysfs(root)?,
            _ => self.clone(),
        };
        let changes = self.changes_to(&machine);
        Ok(Refreshed { machine, changes })
    }

    /// Returns what has changed from this machine to a `later` reading of it.
    #[must_use]
    pub fn changes_to(&self, later: &Self) -> Vec<Change> {
        let mut changes = Vec::new();
        let mut add = |change: fn(CpuSet) -> Change, cpus: CpuSet| {
            if !cpus.is_empty() {
                changes.push(change(cpus));
            }
        };
        let both = self.online() & later.online();
        add(Change::WentOffline, self.online() - later.online());
        add(Change::CameOnline, later.online() - self.online());
        add(
            Change::Forbidden,
            &(self.allowed() - later.allowed()) & &both,
        );
        add(Change::Allowed, &(later.allowed() - self.allowed()) & &both);
        if self.online() == later.online() {
            let parts = self.differences(later);
            let of_sets =
                |line: &String| line.starts_with("allowed") || line.starts_with("offline");
            let parts: Vec<String> = parts.into_iter().filter(|line| !of_sets(line)).collect();
            if !parts.is_empty() {
                changes.push(Change::Rearranged(parts));
            }
        }
        changes
    }
}

impl Plan {
    /// Returns the workers with a seat that has a CPU which is offline on `machine`, or not
    /// allowed: their binding does not hold, or will not when it is made again.
    #[must_use]
    pub fn stranded(&self, machine: &Topology) -> Vec<usize> {
        let stranded = |worker: &usize| !self.seats()[*worker].cpus.is_subset(machine.allowed());
        (0..self.seats().len()).filter(stranded).collect()
    }

    /// Returns the workers whose seat in the `later` plan is another: those that have to be bound
    /// again. A worker that only one of the plans has counts.
    #[must_use]
    pub fn moved(&self, later: &Self) -> Vec<usize> {
        let count = self.seats().len().max(later.seats().len());
        let moved = |worker: &usize| self.seats().get(*worker) != later.seats().get(*worker);
        (0..count).filter(moved).collect()
    }
}

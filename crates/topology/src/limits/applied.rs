//! The limits of this process applied to a machine.

use super::Limits;
use crate::{Error, Source, Topology};
use std::path::PathBuf;

impl Topology {
    /// Returns the same machine with those CPUs allowed that `limits` leaves, whichever were
    /// before: for following limits that change. Where no limit is known, all stay as they are.
    ///
    /// # Errors
    /// [`Error::Inconsistent`] if none of the CPUs left is online.
    pub fn with_limits(mut self, limits: &Limits) -> Result<Self, Error> {
        if limits.affinity().is_err() && limits.cpuset().is_none() {
            return Ok(self);
        }
        let usable = limits.usable_cpus();
        let allowed = self.online() & &usable;
        if allowed.is_empty() {
            let root = match self.source() {
                Source::Sysfs(root) => root.clone(),
                _ => PathBuf::new(),
            };
            let what = format!(
                "this process may use {}, of which none is online (online: {})",
                usable.in_words(),
                self.online()
            );
            return Err(Error::inconsistent(&root, what));
        }
        self.set_allowed(allowed);
        Ok(self)
    }
}

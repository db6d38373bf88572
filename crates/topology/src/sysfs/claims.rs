//! What every CPU says of those it shares something with, put together into sets that do not
//! overlap.
//!
//! Each CPU has a file of its own that should hold the same set as those of the others in that set.
//! Where they differ, a set counts that at least half of its members claim, the most claimed first;
//! of the CPUs that remain, those stay together that name each other.

use super::files::Found;
use crate::note::Notes;
use crate::{CpuSet, Error};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;

/// The claims of one level, such as the cores or the L2 caches.
#[derive(Debug, Default)]
pub(super) struct Claims {
    of: BTreeMap<usize, Found>,
}

impl Claims {
    pub(super) fn insert(&mut self, cpu: usize, found: Found) {
        self.of.insert(cpu, found);
    }

    /// Takes what `cpu` found for all of the set, of those that are `online`.
    pub(super) fn insert_for_all(&mut self, cpu: usize, found: Found, online: &CpuSet) {
        for other in (&*found.cpus & online).iter() {
            self.of.entry(other).or_insert_with(|| found.clone());
        }
        self.of.insert(cpu, found);
    }

    pub(super) fn set_of(&self, cpu: usize) -> Option<&CpuSet> {
        self.of.get(&cpu).map(|found| &*found.cpus)
    }

    pub(super) fn contains(&self, cpu: usize) -> bool {
        self.of.contains_key(&cpu)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.of.is_empty()
    }

    /// Returns the sets, by lowest CPU; together they hold every CPU that has a claim. `path` is
    /// where the file of a CPU is.
    pub(super) fn sets(
        mut self,
        online: &CpuSet,
        path: impl Fn(usize, &str) -> PathBuf,
        notes: &mut Notes,
    ) -> Result<Vec<CpuSet>, Error> {
        self.restrict(online, &path, notes)?;
        let mut free: CpuSet = self.of.keys().copied().collect();
        let mut sets = self.majorities(&mut free);
        while let Some(cpu) = free.first() {
            let cpus = &self.of[&cpu].cpus;
            let names_it = |other: &usize| self.of[other].cpus.contains(cpu);
            let mutual: CpuSet = (&**cpus & &free).iter().filter(names_it).collect();
            free = &free - &mutual;
            sets.push(mutual);
        }
        for set in &sets {
            for member in set.iter() {
                let Found { cpus, file, .. } = &self.of[&member];
                if **cpus != *set {
                    let what = format!("{cpus} is not what the CPUs in it say");
                    let doubt = Error::inconsistent(&path(member, file), what);
                    notes.doubt(doubt, "what most of them say was taken")?;
                }
            }
        }
        sets.sort_by_key(CpuSet::first);
        Ok(sets)
    }

    /// Takes out of `free` the sets that at least half of their members claim.
    fn majorities(&self, free: &mut CpuSet) -> Vec<CpuSet> {
        let mut support: BTreeMap<&CpuSet, usize> = BTreeMap::new();
        // Neighbours mostly share a set: one lookup for each run of them.
        let mut last: Option<(&Rc<CpuSet>, usize)> = None;
        for Found { cpus, .. } in self.of.values() {
            match &mut last {
                Some((set, count)) if Rc::ptr_eq(set, cpus) => *count += 1,
                _ => {
                    if let Some((set, count)) = last.replace((cpus, 1)) {
                        *support.entry(set).or_default() += count;
                    }
                }
            }
        }
        if let Some((set, count)) = last {
            *support.entry(set).or_default() += count;
        }
        let mut sets: Vec<(&CpuSet, usize)> = support.into_iter().collect();
        sets.retain(|(set, count)| count * 2 >= set.len());
        // Most trusted first: the part of its members that claim it, then its size.
        sets.sort_by(|(a, x), (b, y)| {
            (y * a.len())
                .cmp(&(x * b.len()))
                .then(b.len().cmp(&a.len()))
        });
        let mut taken = Vec::new();
        for (set, _) in sets {
            if set.is_subset(free) {
                *free = &*free - set;
                taken.push(set.clone());
            }
        }
        taken
    }

    /// Leaves out of every claim the CPUs that are not online or claim nothing, and adds its own
    /// CPU.
    fn restrict(
        &mut self,
        online: &CpuSet,
        path: &impl Fn(usize, &str) -> PathBuf,
        notes: &mut Notes,
    ) -> Result<(), Error> {
        let claiming: CpuSet = self.of.keys().copied().collect();
        // By address, so that a set that many CPUs share is cut once and still shared.
        let mut cut: BTreeMap<*const CpuSet, Rc<CpuSet>> = BTreeMap::new();
        let mut kept = Vec::new();
        for (&cpu, found) in &mut self.of {
            let Found {
                cpus,
                foreign,
                file,
            } = found;
            if let Some(other) = *foreign {
                let what = format!("CPU {other} is named and is not online ({online})");
                let doubt = Error::inconsistent(&path(cpu, file), what);
                notes.doubt(doubt, "CPUs that are not online were left out")?;
            }
            if !cpus.contains(cpu) {
                let what = format!("{} does not name CPU {cpu} itself", cpus.in_words());
                let doubt = Error::inconsistent(&path(cpu, file), what);
                notes.doubt(doubt, "the CPU was added")?;
                let mut whole = &**cpus & &claiming;
                whole.insert(cpu);
                *cpus = Rc::new(whole);
            } else if !cpus.is_subset(&claiming) {
                let address = Rc::as_ptr(cpus);
                let short = cut
                    .entry(address)
                    .or_insert_with(|| Rc::new(&**cpus & &claiming));
                kept.push(core::mem::replace(cpus, Rc::clone(short)));
            }
        }
        Ok(())
    }
}

/// Cuts every set at the borders of those above it, which are disjoint. `place` is the file of a
/// CPU that says what is in the set.
pub(super) fn cut(
    sets: Vec<CpuSet>,
    above: &[CpuSet],
    what: &str,
    place: impl Fn(usize) -> PathBuf,
    notes: &mut Notes,
) -> Result<Vec<CpuSet>, Error> {
    let mut index_of: BTreeMap<usize, usize> = BTreeMap::new();
    for (index, set) in above.iter().enumerate() {
        index_of.extend(set.iter().map(|cpu| (cpu, index)));
    }
    let mut pieces = Vec::new();
    for set in sets {
        let mut by_border: BTreeMap<Option<usize>, CpuSet> = BTreeMap::new();
        for cpu in set.iter() {
            let border = index_of.get(&cpu).copied();
            by_border.entry(border).or_default().insert(cpu);
        }
        if by_border.len() > 1 {
            let what = format!(
                "the {what} of {} crosses the border of the level above it",
                set.in_words()
            );
            let doubt = Error::inconsistent(&place(set.first().unwrap_or(0)), what);
            notes.doubt(doubt, "it was cut there")?;
        }
        pieces.extend(by_border.into_values());
    }
    pieces.sort_by_key(CpuSet::first);
    Ok(pieces)
}

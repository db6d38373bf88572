//! Which CPUs there are, and the levels above them: cores, clusters, dies, packages.

use super::claims::{Claims, cut};
use super::files::{Files, THOROUGH_UP_TO};
use crate::bounded::numbered;
use crate::topology::{Draft, Group};
use crate::{CpuSet, Error};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Finds the CPUs that are online and those that are switched off.
pub(super) fn find(files: &mut Files<'_>, draft: &mut Draft) -> Result<(), Error> {
    let root = files.cpu_root();
    let there = files.notes.accept(
        numbered(&root, "cpu"),
        "no directory of a CPU was looked at",
    )?;
    let there: CpuSet = there.flatten().unwrap_or_default().into_iter().collect();
    let path = root.join("online");
    let listed = match files.list(&path) {
        Ok(set) if set.is_empty() => Err(Error::malformed(
            &path,
            "the list is empty: no CPU is online",
        )),
        other => other,
    };
    let online = match listed {
        Ok(online) => existing(files, online, &there)?,
        Err(error) => scanned(files, &there, error)?,
    };
    files.expect(online.len());
    let described: CpuSet = online
        .iter()
        .filter(|cpu| !files.thorough || root.join(format!("cpu{cpu}/topology")).is_dir())
        .collect();
    draft.online = match described.is_empty() || described == online {
        true => online,
        false => {
            let cpu = (&online - &described).first().unwrap_or(0);
            let doubt = missing(&root.join(format!("cpu{cpu}/topology")));
            files.notes.doubt(
                doubt,
                "CPUs without it were taken to be offline, as the kernel has it",
            )?;
            described
        }
    };
    let present = crate::bounded::optional(files.list(&root.join("present")));
    let present = files
        .notes
        .accept(present, "the CPUs with a directory were taken")?
        .flatten();
    let present = present.unwrap_or(there);
    if let Some(cpu) = (&draft.online - &present).first() {
        let what = format!("CPU {cpu} is not in it ({present}) and is online");
        let doubt = Error::inconsistent(&root.join("present"), what);
        files.notes.doubt(doubt, "the CPU was taken to be online")?;
    }
    draft.offline = &present - &draft.online;
    files.online = draft.online.clone();
    Ok(())
}

fn missing(path: &Path) -> Error {
    Error::read(path, &std::io::ErrorKind::NotFound.into())
}

/// Returns the listed CPUs that can be: not above the kernel's largest number, and with a directory
/// where CPUs have any.
fn existing(files: &mut Files<'_>, listed: CpuSet, there: &CpuSet) -> Result<CpuSet, Error> {
    let root = files.cpu_root();
    let mut online = listed;
    let largest =
        files.number::<usize>(&root.join("kernel_max"), "no largest number was assumed")?;
    if let (Some(largest), Some(last)) = (largest, online.last())
        && last > largest
    {
        let what = format!("CPU {last} is above the kernel's largest number, {largest}");
        let doubt = Error::inconsistent(&root.join("online"), what);
        files.notes.doubt(doubt, "CPUs above it were left out")?;
        online = online.iter().filter(|&cpu| cpu <= largest).collect();
    }
    for cpu in online.iter().filter(|_| online.len() <= THOROUGH_UP_TO) {
        let path = root.join(format!("cpu{cpu}/online"));
        if files.number::<u8>(&path, "the list of all CPUs decides")? == Some(0) {
            let doubt =
                Error::inconsistent(&path, "it says that the CPU is off, and the list says on");
            files.notes.doubt(doubt, "the list of all CPUs decides")?;
        }
    }
    if let Some(cpu) = (&online - there).first()
        && !there.is_disjoint(&online)
    {
        let doubt = missing(&root.join(format!("cpu{cpu}")));
        files
            .notes
            .doubt(doubt, "CPUs without a directory were left out")?;
        online = &online & there;
    }
    Ok(online)
}

/// Returns the CPUs with a directory that does not say that they are off; else those of the next
/// list. `error` is why the list of online CPUs can't be had.
fn scanned(files: &mut Files<'_>, there: &CpuSet, error: Error) -> Result<CpuSet, Error> {
    let root = files.cpu_root();
    let mut online = CpuSet::new();
    for cpu in there.iter() {
        let path = root.join(format!("cpu{cpu}/online"));
        if files.number::<u8>(&path, "the CPU was taken to be online")? != Some(0) {
            online.insert(cpu);
        }
    }
    if !online.is_empty() {
        files.notes.doubt(
            error,
            "the CPUs with a directory were taken, but for those that are switched off",
        )?;
        return Ok(online);
    }
    for (name, assumed) in [
        ("present", "the CPUs that are present were taken"),
        ("possible", "the CPUs that are possible were taken"),
    ] {
        match files.list(&root.join(name)) {
            Ok(set) if !set.is_empty() => {
                files.notes.doubt(error, assumed)?;
                return Ok(set);
            }
            _ => {}
        }
    }
    Err(error)
}

/// The levels that other readers of this tree need.
#[derive(Debug)]
pub(super) struct Levels {
    pub(super) cores: Vec<CpuSet>,
}

/// What each CPU says of itself.
#[derive(Debug, Default)]
struct Said {
    packages: BTreeMap<usize, u32>,
    dies: BTreeMap<usize, u32>,
    clusters: BTreeMap<usize, u32>,
    cores: BTreeMap<usize, u32>,
    package_sets: Claims,
    die_sets: Claims,
    cluster_sets: Claims,
    core_sets: Claims,
}

const PACKAGE_SETS: [(&str, &str); 2] = [
    ("package_cpus_list", "package_cpus"),
    ("core_siblings_list", "core_siblings"),
];
const CORE_SETS: [(&str, &str); 2] = [
    ("core_cpus_list", "core_cpus"),
    // The name before Linux 5.3, still there.
    ("thread_siblings_list", "thread_siblings"),
];

/// Reads packages, dies, clusters and cores into the draft.
pub(super) fn levels(files: &mut Files<'_>, draft: &mut Draft) -> Result<Levels, Error> {
    let root = files.cpu_root();
    let mut said = Said::default();
    for cpu in draft.online.iter() {
        let directory = root.join(format!("cpu{cpu}/topology"));
        if files.thorough || !said.core_sets.contains(cpu) {
            said.listen(files, cpu, &directory, &draft.online)?;
        }
    }
    let path = |cpu: usize, file: &str| root.join(format!("cpu{cpu}/topology/{file}"));
    let online = &draft.online;
    let packages = said.packages(online, &path, files)?;
    let package_sets: Vec<CpuSet> = packages.iter().map(|group| group.cpus.clone()).collect();
    let dies = said.dies(online, &package_sets, &path, files)?;
    let clusters = said.clusters(online, &package_sets, &dies, &path, files)?;
    let borders = match dies.is_empty() {
        true => &package_sets,
        false => &dies,
    };
    let clusters = cut(
        clusters,
        borders,
        "cluster",
        |cpu| path(cpu, "cluster_id"),
        &mut files.notes,
    )?;
    let cores = said.cores(online, &path, files)?;
    let cores = cut(
        cores,
        &package_sets,
        "core",
        |cpu| path(cpu, "core_cpus_list"),
        &mut files.notes,
    )?;
    let cores = cut(
        cores,
        borders,
        "core",
        |cpu| path(cpu, "core_cpus_list"),
        &mut files.notes,
    )?;
    let core = |cpus: &CpuSet| Group {
        id: cpus
            .first()
            .and_then(|first| said.cores.get(&first).copied()),
        cpus: cpus.clone(),
    };
    draft.cores = cores.iter().map(core).collect();
    draft.packages = packages;
    draft.dies = dies;
    draft.clusters = clusters;
    Ok(Levels { cores })
}

impl Said {
    /// Hears what `cpu` says of itself; where not thorough, as word for its siblings too.
    fn listen(
        &mut self,
        files: &mut Files<'_>,
        cpu: usize,
        directory: &Path,
        online: &CpuSet,
    ) -> Result<(), Error> {
        match files.cpus(directory, &CORE_SETS)? {
            Some(found) if files.thorough => self.core_sets.insert(cpu, found),
            Some(found) => self.core_sets.insert_for_all(cpu, found, online),
            None => {
                let doubt = missing(&directory.join("thread_siblings_list"));
                files.notes.doubt(doubt, "the CPU was taken for a core")?;
            }
        }
        let spoken_for = match files.thorough {
            true => None,
            false => self.core_sets.set_of(cpu).map(|set| set & online),
        };
        let siblings = spoken_for.unwrap_or_else(|| CpuSet::from([cpu]));
        let path = directory.join("physical_package_id");
        match files.id(&path, NO_PACKAGE)? {
            Some(package) => self
                .packages
                .extend(siblings.iter().map(|cpu| (cpu, package))),
            None if path.exists() => {}
            None => files.notes.doubt(missing(&path), NO_PACKAGE)?,
        }
        if files.thorough {
            if let Some(found) = files.cpus(directory, &PACKAGE_SETS)? {
                self.package_sets.insert(cpu, found);
            }
        } else if !self.package_sets.contains(cpu)
            && let Some(found) = files.cpus(directory, &PACKAGE_SETS)?
        {
            self.package_sets.insert_for_all(cpu, found, online);
        }
        for (name, set, ids, sets) in [
            (
                "die_id",
                ("die_cpus_list", "die_cpus"),
                &mut self.dies,
                &mut self.die_sets,
            ),
            (
                "cluster_id",
                ("cluster_cpus_list", "cluster_cpus"),
                &mut self.clusters,
                &mut self.cluster_sets,
            ),
        ] {
            let path = directory.join(name);
            if let Some(id) = files.id(&path, "the set of CPUs decides")? {
                ids.extend(siblings.iter().map(|cpu| (cpu, id)));
            } else if path.exists()
                && let Some(found) = files.cpus(directory, &[set])?
            {
                sets.insert_for_all(cpu, found, &siblings);
            }
        }
        let path = directory.join("core_id");
        match files.id(&path, "the core has no number")? {
            Some(id) => self.cores.extend(siblings.iter().map(|cpu| (cpu, id))),
            None if path.exists() => {}
            None => files
                .notes
                .doubt(missing(&path), "the core has no number")?,
        }
        Ok(())
    }

    /// Makes packages of the sets, without those of the ids, and without either one for all.
    fn packages(
        &mut self,
        online: &CpuSet,
        path: &impl Fn(usize, &str) -> PathBuf,
        files: &mut Files<'_>,
    ) -> Result<Vec<Group>, Error> {
        let sets = core::mem::take(&mut self.package_sets);
        let mut packages = Vec::new();
        let mut known = CpuSet::new();
        for cpus in sets.sets(online, path, &mut files.notes)? {
            known = &known | &cpus;
            let id = self.package_id(&cpus, path, files)?;
            packages.push(Group { id, cpus });
        }
        let mut by_id: BTreeMap<u32, CpuSet> = BTreeMap::new();
        for (&cpu, &id) in self
            .packages
            .iter()
            .filter(|(cpu, _)| !known.contains(**cpu))
        {
            by_id.entry(id).or_default().insert(cpu);
        }
        packages.extend(
            by_id
                .into_iter()
                .map(|(id, cpus)| Group { id: Some(id), cpus }),
        );
        let all = packages
            .iter()
            .fold(CpuSet::new(), |all, group| &all | &group.cpus);
        let rest = online - &all;
        if !rest.is_empty() {
            let found = format!("{} give no package", rest.in_words());
            let place = files.cpu_root();
            files
                .notes
                .unsaid(Some(&place), &found, "one package was assumed for them");
            packages.push(Group {
                id: None,
                cpus: rest,
            });
        }
        Ok(packages)
    }

    /// Returns the number of the package of these CPUs: that of the first, which the others should
    /// have too.
    fn package_id(
        &self,
        cpus: &CpuSet,
        path: &impl Fn(usize, &str) -> PathBuf,
        files: &mut Files<'_>,
    ) -> Result<Option<u32>, Error> {
        let ids = || {
            cpus.iter()
                .map(|cpu| (cpu, self.packages.get(&cpu).copied()))
        };
        let id = ids().next().and_then(|(_, id)| id);
        if let Some((cpu, other)) = ids().find(|&(_, other)| other != id) {
            let number = |id: Option<u32>| id.map_or("no number".into(), |id| id.to_string());
            let (own, first) = (number(other), number(id));
            let what = format!("{own} is not the {first} of the first CPU of its package ({cpus})");
            let doubt = Error::inconsistent(&path(cpu, "physical_package_id"), what);
            files.notes.doubt(doubt, NO_PACKAGE)?;
        }
        Ok(id)
    }

    fn dies(
        &mut self,
        online: &CpuSet,
        packages: &[CpuSet],
        path: &impl Fn(usize, &str) -> PathBuf,
        files: &mut Files<'_>,
    ) -> Result<Vec<CpuSet>, Error> {
        let mut by_id: BTreeMap<(usize, u32), CpuSet> = BTreeMap::new();
        let package_of = index_of(packages);
        for (cpu, die) in &self.dies {
            by_id
                .entry((package_of[cpu], *die))
                .or_default()
                .insert(*cpu);
        }
        let mut dies: Vec<CpuSet> = by_id.into_values().collect();
        if !self.die_sets.is_empty() {
            let known: CpuSet = self.dies.keys().copied().collect();
            let sets = core::mem::take(&mut self.die_sets);
            let sets = sets.sets(&(online - &known), path, &mut files.notes)?;
            // Where firmware names no dies, the kernel makes each CPU one.
            dies.extend(sets.into_iter().filter(|set| set.len() > 1));
        }
        cut(
            dies,
            packages,
            "die",
            |cpu| path(cpu, "die_cpus_list"),
            &mut files.notes,
        )
    }

    fn clusters(
        &mut self,
        online: &CpuSet,
        packages: &[CpuSet],
        dies: &[CpuSet],
        path: &impl Fn(usize, &str) -> PathBuf,
        files: &mut Files<'_>,
    ) -> Result<Vec<CpuSet>, Error> {
        // By package, die and cluster: firmware may number clusters anew in every die.
        let mut by_id: BTreeMap<(usize, Option<usize>, u32), CpuSet> = BTreeMap::new();
        let (package_of, die_of) = (index_of(packages), index_of(dies));
        for (cpu, cluster) in &self.clusters {
            let key = (package_of[cpu], die_of.get(cpu).copied(), *cluster);
            by_id.entry(key).or_default().insert(*cpu);
        }
        let mut clusters: Vec<CpuSet> = by_id.into_values().collect();
        if !self.cluster_sets.is_empty() {
            let known: CpuSet = self.clusters.keys().copied().collect();
            let sets = core::mem::take(&mut self.cluster_sets);
            clusters.extend(sets.sets(&(online - &known), path, &mut files.notes)?);
        }
        clusters.retain(|set| set.len() > 1);
        Ok(clusters)
    }

    fn cores(
        &mut self,
        online: &CpuSet,
        path: &impl Fn(usize, &str) -> PathBuf,
        files: &mut Files<'_>,
    ) -> Result<Vec<CpuSet>, Error> {
        let sets = core::mem::take(&mut self.core_sets);
        let sets = sets.sets(online, path, &mut files.notes)?;
        let mut cores = Vec::new();
        for set in sets {
            match self.is_compute_unit(&set) {
                true => cores.extend(set.iter().map(|cpu| CpuSet::from([cpu]))),
                false => cores.push(set),
            }
        }
        let named = cores.iter().fold(CpuSet::new(), |all, set| &all | set);
        cores.extend((online - &named).iter().map(|cpu| CpuSet::from([cpu])));
        cores.sort_by_key(CpuSet::first);
        Ok(cores)
    }

    /// Whether the siblings are cores of their own: AMD's compute units share caches and a
    /// floating-point unit, and each of their threads has another core number.
    fn is_compute_unit(&self, siblings: &CpuSet) -> bool {
        let ids: Option<Vec<u32>> = siblings
            .iter()
            .map(|cpu| self.cores.get(&cpu).copied())
            .collect();
        let Some(mut ids) = ids.filter(|ids| ids.len() > 1) else {
            return false;
        };
        ids.sort_unstable();
        ids.windows(2).all(|pair| pair[0] != pair[1])
    }
}

const NO_PACKAGE: &str = "the set of CPUs in the package decides";

fn index_of(sets: &[CpuSet]) -> BTreeMap<usize, usize> {
    let pairs = |(index, set): (usize, &CpuSet)| {
        set.iter().map(move |cpu| (cpu, index)).collect::<Vec<_>>()
    };
    sets.iter().enumerate().flat_map(pairs).collect()
}

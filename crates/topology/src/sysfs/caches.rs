//! Caches, from the directory of each CPU that shares them.

use super::claims::Claims;
use super::files::{Files, Found};
use crate::bounded::{SYSFS_LIMIT, numbered, optional, read as read_text};
use crate::error::quoted;
use crate::topology::{Draft, DraftCache};
use crate::{CacheKind, CpuSet, Error};
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

const LEFT_OUT: &str = "the cache was left out";

/// What is known of the caches of one level and kind.
#[derive(Default)]
struct Level {
    claims: Claims,
    sizes: BTreeMap<usize, u64>,
}

/// Where not thorough: what needs no reading because another CPU has said it.
#[derive(Default)]
struct Spoken {
    /// The numbers of the caches of each CPU.
    indexes: BTreeMap<usize, Vec<usize>>,
    /// The CPUs whose cache of a number is known.
    of: BTreeMap<usize, CpuSet>,
}

/// Reads the caches of all CPUs into the draft. `cores` stands for a sharing set that is empty, as
/// Itaniums have it.
pub(super) fn read(
    files: &mut Files<'_>,
    draft: &mut Draft,
    cores: &[CpuSet],
) -> Result<(), Error> {
    let root = files.cpu_root();
    let mut levels: BTreeMap<(u8, CacheKind), Level> = BTreeMap::new();
    let mut without = CpuSet::new();
    let core_of: BTreeMap<usize, &CpuSet> = cores
        .iter()
        .flat_map(|core| core.iter().map(move |cpu| (cpu, core)))
        .collect();
    let mut spoken = Spoken::default();
    for cpu in draft.online.iter() {
        let directory = root.join(format!("cpu{cpu}/cache"));
        let core = core_of.get(&cpu).copied();
        let first = core.and_then(CpuSet::first);
        let first = first.filter(|&first| !files.thorough && first != cpu);
        let indexes = match first.and_then(|first| spoken.indexes.get(&first)) {
            Some(indexes) => indexes.clone(),
            None => {
                let indexes = numbered(&directory, "index");
                let indexes = files.notes.accept(indexes, LEFT_OUT)?;
                indexes.flatten().unwrap_or_default()
            }
        };
        if !files.thorough {
            spoken.indexes.insert(cpu, indexes.clone());
        }
        if indexes.is_empty() {
            without.insert(cpu);
        }
        for index in indexes {
            let at = directory.join(format!("index{index}"));
            if !files.thorough && spoken.of.get(&index).is_some_and(|of| of.contains(cpu)) {
                continue;
            }
            if let Some(shared) = one(files, &mut levels, cpu, index, &at, core, &draft.online)? {
                let of = spoken.of.entry(index).or_default();
                *of = &*of | &*shared;
            }
        }
    }
    if !without.is_empty() {
        let found = format!("no caches are described for {}", without.in_words());
        files.notes.unsaid(Some(&root), &found, "none were assumed");
    }
    for ((level, kind), Level { claims, sizes }) in levels {
        let path = |cpu: usize, file: &str| root.join(format!("cpu{cpu}/cache/{file}"));
        for cpus in claims.sets(&draft.online, path, &mut files.notes)? {
            let size = cpus.iter().find_map(|cpu| sizes.get(&cpu).copied());
            let other = |&cpu: &usize| sizes.get(&cpu).is_some_and(|own| Some(*own) != size);
            if let Some(cpu) = cpus.iter().find(other) {
                let what = format!(
                    "the size of the L{level} {kind:?} cache of CPU {cpu} is not that of others that share it"
                );
                let doubt = Error::inconsistent(&root.join(format!("cpu{cpu}/cache")), what);
                files
                    .notes
                    .doubt(doubt, "the size that the first of them gives was taken")?;
            }
            draft.caches.push(DraftCache {
                level,
                kind,
                size,
                cpus,
            });
        }
    }
    Ok(())
}

/// Reads one cache of a CPU; gives the CPUs that share it.
fn one(
    files: &mut Files<'_>,
    levels: &mut BTreeMap<(u8, CacheKind), Level>,
    cpu: usize,
    index: usize,
    at: &Path,
    core: Option<&CpuSet>,
    online: &CpuSet,
) -> Result<Option<Rc<CpuSet>>, Error> {
    let level = super::files::number::<u8>(&at.join("level"));
    let Some(level) = files.notes.accept(level, LEFT_OUT)? else {
        return Ok(None);
    };
    let Some(kind) = kind(files, &at.join("type"))? else {
        return Ok(None);
    };
    let names = [("shared_cpu_list", "shared_cpu_map")];
    let Some(mut found) = files.cpus(at, &names)? else {
        let doubt = Error::read(&at.join(names[0].0), &std::io::ErrorKind::NotFound.into());
        files.notes.doubt(doubt, LEFT_OUT)?;
        return Ok(None);
    };
    if found.cpus.is_empty()
        && let Some(core) = core
    {
        let doubt = Error::malformed(&at.join(&*found.file), "no CPU shares the cache");
        files.notes.doubt(doubt, "the CPUs of the core share it")?;
        found.cpus = Rc::new(core.clone());
    }
    let file = format!("index{index}/{}", found.file).into();
    let found = Found { file, ..found };
    let size = size(files, &at.join("size"))?;
    let entry = levels.entry((level, kind)).or_default();
    let shared = Rc::clone(&found.cpus);
    if files.thorough && entry.claims.contains(cpu) {
        let what = format!("a second L{level} {kind:?} cache of CPU {cpu}");
        files
            .notes
            .doubt(Error::inconsistent(&at.join("level"), what), LEFT_OUT)?;
        return Ok(None);
    }
    match files.thorough {
        true => entry.claims.insert(cpu, found),
        false => entry.claims.insert_for_all(cpu, found, online),
    }
    entry.sizes.extend(size.map(|size| (cpu, size)));
    Ok(Some(shared))
}

fn kind(files: &mut Files<'_>, path: &Path) -> Result<Option<CacheKind>, Error> {
    let text = read_text(path, SYSFS_LIMIT);
    let kind = text.and_then(|text| match text.as_str() {
        "Data" => Ok(CacheKind::Data),
        "Instruction" => Ok(CacheKind::Instruction),
        "Unified" => Ok(CacheKind::Unified),
        other => {
            let what = format!("{} is not Data, Instruction or Unified", quoted(other));
            Err(Error::malformed(path, what))
        }
    });
    files.notes.accept(kind, LEFT_OUT)
}

/// Reads a size in bytes, as `32K`, `8M` or a plain number; `None` for an unknown one.
fn size(files: &mut Files<'_>, path: &Path) -> Result<Option<u64>, Error> {
    let size = optional(read_text(path, SYSFS_LIMIT)).and_then(|text| {
        let Some(text) = text else {
            return Ok(None);
        };
        let (digits, unit) = match text.as_bytes().last() {
            Some(b'K') => (&text[..text.len() - 1], 1 << 10),
            Some(b'M') => (&text[..text.len() - 1], 1 << 20),
            Some(b'G') => (&text[..text.len() - 1], 1 << 30),
            _ => (text.as_str(), 1),
        };
        let number = digits.parse::<u64>().ok();
        match number.and_then(|number| number.checked_mul(unit)) {
            Some(0) => Err(Error::malformed(
                path,
                format!("a cache of {}", quoted(&text)),
            )),
            Some(bytes) => Ok(Some(bytes)),
            None => {
                let what = format!("{} is not a size such as 32K", quoted(&text));
                Err(Error::malformed(path, what))
            }
        }
    });
    Ok(files.notes.accept(size, "the size is not known")?.flatten())
}

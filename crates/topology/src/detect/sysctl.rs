//! What `sysctl` answers on macOS, turned into a machine. Free of system calls, so that it is
//! tested anywhere.
//!
//! | name | gives |
//! |------|-------|
//! | `hw.logicalcpu`, `hw.physicalcpu`, `hw.packages`, `hw.memsize` | their numbers, bytes |
//! | `hw.nperflevels`, `hw.perflevelN.{logicalcpu,physicalcpu}` | kinds of cores, 0 the fastest |
//! | `hw.perflevelN.{l1d,l1i,l2,l3}cachesize`, `hw.perflevelN.cpusperl{2,3}` | their caches |
//! | `hw.cacheconfig`, `hw.cachesize` | without levels: CPUs of memory, L1, L2, L3; sizes |
//!
//! macOS gives no number of a CPU. Its kernel counts the slowest cores first, as far as is known;
//! CPUs are numbered in that order, which a note says.

use crate::note::Notes;
use crate::topology::{Draft, DraftCache, DraftNode, Group};
use crate::{CacheKind, CpuSet, Error, Source, Topology};
use core::ops::Range;
use std::path::Path;

/// The most CPUs that are believed.
const MOST: u64 = 1 << 12;

/// Reads a machine from the answers: `number` for names with one, `numbers` for names with several.
pub(super) fn machine(
    number: impl Fn(&str) -> Option<u64>,
    numbers: impl Fn(&str) -> Vec<u64>,
) -> Result<Topology, Error> {
    let mut draft = Draft::default();
    let mut notes = Notes::default();
    let levels = number("hw.nperflevels").filter(|&levels| (2..=8).contains(&levels));
    match levels {
        Some(levels) => {
            let found = "sysctl gives no numbers of CPUs";
            notes.unsaid(
                None,
                found,
                "those of slower cores were assumed to come first",
            );
            add_levels(&mut draft, levels, &number);
        }
        None => {
            let (logical, physical) = (number("hw.logicalcpu"), number("hw.physicalcpu"));
            let cpus = add_cpus(&mut draft, logical, physical);
            let (sharing, sizes) = (numbers("hw.cacheconfig"), numbers("hw.cachesize"));
            for level in 1..=3u8 {
                let at = usize::from(level);
                let (width, size) = (sharing.get(at).copied(), sizes.get(at).copied());
                let kind = match level {
                    1 => CacheKind::Data,
                    _ => CacheKind::Unified,
                };
                add_caches(&mut draft, &cpus, (level, kind), width, size);
            }
        }
    }
    let online = draft.online.clone();
    if online.is_empty() {
        return Err(Error::Unsupported {
            what: "sysctl gives no number of CPUs (hw.logicalcpu)",
        });
    }
    let packages = number("hw.packages")
        .filter(|&packages| packages > 0)
        .unwrap_or(1);
    let width = online
        .len()
        .div_ceil(usize::try_from(packages).unwrap_or(1));
    draft.packages = pieces(&(0..online.len()), width)
        .map(|cpus| Group {
            id: None,
            cpus: cpus.collect(),
        })
        .collect();
    draft.nodes.push(DraftNode {
        id: 0,
        cpus: online,
        memory: number("hw.memsize"),
        distances: Vec::new(),
    });
    let source = Source::System("sysctl".into());
    draft.finish(source, Path::new("sysctl"), notes)
}

/// Adds the CPUs, cores and caches of each performance level, the slowest first.
fn add_levels(draft: &mut Draft, levels: u64, number: &impl Fn(&str) -> Option<u64>) {
    for level in (0..levels).rev() {
        let answer = |name: &str| number(&format!("hw.perflevel{level}.{name}"));
        let cpus = add_cpus(draft, answer("logicalcpu"), answer("physicalcpu"));
        let caches = [
            (1, CacheKind::Data, "l1dcachesize", None),
            (1, CacheKind::Instruction, "l1icachesize", None),
            (2, CacheKind::Unified, "l2cachesize", answer("cpusperl2")),
            (3, CacheKind::Unified, "l3cachesize", answer("cpusperl3")),
        ];
        for (cache, kind, size, sharing) in caches {
            let width = sharing.or((cache == 1).then_some(1));
            add_caches(draft, &cpus, (cache, kind), width, answer(size));
        }
        if level > 0 {
            let small = draft.efficiency.take().unwrap_or_default();
            draft.efficiency = Some(&small | &cpus.collect());
        }
    }
}

/// Ranges of `width` CPUs.
fn pieces(cpus: &Range<usize>, width: usize) -> impl Iterator<Item = Range<usize>> {
    let (end, width) = (cpus.end, width.max(1));
    cpus.clone()
        .step_by(width)
        .map(move |start| start..(start + width).min(end))
}

/// Adds CPUs after those that are there, in cores of equal size.
fn add_cpus(draft: &mut Draft, logical: Option<u64>, physical: Option<u64>) -> Range<usize> {
    let count = |number: Option<u64>| {
        let number = number.filter(|number| (1..=MOST).contains(number));
        number.and_then(|number| usize::try_from(number).ok())
    };
    let start = draft.online.len();
    let logical = count(logical).unwrap_or(0);
    let cpus = start..start + logical;
    draft.online.extend(cpus.clone());
    let physical = count(physical).filter(|physical| logical % physical == 0);
    let threads = physical.map_or(1, |physical| logical / physical);
    draft.cores.extend(pieces(&cpus, threads).map(|cpus| Group {
        id: None,
        cpus: cpus.collect(),
    }));
    cpus
}

fn add_caches(
    draft: &mut Draft,
    cpus: &Range<usize>,
    (level, kind): (u8, CacheKind),
    width: Option<u64>,
    size: Option<u64>,
) {
    let width = width
        .and_then(|width| usize::try_from(width).ok())
        .filter(|&width| width > 0);
    let (Some(width), Some(size)) = (width, size.filter(|&size| size > 0)) else {
        return;
    };
    draft
        .caches
        .extend(pieces(cpus, width).map(|cpus| DraftCache {
            level,
            kind,
            size: Some(size),
            cpus: CpuSet::from_iter(cpus),
        }));
}

#[cfg(test)]
mod tests {
    //! Goal: answers of Apple's and Intel's machines become the machines they are of, and nonsense
    //! none. Method: the answers as text, one a line, as `sysctl hw` prints them.

    use super::*;

    /// An M1 Pro: two clusters of four fast cores, and one of two small ones.
    const M1_PRO: &str = "hw.nperflevels: 2
hw.perflevel0.physicalcpu: 8
hw.perflevel0.logicalcpu: 8
hw.perflevel0.l1icachesize: 196608
hw.perflevel0.l1dcachesize: 131072
hw.perflevel0.l2cachesize: 12582912
hw.perflevel0.cpusperl2: 4
hw.perflevel1.physicalcpu: 2
hw.perflevel1.logicalcpu: 2
hw.perflevel1.l1icachesize: 131072
hw.perflevel1.l1dcachesize: 65536
hw.perflevel1.l2cachesize: 4194304
hw.perflevel1.cpusperl2: 2
hw.packages: 1
hw.memsize: 17179869184";

    /// A Core i7 of six cores with two threads.
    const INTEL: &str = "hw.logicalcpu: 12
hw.physicalcpu: 6
hw.packages: 1
hw.memsize: 17179869184
hw.cacheconfig: 12 2 2 12 0 0 0 0 0 0
hw.cachesize: 17179869184 32768 262144 12582912 0 0 0 0 0 0";

    fn read(answers: &str) -> Result<Topology, Error> {
        let numbers = |name: &str| -> Vec<u64> {
            let line = answers
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            let words = line.unwrap_or("").split_whitespace();
            words.filter_map(|word| word.parse().ok()).collect()
        };
        machine(|name| numbers(name).first().copied(), numbers)
    }

    #[test]
    fn performance_levels_and_their_clusters() {
        let machine = read(M1_PRO).expect("ten CPUs");
        assert_eq!((machine.cpus().len(), machine.cores().len()), (10, 10));
        assert_eq!(machine.performance_cpus().to_string(), "2-9");
        let clusters: Vec<String> = machine
            .clusters()
            .iter()
            .map(|c| c.cpus.to_string())
            .collect();
        assert_eq!(clusters, ["0-1", "2-5", "6-9"]);
        let small = machine.cpu(0).and_then(|cpu| machine.data_cache(cpu, 1));
        assert_eq!(small.and_then(|cache| cache.size), Some(65536));
        assert_eq!(machine.nodes()[0].memory, Some(16 << 30));
        assert!(machine.notes()[0].to_string().contains("slower cores"));
    }

    #[test]
    fn equal_cores_by_the_sharing_of_caches() {
        let machine = read(INTEL).expect("twelve CPUs");
        assert_eq!((machine.cpus().len(), machine.cores().len()), (12, 6));
        assert_eq!(machine.caches().len(), 6 + 6 + 1);
        assert!(!machine.is_hybrid());
        let last = machine.last_level_cache(machine.cpu(11).expect("there"));
        assert_eq!(last.and_then(|cache| cache.size), Some(12 << 20));
    }

    #[test]
    fn nonsense_is_an_error_or_costs_its_part() {
        for answers in [
            "",
            "hw.logicalcpu: 0",
            "hw.logicalcpu: 99999999999",
            "hw.nperflevels: 2",
        ] {
            assert!(read(answers).is_err(), "{answers:?}");
        }
        let odd = "hw.logicalcpu: 5\nhw.physicalcpu: 3\nhw.packages: 9\nhw.cacheconfig: 1 0 7";
        let machine = read(odd).expect("five CPUs");
        assert_eq!((machine.cores().len(), machine.packages().len()), (5, 5));
    }
}

//! What Windows answers about its processors, turned into a machine. Free of system calls, so that
//! it is tested anywhere.
//!
//! `GetLogicalProcessorInformationEx` fills a buffer with records, each with its kind and size, of
//! fields in little endian and masks of up to 64 CPUs in a *processor group*. CPU `64 · group +
//! bit` is the CPU of that bit, so that numbers go on above 64.
//!
//! | record | gives |
//! |--------|-------|
//! | 0 core | a core and its efficiency class: the highest is the fastest |
//! | 1 or 6 node | a NUMA node; no memory and no distances |
//! | 2 cache | a cache |
//! | 3 package, 5 die, 7 module | a package, a die, a cluster |
//! | 4 groups | the CPUs that are active |
//!
//! # References
//! Microsoft, `SYSTEM_LOGICAL_PROCESSOR_INFORMATION_EX` and the structures that it holds.

use crate::note::Notes;
use crate::topology::{Draft, DraftCache, DraftNode, Group};
use crate::{CacheKind, CpuSet, Error, Source, Topology};
use std::path::Path;

/// CPUs of a processor group.
const GROUP: usize = 64;

/// The most groups that are believed; Windows has 32 at most.
const MOST_GROUPS: u16 = 64;

/// Reads a machine from the filled buffer, with masks of eight bytes.
pub(super) fn machine(buffer: &[u8]) -> Result<Topology, Error> {
    let mut draft = Draft::default();
    let mut classes: Vec<(u8, CpuSet)> = Vec::new();
    let mut rest = buffer;
    while !rest.is_empty() {
        let record = Record::split(&mut rest)?;
        record.add(&mut draft, &mut classes)?;
    }
    let fastest = classes.iter().map(|(class, _)| *class).max().unwrap_or(0);
    let slower = classes.iter().filter(|(class, _)| *class < fastest);
    let slower = slower.fold(CpuSet::new(), |all, (_, cpus)| &all | cpus);
    draft.efficiency = Some(slower).filter(|slower| !slower.is_empty());
    let online = draft.online.clone();
    let named = |groups: &[Group]| {
        groups
            .iter()
            .fold(CpuSet::new(), |all, group| &all | &group.cpus)
    };
    let rest = &online - &named(&draft.packages);
    if !rest.is_empty() {
        draft.packages.push(Group {
            id: None,
            cpus: rest,
        });
    }
    let alone = &online - &named(&draft.cores);
    let core = |cpu| Group {
        id: None,
        cpus: CpuSet::from([cpu]),
    };
    draft.cores.extend(alone.iter().map(core));
    let source = Source::System("GetLogicalProcessorInformationEx".into());
    draft.finish(
        source,
        Path::new("GetLogicalProcessorInformationEx"),
        Notes::default(),
    )
}

/// A record of the buffer.
struct Record<'a> {
    kind: u32,
    bytes: &'a [u8],
}

fn cut_short() -> Error {
    Error::Unsupported {
        what: "GetLogicalProcessorInformationEx has filled in a record that is cut short",
    }
}

impl<'a> Record<'a> {
    /// Takes the first record off the buffer.
    fn split(rest: &mut &'a [u8]) -> Result<Self, Error> {
        let whole = Record {
            kind: 0,
            bytes: rest,
        };
        let (kind, size) = (whole.number::<4>(0)?, whole.number::<4>(4)?);
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        if size < 8 || size > rest.len() {
            return Err(cut_short());
        }
        let (bytes, after) = rest.split_at(size);
        *rest = after;
        let kind = u32::try_from(kind).unwrap_or(u32::MAX);
        Ok(Self { kind, bytes })
    }

    /// Reads the number of `N` bytes at an offset.
    fn number<const N: usize>(&self, at: usize) -> Result<u64, Error> {
        let bytes = self.bytes.get(at..at + N).ok_or_else(cut_short)?;
        let mut wide = [0; 8];
        wide[..N].copy_from_slice(bytes);
        Ok(u64::from_le_bytes(wide))
    }

    fn byte(&self, at: usize) -> Result<u8, Error> {
        self.bytes.get(at).copied().ok_or_else(cut_short)
    }

    /// Reads the CPUs of the masks at an offset, of which the two bytes at `count` say how many
    /// there are. Systems before Windows 11 have 0 there, and one mask, in records of caches and
    /// nodes.
    fn cpus(&self, count: usize, masks: usize) -> Result<CpuSet, Error> {
        let mut cpus = CpuSet::new();
        for index in 0..usize::try_from(self.number::<2>(count)?.max(1)).unwrap_or(1) {
            let at = masks + index * 16;
            let group = self.number::<2>(at + 8)?;
            let group = u16::try_from(group).unwrap_or(u16::MAX);
            cpus.extend(group_cpus(group, self.number::<8>(at)?)?);
        }
        Ok(cpus)
    }

    fn add(&self, draft: &mut Draft, classes: &mut Vec<(u8, CpuSet)>) -> Result<(), Error> {
        match self.kind {
            0 => {
                let cpus = self.cpus(30, 32)?;
                classes.push((self.byte(9)?, cpus.clone()));
                draft.cores.push(Group { id: None, cpus });
            }
            1 | 6 => {
                let id = u32::try_from(self.number::<4>(8)?).unwrap_or(u32::MAX);
                let cpus = self.cpus(30, 32)?;
                // A node of more than one group may come in both kinds of record.
                if draft.nodes.iter().all(|node| node.id != id) {
                    draft.nodes.push(DraftNode {
                        id,
                        cpus,
                        memory: None,
                        distances: Vec::new(),
                    });
                }
            }
            2 => {
                let kind = match self.number::<4>(16)? {
                    0 => CacheKind::Unified,
                    1 => CacheKind::Instruction,
                    2 => CacheKind::Data,
                    _ => return Ok(()),
                };
                draft.caches.push(DraftCache {
                    level: self.byte(8)?,
                    kind,
                    size: Some(self.number::<4>(12)?).filter(|&size| size > 0),
                    cpus: self.cpus(38, 40)?,
                });
            }
            3 => draft.packages.push(Group {
                id: None,
                cpus: self.cpus(30, 32)?,
            }),
            4 => {
                for group in 0..u16::try_from(self.number::<2>(10)?).unwrap_or(0) {
                    let at = 32 + usize::from(group) * 48;
                    draft
                        .online
                        .extend(group_cpus(group, self.number::<8>(at + 40)?)?);
                }
            }
            5 => draft.dies.push(self.cpus(30, 32)?),
            7 => draft.clusters.push(self.cpus(30, 32)?),
            _ => {}
        }
        Ok(())
    }
}

fn group_cpus(group: u16, mask: u64) -> Result<impl Iterator<Item = usize>, Error> {
    if group >= MOST_GROUPS {
        return Err(Error::Unsupported {
            what: "GetLogicalProcessorInformationEx names a processor group above 63",
        });
    }
    let bits = (0..GROUP).filter(move |bit| mask >> bit & 1 == 1);
    Ok(bits.map(move |bit| usize::from(group) * GROUP + bit))
}

#[cfg(test)]
mod tests {
    //! Goal: the answers of machines of several groups, of hybrid ones, and of older systems become
    //! the machines they are of; a buffer that is cut short is an error. Method: buffers made of
    //! the documented records.

    use super::*;

    /// Builds a record: its kind, its fixed part up to byte 30 or 38, and its masks.
    fn record(kind: u32, fixed: &[(usize, u32)], count_at: usize, masks: &[(u64, u16)]) -> Vec<u8> {
        let start = count_at + 2;
        let mut bytes = vec![0; start + masks.len() * 16];
        let size = u32::try_from(bytes.len()).expect("small");
        for (at, value) in [(0, kind), (4, size)].iter().chain(fixed) {
            bytes[*at..at + 4].copy_from_slice(&value.to_le_bytes());
        }
        bytes[count_at..start].copy_from_slice(&(masks.len() as u16).to_le_bytes());
        for (index, (mask, group)) in masks.iter().enumerate() {
            let at = start + index * 16;
            bytes[at..at + 8].copy_from_slice(&mask.to_le_bytes());
            bytes[at + 8..at + 10].copy_from_slice(&group.to_le_bytes());
        }
        bytes
    }

    fn core(class: u32, mask: u64, group: u16) -> Vec<u8> {
        record(0, &[(8, class << 8)], 30, &[(mask, group)])
    }

    fn groups(masks: &[u64]) -> Vec<u8> {
        let mut bytes = vec![0; 32 + masks.len() * 48];
        let size = u32::try_from(bytes.len()).expect("small");
        bytes[..4].copy_from_slice(&4u32.to_le_bytes());
        bytes[4..8].copy_from_slice(&size.to_le_bytes());
        bytes[10..12].copy_from_slice(&(masks.len() as u16).to_le_bytes());
        for (index, mask) in masks.iter().enumerate() {
            let at = 32 + index * 48 + 40;
            bytes[at..at + 8].copy_from_slice(&mask.to_le_bytes());
        }
        bytes
    }

    #[test]
    fn processor_groups_go_on_above_64() {
        // Two packages of 32 cores with two threads, a group and a node each.
        let mut buffer = Vec::new();
        for group in 0..2u16 {
            buffer.extend(record(3, &[], 30, &[(u64::MAX, group)]));
            buffer.extend(record(
                1,
                &[(8, u32::from(group))],
                30,
                &[(u64::MAX, group)],
            ));
            buffer.extend(record(
                2,
                &[(8, 3), (12, 32 << 20)],
                38,
                &[(u64::MAX, group)],
            ));
            for at in 0..32 {
                buffer.extend(core(0, 0b11 << (2 * at), group));
            }
        }
        buffer.extend(groups(&[u64::MAX, u64::MAX]));
        let machine = machine(&buffer).expect("a sound answer");
        assert_eq!((machine.cpus().len(), machine.cores().len()), (128, 64));
        assert_eq!(machine.nodes()[1].cpus.to_string(), "64-127");
        assert_eq!(machine.caches()[1].size, Some(32 << 20));
        assert!(!machine.is_hybrid());
        // One package over both groups.
        let mut buffer = record(3, &[], 30, &[(1, 0), (1, 1)]);
        buffer.extend(groups(&[1, 1]));
        let machine = super::machine(&buffer).expect("a sound answer");
        assert_eq!(machine.packages()[0].cpus.to_string(), "0,64");
    }

    #[test]
    fn efficiency_classes_below_the_highest_are_small_cores() {
        let mut buffer = Vec::new();
        buffer.extend(core(1, 0b0011, 0));
        buffer.extend(core(0, 0b0100, 0));
        buffer.extend(core(0, 0b1000, 0));
        // As systems before Windows 11 have it: no count, and one mask.
        let mut node = record(1, &[], 30, &[(0b1111, 0)]);
        node[30] = 0;
        buffer.extend(node);
        buffer.extend(groups(&[0b1111]));
        let machine = machine(&buffer).expect("a sound answer");
        assert_eq!(machine.performance_cpus().to_string(), "0-1");
        assert_eq!(machine.nodes()[0].cpus.len(), 4);
    }

    #[test]
    fn an_answer_that_is_cut_short_is_an_error() {
        let mut whole = core(1, 0b11, 0);
        whole.extend(record(2, &[(8, 1)], 38, &[(0b11, 0)]));
        whole.extend(groups(&[0b11]));
        assert!(machine(&whole).is_ok());
        let edges = [core(1, 3, 0).len(), core(1, 3, 0).len() + 56];
        for end in (0..whole.len()).filter(|end| !edges.contains(end)) {
            assert!(machine(&whole[..end]).is_err(), "{end} bytes");
        }
        for at in 0..whole.len() {
            let mut broken = whole.clone();
            broken[at] = 0xff;
            let _ = machine(&broken);
        }
    }
}

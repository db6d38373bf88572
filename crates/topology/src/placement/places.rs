//! Places and binding as OpenMP users know them from `OMP_PLACES` and `OMP_PROC_BIND`.
//!
//! ```text
//! places   = name [ "(" count ")" ] | interval { "," interval }
//! name     = "threads" | "cores" | "ll_caches" | "numa_domains" | "sockets"
//! interval = place [ ":" length [ ":" stride ] ]      length places, a stride apart
//! place    = "{" part { "," part } "}"
//! part     = cpu [ ":" length [ ":" stride ] ]
//! ```
//! `{0:4}:8:4` is eight places of four CPUs: `{0,1,2,3},{4,5,6,7}…`.
//!
//! With T workers and P places:
//!
//! - `primary` puts all workers in the first place;
//! - `close` puts worker i in place i;
//! - `spread` puts worker i in place ⌊i·P/T⌋;
//! - with more workers than places, `close` and `spread` share the places evenly, consecutive
//!   workers together.
//!
//! # References
//! OpenMP 5.2, sections 10.1.3 and 21.1.6. Left out: exclusion by `!`, and negative strides.

use super::order;
use super::{PlacementError, check_sets};
use crate::{CpuSet, Topology};
use core::fmt;
use core::str::FromStr;

/// Places and how workers are put on them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// The places.
    pub list: PlaceList,
    /// How workers are put on them.
    pub bind: Bind,
}

/// What the places are.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PlaceList {
    /// Each hardware thread; at most so many.
    Threads(Option<usize>),
    /// Each core; at most so many.
    Cores(Option<usize>),
    /// Each group of CPUs under one last-level cache; at most so many.
    LastLevelCaches(Option<usize>),
    /// Each NUMA node with CPUs; at most so many.
    NumaDomains(Option<usize>),
    /// Each package; at most so many.
    Sockets(Option<usize>),
    /// These sets.
    Explicit(Vec<CpuSet>),
}

/// How workers are put on places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Bind {
    /// All on the first.
    Primary,
    /// On consecutive places.
    #[default]
    Close,
    /// On places as far apart in the list as can be.
    Spread,
}

/// A text that is not a list of places; says what is wrong and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacesError {
    /// Byte position in the text.
    pub position: usize,
    /// What is wrong there, and what would be right.
    pub what: String,
}

impl fmt::Display for PlacesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "places, at byte {}: {}", self.position, self.what)
    }
}

impl core::error::Error for PlacesError {}

impl Places {
    /// Returns the set of each worker.
    pub(super) fn assign(
        &self,
        topology: &Topology,
        allowed: &CpuSet,
        workers: usize,
    ) -> Result<Vec<CpuSet>, PlacementError> {
        let places = self.list.sets(topology, allowed)?;
        let count = places.len();
        let place = |worker: usize| match self.bind {
            Bind::Primary => 0,
            Bind::Close if workers <= count => worker,
            Bind::Close | Bind::Spread => worker * count / workers,
        };
        if count == 0 && workers > 0 {
            return Err(PlacementError::EmptySet { position: 0 });
        }
        Ok((0..workers)
            .map(|worker| places[place(worker)].clone())
            .collect())
    }
}

impl PlaceList {
    fn sets(&self, topology: &Topology, allowed: &CpuSet) -> Result<Vec<CpuSet>, PlacementError> {
        let usable = |cpus: &CpuSet| Some(cpus & allowed).filter(|set| !set.is_empty());
        let (sets, limit): (Vec<CpuSet>, _) = match self {
            Self::Threads(limit) => {
                let order = order::compact(topology, allowed);
                (
                    order.into_iter().map(|cpu| CpuSet::from([cpu])).collect(),
                    limit,
                )
            }
            Self::Cores(limit) => (order::cores(topology, allowed), limit),
            Self::LastLevelCaches(limit) => {
                let mut sets: Vec<CpuSet> = Vec::new();
                let mut taken = CpuSet::new();
                for cpu in order::compact(topology, allowed) {
                    if taken.contains(cpu) {
                        continue;
                    }
                    let cache = topology
                        .cpu(cpu)
                        .and_then(|cpu| topology.last_level_cache(cpu));
                    let set =
                        cache.map_or_else(|| CpuSet::from([cpu]), |cache| &cache.cpus & allowed);
                    taken = &taken | &set;
                    sets.push(set);
                }
                (sets, limit)
            }
            Self::NumaDomains(limit) => (
                topology
                    .nodes()
                    .iter()
                    .filter_map(|node| usable(&node.cpus))
                    .collect(),
                limit,
            ),
            Self::Sockets(limit) => {
                let packages = topology.packages().iter();
                (
                    packages
                        .filter_map(|package| usable(&package.cpus))
                        .collect(),
                    limit,
                )
            }
            Self::Explicit(sets) => {
                check_sets(topology, allowed, sets)?;
                (sets.clone(), &None)
            }
        };
        Ok(sets.into_iter().take(limit.unwrap_or(usize::MAX)).collect())
    }
}

impl fmt::Display for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |f: &mut fmt::Formatter<'_>, name: &str, limit: &Option<usize>| match limit {
            Some(limit) => write!(f, "{name}({limit})"),
            None => write!(f, "{name}"),
        };
        match &self.list {
            PlaceList::Threads(limit) => name(f, "threads", limit)?,
            PlaceList::Cores(limit) => name(f, "cores", limit)?,
            PlaceList::LastLevelCaches(limit) => name(f, "ll_caches", limit)?,
            PlaceList::NumaDomains(limit) => name(f, "numa_domains", limit)?,
            PlaceList::Sockets(limit) => name(f, "sockets", limit)?,
            PlaceList::Explicit(sets) => {
                let place = |set: &CpuSet| {
                    let cpus: Vec<String> = set.iter().map(|cpu| cpu.to_string()).collect();
                    format!("{{{}}}", cpus.join(","))
                };
                let places: Vec<String> = sets.iter().map(place).collect();
                write!(f, "{}", places.join(","))?;
            }
        }
        match self.bind {
            Bind::Primary => write!(f, " primary"),
            Bind::Close => write!(f, " close"),
            Bind::Spread => write!(f, " spread"),
        }
    }
}

impl FromStr for Bind {
    type Err = PlacesError;

    /// Reads `primary`, `close` or `spread`.
    fn from_str(text: &str) -> Result<Self, PlacesError> {
        match text.trim().to_ascii_lowercase().as_str() {
            "primary" | "master" => Ok(Self::Primary),
            "close" => Ok(Self::Close),
            "spread" => Ok(Self::Spread),
            _ => fail(0, format!("{text:?} is not primary, close or spread")),
        }
    }
}

impl FromStr for PlaceList {
    type Err = PlacesError;

    fn from_str(text: &str) -> Result<Self, PlacesError> {
        if text.trim_start().starts_with('{') {
            return explicit(text).map(Self::Explicit);
        }
        let (name, limit) = match text.split_once('(') {
            Some((name, rest)) => {
                let number = rest
                    .trim_end()
                    .strip_suffix(')')
                    .and_then(|n| n.trim().parse().ok());
                let Some(number) = number.filter(|&number: &usize| number > 0) else {
                    return fail(name.len(), "expected a count of 1 or more in parentheses");
                };
                (name, Some(number))
            }
            None => (text, None),
        };
        match name.trim().to_ascii_lowercase().as_str() {
            "threads" => Ok(Self::Threads(limit)),
            "cores" => Ok(Self::Cores(limit)),
            "ll_caches" => Ok(Self::LastLevelCaches(limit)),
            "numa_domains" => Ok(Self::NumaDomains(limit)),
            "sockets" => Ok(Self::Sockets(limit)),
            _ => fail(
                0,
                format!(
                    "{name:?} is not threads, cores, ll_caches, numa_domains, sockets or a list of {{…}}"
                ),
            ),
        }
    }
}

fn fail<T>(position: usize, what: impl Into<String>) -> Result<T, PlacesError> {
    Err(PlacesError {
        position,
        what: what.into(),
    })
}

/// The most places a text may unfold to.
const MAX_PLACES: usize = 1 << 13;

/// The largest CPU number in a place: with `MAX_PLACES`, what keeps a short text from unfolding to
/// gigabytes.
const MAX_CPU: usize = (1 << 16) - 1;

fn explicit(text: &str) -> Result<Vec<CpuSet>, PlacesError> {
    let mut places: Vec<CpuSet> = Vec::new();
    let mut cursor = Cursor { text, position: 0 };
    loop {
        cursor.expect('{')?;
        let mut place = CpuSet::new();
        loop {
            let (start, length, stride) = {
                let start = cursor.number()?;
                let (length, stride) = cursor.repeat()?;
                (start, length, stride)
            };
            for step in 0..length {
                place.insert(cursor.shifted(start, step, stride)?);
            }
            if !cursor.take(',') {
                break;
            }
        }
        cursor.expect('}')?;
        let (length, stride) = cursor.repeat()?;
        for step in 0..length {
            let moved = place.iter().map(|cpu| cursor.shifted(cpu, step, stride));
            places.push(moved.collect::<Result<CpuSet, _>>()?);
            if places.len() > MAX_PLACES {
                return fail(cursor.position, format!("more than {MAX_PLACES} places"));
            }
        }
        if !cursor.take(',') {
            break;
        }
    }
    cursor.skip_blanks();
    match cursor.position == text.len() {
        true => Ok(places),
        false => fail(cursor.position, "expected \",\" or the end"),
    }
}

struct Cursor<'a> {
    text: &'a str,
    position: usize,
}

impl Cursor<'_> {
    fn skip_blanks(&mut self) {
        let rest = &self.text[self.position..];
        self.position += rest.len() - rest.trim_start().len();
    }

    fn take(&mut self, c: char) -> bool {
        self.skip_blanks();
        let there = self.text[self.position..].starts_with(c);
        self.position += if there { c.len_utf8() } else { 0 };
        there
    }

    fn expect(&mut self, c: char) -> Result<(), PlacesError> {
        if self.take(c) {
            Ok(())
        } else {
            fail(self.position, format!("expected {c:?}"))
        }
    }

    fn number(&mut self) -> Result<usize, PlacesError> {
        self.skip_blanks();
        let rest = &self.text[self.position..];
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number = rest[..digits].parse::<usize>().ok();
        match number.filter(|&number| number <= MAX_CPU) {
            Some(number) => {
                self.position += digits;
                Ok(number)
            }
            None => fail(self.position, format!("expected a number up to {MAX_CPU}")),
        }
    }

    /// Parses `:length:stride`, each with its default of 1; a length of at least 1.
    fn repeat(&mut self) -> Result<(usize, usize), PlacesError> {
        let at = self.position;
        let length = if self.take(':') { self.number()? } else { 1 };
        let stride = if self.take(':') { self.number()? } else { 1 };
        if length == 0 || length > MAX_PLACES {
            return fail(at, format!("a length is 1 to {MAX_PLACES}, not {length}"));
        }
        Ok((length, stride))
    }

    fn shifted(&self, cpu: usize, step: usize, stride: usize) -> Result<usize, PlacesError> {
        match cpu + step * stride {
            moved if moved <= MAX_CPU => Ok(moved),
            moved => fail(self.position, format!("CPU {moved} is above {MAX_CPU}")),
        }
    }
}

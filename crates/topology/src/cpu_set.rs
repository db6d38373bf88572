//! A set of CPUs (or of NUMA nodes) of any size, in the kernel's list format.
//!
//! One bit per CPU in 64-bit words, grown on demand, with no trailing zero word, so that equal sets
//! are equal values. Nothing here knows the machine: a set may name CPUs that do not exist.
//!
//! # The list format
//! What `/sys/devices/system/cpu/online`, `taskset -c` and cgroup files write: comma-separated
//! numbers and ranges, `0-3,8,10-11`. Reading also takes the kernel's groups, `0-15:2/4` (the first
//! 2 of every 4), blanks around items, and the trailing newline. Ranges turned round, signs, empty
//! items and numbers above [`CpuSet::MAX_PARSED`] are errors that name the place.
//!
//! # Why not …
//! `libc::cpu_set_t`: 1024 bits, fixed; a kernel with more possible CPUs refuses its size. A sorted
//! vector of ranges: smaller for huge machines, slower and longer for the set operations that the
//! placements are made of.

use crate::error::quoted;
use core::fmt;
use core::str::FromStr;

/// A set of CPU numbers without an upper limit.
///
/// ```
/// use stealyard_topology::CpuSet;
/// let set: CpuSet = "0-3,8".parse()?;
/// assert_eq!(set.len(), 5);
/// assert_eq!((&set - &CpuSet::from([1, 2])).to_string(), "0,3,8");
/// # Ok::<(), stealyard_topology::CpuListError>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CpuSet {
    /// Bit `c % 64` of word `c / 64` is CPU `c`; the last word is never zero.
    words: Vec<u64>,
}

/// A text that is not a list of CPUs; says what is wrong and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpuListError {
    /// Byte position in the text at which reading stopped.
    pub position: usize,
    /// What is wrong there, and what would be right.
    pub what: String,
}

impl fmt::Display for CpuListError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at byte {}: {}", self.position, self.what)
    }
}

impl core::error::Error for CpuListError {}

impl CpuSet {
    /// The largest number [`FromStr`] and [`CpuSet::from_mask`] take: 2^20 − 1, over a hundred
    /// times what Linux can be built for. It keeps a hostile file from asking for gigabytes. Sets
    /// built by [`CpuSet::insert`] are not limited.
    pub const MAX_PARSED: usize = (1 << 20) - 1;

    /// Makes the empty set. Allocates nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { words: Vec::new() }
    }

    /// Makes the set `0..count`.
    #[must_use]
    pub fn first_n(count: usize) -> Self {
        (0..count).collect()
    }

    /// Makes a set from 64-bit words, CPU 0 in the lowest bit of the first: the kernel's affinity
    /// mask on a 64-bit machine.
    #[must_use]
    pub fn from_words(words: Vec<u64>) -> Self {
        let mut set = Self { words };
        set.trim();
        set
    }

    /// Returns the words of the set; the last is not zero.
    #[must_use]
    pub fn words(&self) -> &[u64] {
        &self.words
    }

    /// Adds `cpu`; true if it was not there.
    pub fn insert(&mut self, cpu: usize) -> bool {
        let (word, bit) = (cpu / 64, 1u64 << (cpu % 64));
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        let new = self.words[word] & bit == 0;
        self.words[word] |= bit;
        new
    }

    /// Takes `cpu` out; true if it was there.
    pub fn remove(&mut self, cpu: usize) -> bool {
        let there = self.contains(cpu);
        if there {
            self.words[cpu / 64] &= !(1u64 << (cpu % 64));
            self.trim();
        }
        there
    }

    /// Whether `cpu` is in the set.
    #[must_use]
    pub fn contains(&self, cpu: usize) -> bool {
        self.words
            .get(cpu / 64)
            .is_some_and(|word| word >> (cpu % 64) & 1 == 1)
    }

    /// Returns how many CPUs are in the set. Counts bits: O(highest CPU / 64).
    #[must_use]
    pub fn len(&self) -> usize {
        self.words
            .iter()
            .map(|word| word.count_ones() as usize)
            .sum()
    }

    /// Whether the set is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// Returns the lowest CPU.
    #[must_use]
    pub fn first(&self) -> Option<usize> {
        self.iter().next()
    }

    /// Returns the highest CPU.
    #[must_use]
    pub fn last(&self) -> Option<usize> {
        let word = self.words.last()?;
        Some(self.words.len() * 64 - 1 - word.leading_zeros() as usize)
    }

    /// Returns the CPUs in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.words
            .iter()
            .enumerate()
            .flat_map(|(index, &word)| Bits(word).map(move |bit| index * 64 + bit))
    }

    /// Returns the CPU, if the set has exactly one.
    #[must_use]
    pub fn single(&self) -> Option<usize> {
        let mut all = self.iter();
        let first = all.next()?;
        all.next().is_none().then_some(first)
    }

    /// Describes the set in words, for messages: `CPU 3`, `CPUs 0-3,8`, or `no CPU`.
    #[must_use]
    pub fn in_words(&self) -> String {
        match (self.is_empty(), self.single()) {
            (true, _) => "no CPU".into(),
            (_, Some(cpu)) => format!("CPU {cpu}"),
            _ => format!("CPUs {self}"),
        }
    }

    /// Whether every CPU of `self` is in `other`.
    #[must_use]
    pub fn is_subset(&self, other: &Self) -> bool {
        self.words
            .iter()
            .enumerate()
            .all(|(index, word)| word & !other.words.get(index).copied().unwrap_or(0) == 0)
    }

    /// Whether the sets share no CPU.
    #[must_use]
    pub fn is_disjoint(&self, other: &Self) -> bool {
        self.words.iter().zip(&other.words).all(|(a, b)| a & b == 0)
    }

    /// Reads the kernel's mask format, 32-bit groups in hexadecimal with the highest first:
    /// `ffffffff,00000003`. A `0x` before a group, as hwloc writes it, is taken too.
    ///
    /// # Errors
    /// [`CpuListError`] for anything but hexadecimal digits and commas, groups of more than 8
    /// digits, and masks longer than [`CpuSet::MAX_PARSED`].
    pub fn from_mask(text: &str) -> Result<Self, CpuListError> {
        let text = text.trim();
        let mut set = Self::new();
        let groups = text.split(',').count();
        let mut position = 0;
        for (index, group) in text.split(',').enumerate() {
            let digits = group.strip_prefix("0x").unwrap_or(group);
            let fits = !digits.is_empty()
                && digits.len() <= 8
                && digits.bytes().all(|b| b.is_ascii_hexdigit());
            // hwloc leaves a zero group empty: `0x1,,0x0`.
            let empty = digits.is_empty() && group.is_empty() && groups > 1;
            let value = u32::from_str_radix(digits, 16)
                .ok()
                .filter(|_| fits)
                .or(empty.then_some(0));
            let Some(value) = value else {
                let what = format!(
                    "{} is not a group of up to 8 hexadecimal digits",
                    quoted(group)
                );
                return Err(CpuListError { position, what });
            };
            let base = (groups - 1 - index) * 32;
            if value != 0 && base + 31 > Self::MAX_PARSED {
                let what = format!("bit {base} is above CPU {}", Self::MAX_PARSED);
                return Err(CpuListError { position, what });
            }
            for bit in Bits(u64::from(value)) {
                set.insert(base + bit);
            }
            position += group.len() + 1;
        }
        Ok(set)
    }

    /// Adds all of `start..=end`, by words.
    pub(crate) fn insert_range(&mut self, start: usize, end: usize) {
        let (first, last) = (start / 64, end / 64);
        if last >= self.words.len() {
            self.words.resize(last + 1, 0);
        }
        for word in first..=last {
            let low = if word == first { start % 64 } else { 0 };
            let high = if word == last { end % 64 } else { 63 };
            self.words[word] |= (u64::MAX >> (63 - high)) & (u64::MAX << low);
        }
    }

    fn trim(&mut self) {
        while self.words.last() == Some(&0) {
            self.words.pop();
        }
    }

    fn combine(&self, other: &Self, with: impl Fn(u64, u64) -> u64) -> Self {
        let length = self.words.len().max(other.words.len());
        let at = |words: &[u64], index: usize| words.get(index).copied().unwrap_or(0);
        Self::from_words(
            (0..length)
                .map(|i| with(at(&self.words, i), at(&other.words, i)))
                .collect(),
        )
    }
}

/// The positions of the set bits of a word, lowest first.
struct Bits(u64);

impl Iterator for Bits {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        if self.0 == 0 {
            return None;
        }
        let bit = self.0.trailing_zeros() as usize;
        self.0 &= self.0 - 1;
        Some(bit)
    }
}

impl core::ops::BitAnd for &CpuSet {
    type Output = CpuSet;

    fn bitand(self, other: Self) -> CpuSet {
        self.combine(other, |a, b| a & b)
    }
}

impl core::ops::BitOr for &CpuSet {
    type Output = CpuSet;

    fn bitor(self, other: Self) -> CpuSet {
        self.combine(other, |a, b| a | b)
    }
}

impl core::ops::Sub for &CpuSet {
    type Output = CpuSet;

    fn sub(self, other: Self) -> CpuSet {
        self.combine(other, |a, b| a & !b)
    }
}

impl FromIterator<usize> for CpuSet {
    fn from_iter<I: IntoIterator<Item = usize>>(cpus: I) -> Self {
        let mut set = Self::new();
        set.extend(cpus);
        set
    }
}

impl Extend<usize> for CpuSet {
    fn extend<I: IntoIterator<Item = usize>>(&mut self, cpus: I) {
        for cpu in cpus {
            self.insert(cpu);
        }
    }
}

impl<const N: usize> From<[usize; N]> for CpuSet {
    fn from(cpus: [usize; N]) -> Self {
        cpus.into_iter().collect()
    }
}

impl fmt::Display for CpuSet {
    /// Writes the kernel's list format; nothing for the empty set.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut cpus = self.iter().peekable();
        let mut separator = "";
        while let Some(start) = cpus.next() {
            let mut end = start;
            while let Some(next) = cpus.next_if(|&next| next == end + 1) {
                end = next;
            }
            if start == end {
                write!(f, "{separator}{start}")?;
            } else {
                write!(f, "{separator}{start}-{end}")?;
            }
            separator = ",";
        }
        Ok(())
    }
}

impl fmt::Debug for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{self}}}")
    }
}

impl FromStr for CpuSet {
    type Err = CpuListError;

    /// Reads the list format; blank text is the empty set.
    fn from_str(text: &str) -> Result<Self, CpuListError> {
        let mut set = Self::new();
        if text.trim().is_empty() {
            return Ok(set);
        }
        let mut position = 0;
        for item in text.split(',') {
            add_item(&mut set, item, position)?;
            position += item.len() + 1;
        }
        Ok(set)
    }
}

/// Adds one item of a list: `5`, `0-3` or `0-15:2/4`.
fn add_item(set: &mut CpuSet, item: &str, position: usize) -> Result<(), CpuListError> {
    let error = |what: String| CpuListError { position, what };
    let number = |text: &str| -> Result<usize, CpuListError> {
        let digits = text.trim();
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            let what = format!(
                "{} is not a CPU number, a range such as 0-3, or a group such as 0-15:2/4",
                quoted(item)
            );
            return Err(error(what));
        }
        let value = digits.parse::<usize>().ok();
        value
            .filter(|&value| value <= CpuSet::MAX_PARSED)
            .ok_or_else(|| {
                let (cpu, largest) = (quoted(digits), CpuSet::MAX_PARSED);
                error(format!("CPU {cpu} is above the largest, {largest}"))
            })
    };
    let (range, group) = match item.split_once(':') {
        Some((range, group)) => (range, Some(group)),
        None => (item, None),
    };
    let (start, end) = match range.split_once('-') {
        Some((start, end)) => (number(start)?, number(end)?),
        None => (number(range)?, number(range)?),
    };
    if start > end {
        return Err(error(format!("the range {start}-{end} is turned round")));
    }
    let Some(group) = group else {
        set.insert_range(start, end);
        return Ok(());
    };
    let (used, size) = group.split_once('/').ok_or_else(|| {
        error(format!(
            "{} is not USED/GROUP, as in 0-15:2/4",
            quoted(group)
        ))
    })?;
    let (used, size) = (number(used)?, number(size)?);
    if used == 0 || used > size {
        return Err(error(format!(
            "the group {used}/{size} does not use 1 to {size} of {size} CPUs"
        )));
    }
    set.extend((start..=end).filter(|cpu| (cpu - start) % size < used));
    Ok(())
}

#[cfg(feature = "serde")]
impl serde::Serialize for CpuSet {
    /// Writes the kernel's list format, which [`FromStr`] reads: `"0-3,8"`. Lists of numbers would
    /// grow with the square of a machine.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

//! The grammar of synthetic descriptions: text to levels, every error with its place.

use super::{DEFAULT_MEMORY, MAX_CPUS};
use crate::{CacheKind, Error};

/// What the objects of a level are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Package,
    Die,
    Group,
    Numa,
    Cache { level: u8, kind: CacheKind },
    Core,
    Pu,
}

/// A level of the machine.
#[derive(Debug)]
pub(super) struct Level {
    pub(super) kind: Kind,
    /// Objects of this level in the whole machine.
    pub(super) total: usize,
    pub(super) size: Option<u64>,
    pub(super) indexes: Option<Indexes>,
}

/// A node for each object of the level above `depth`; depth 0 is the whole machine.
#[derive(Debug)]
pub(super) struct Memory {
    pub(super) depth: usize,
    pub(super) memory: Option<u64>,
    pub(super) indexes: Option<Indexes>,
}

#[derive(Debug)]
pub(super) struct Indexes {
    pub(super) position: usize,
    pub(super) form: Form,
}

#[derive(Debug)]
pub(super) enum Form {
    List(Vec<usize>),
    /// Steps and counts.
    Loops(Vec<(usize, usize)>),
    Along(Vec<Kind>),
}

/// Levels from the outside in; at least one, the last of CPUs.
pub(super) fn parse(text: &str) -> Result<(Vec<Level>, Vec<Memory>), Error> {
    let mut levels: Vec<Level> = Vec::new();
    let mut memories = Vec::new();
    let items = items(text)?;
    let counts = items
        .iter()
        .filter(|item| !item.text.starts_with('['))
        .count();
    let untyped = items
        .iter()
        .all(|item| item.text.starts_with(|c: char| c.is_ascii_digit()));
    for item in &items {
        if let Some(memory) = memory(item, levels.len())? {
            memories.push(memory);
            continue;
        }
        let guess = match levels.len() + 1 {
            depth if depth == counts => Some(Kind::Pu),
            depth if untyped => guess(counts, depth - 1),
            _ => None,
        };
        let above = levels.last().map_or(1, |level| level.total);
        let (level, attributes) = level(item, guess, above)?;
        check_order(item, &levels, level.kind)?;
        if level.kind == Kind::Numa {
            let memory = attributes.memory.or(Some(DEFAULT_MEMORY));
            memories.push(Memory {
                depth: levels.len() + 1,
                memory,
                indexes: attributes.indexes,
            });
            levels.push(Level {
                indexes: None,
                ..level
            });
        } else {
            levels.push(Level {
                indexes: attributes.indexes,
                ..level
            });
        }
    }
    match levels.last() {
        Some(Level { kind: Kind::Pu, .. }) => Ok((levels, memories)),
        Some(_) => error(
            text.len(),
            "the last level is not of CPUs: end with \"pu:N\"",
        ),
        None => error(text.len(), "there is no level: at least \"pu:N\" is needed"),
    }
}

/// A word of the description with its place; parentheses and brackets keep blanks together.
#[derive(Debug)]
struct Item<'a> {
    position: usize,
    text: &'a str,
}

fn error<T>(position: usize, what: impl Into<String>) -> Result<T, Error> {
    Err(Error::Synthetic {
        position,
        what: what.into(),
    })
}

fn items(text: &str) -> Result<Vec<Item<'_>>, Error> {
    let mut items = Vec::new();
    let mut start = None;
    let mut open: Vec<(usize, char)> = Vec::new();
    for (position, c) in text.char_indices().chain([(text.len(), ' ')]) {
        match c {
            '(' | '[' => open.push((position, if c == '(' { ')' } else { ']' })),
            ')' | ']' if open.pop().is_none_or(|(_, closing)| closing != c) => {
                return error(position, format!("{c:?} closes nothing"));
            }
            _ => {}
        }
        match start {
            Some(begin) if c.is_ascii_whitespace() && open.is_empty() => {
                items.push(Item {
                    position: begin,
                    text: &text[begin..position],
                });
                start = None;
            }
            None if !c.is_ascii_whitespace() => start = Some(position),
            _ => {}
        }
    }
    match open.last() {
        Some((position, closing)) => error(*position, format!("{closing:?} is missing")),
        None => Ok(items),
    }
}

/// Returns what a level without a type is, by how many levels there are.
fn guess(levels: usize, depth: usize) -> Option<Kind> {
    let unified = CacheKind::Unified;
    let (l1, l2) = (super::cache(1, CacheKind::Data), super::cache(2, unified));
    let l3 = super::cache(3, unified);
    let kinds: &[Kind] = match levels {
        2 => &[Kind::Numa],
        3 => &[Kind::Package, Kind::Numa],
        4 => &[Kind::Package, Kind::Numa, Kind::Core],
        5 => &[Kind::Package, Kind::Numa, l2, Kind::Core],
        6 => &[Kind::Package, Kind::Numa, l2, l1, Kind::Core],
        7 => &[Kind::Package, Kind::Numa, l3, l2, l1, Kind::Core],
        _ => &[],
    };
    kinds.get(depth).copied()
}

/// Parses `[numa]` or `[numa(…)]`; `None` for anything without brackets.
fn memory(item: &Item<'_>, depth: usize) -> Result<Option<Memory>, Error> {
    let Some(inner) = item.text.strip_prefix('[') else {
        return Ok(None);
    };
    let Some(inner) = inner.strip_suffix(']') else {
        return error(item.position, "nothing may follow \"]\" but a blank");
    };
    let inner = Item {
        position: item.position + 1,
        text: inner,
    };
    let (head, attributes) = attributes(&inner)?;
    if kind(head) != Some(Kind::Numa) {
        return error(
            inner.position,
            format!("only \"numa\" can be in brackets, not {head:?}"),
        );
    }
    let Attributes {
        memory,
        indexes,
        size,
    } = attributes;
    match size {
        Some(_) => error(inner.position, "a node has \"memory=\", not \"size=\""),
        None => Ok(Some(Memory {
            depth,
            memory,
            indexes,
        })),
    }
}

/// Parses `type:count(…)` or `count(…)`. The level returned has no indexes yet.
fn level(item: &Item<'_>, guess: Option<Kind>, above: usize) -> Result<(Level, Attributes), Error> {
    let (head, attributes) = attributes(item)?;
    let (kind, count, position) = match head.split_once(':') {
        Some((name, count)) => match kind(name) {
            Some(kind) => (kind, count, item.position + name.len() + 1),
            None => return error(item.position, format!("{name:?} is not a type of object")),
        },
        None => match guess {
            Some(kind) => (kind, head, item.position),
            None => return error(item.position, "a type is needed here, as in \"core:4\""),
        },
    };
    let number = count
        .parse::<usize>()
        .ok()
        .filter(|_| count.bytes().all(|b| b.is_ascii_digit()));
    let Some(number) = number.filter(|&number| number > 0) else {
        return error(position, format!("{count:?} is not a count of 1 or more"));
    };
    let total = above.checked_mul(number).filter(|&total| total <= MAX_CPUS);
    let Some(total) = total else {
        return error(position, format!("more than {MAX_CPUS} objects"));
    };
    let size = attributes.size;
    match (kind, size, attributes.memory) {
        (Kind::Cache { .. }, _, None) | (Kind::Numa, None, _) | (_, None, None) => {}
        (Kind::Cache { .. }, _, _) => return error(item.position, "a cache has \"size=\""),
        (Kind::Numa, ..) => return error(item.position, "a node has \"memory=\""),
        _ => return error(item.position, "only caches and nodes have a size"),
    }
    Ok((
        Level {
            kind,
            total,
            size,
            indexes: None,
        },
        attributes,
    ))
}

/// Checks the order: each type at most once, nothing below CPUs, and cores, dies and packages from
/// large to small.
fn check_order(item: &Item<'_>, above: &[Level], kind: Kind) -> Result<(), Error> {
    let rank = |kind: Kind| match kind {
        Kind::Package => Some(0),
        Kind::Die => Some(1),
        Kind::Core => Some(2),
        Kind::Pu => Some(3),
        _ => None,
    };
    for level in above {
        if level.kind == kind && kind != Kind::Group {
            return error(item.position, format!("there are two levels of {kind:?}"));
        }
        let caches = match (level.kind, kind) {
            (Kind::Cache { level: outer, .. }, Kind::Cache { level: inner, .. }) => outer < inner,
            _ => false,
        };
        let turned = rank(level.kind) > rank(kind) && rank(kind).is_some();
        if turned || caches || level.kind == Kind::Pu {
            return error(
                item.position,
                format!("{kind:?} cannot be within {:?}", level.kind),
            );
        }
    }
    Ok(())
}

/// Types by their names and hwloc's short forms, in any case.
fn kind(name: &str) -> Option<Kind> {
    let name = name.to_ascii_lowercase();
    let is = |full: &str, least: usize| name.len() >= least && full.starts_with(&name);
    if is("package", 2) || is("socket", 2) {
        return Some(Kind::Package);
    }
    if is("numanode", 2) || is("node", 2) {
        return Some(Kind::Numa);
    }
    match name.as_str() {
        "die" => return Some(Kind::Die),
        "core" => return Some(Kind::Core),
        "pu" => return Some(Kind::Pu),
        "group" => return Some(Kind::Group),
        _ => {}
    }
    let rest = name.strip_prefix('l')?;
    let rest = rest.strip_suffix("cache").unwrap_or(rest);
    let level = rest.bytes().next().filter(|b| (b'1'..=b'5').contains(b))? - b'0';
    let kind = match &rest[1..] {
        "" | "u" => CacheKind::Unified,
        "d" => CacheKind::Data,
        "i" if level <= 3 => CacheKind::Instruction,
        _ => return None,
    };
    Some(super::cache(level, kind))
}

#[derive(Debug, Default)]
struct Attributes {
    memory: Option<u64>,
    size: Option<u64>,
    indexes: Option<Indexes>,
}

/// Splits `head(key=value …)`.
fn attributes<'a>(item: &Item<'a>) -> Result<(&'a str, Attributes), Error> {
    let mut found = Attributes::default();
    let Some((head, rest)) = item.text.split_once('(') else {
        return Ok((item.text, found));
    };
    let mut position = item.position + head.len() + 1;
    let Some(inner) = rest.strip_suffix(')') else {
        return error(position, "nothing may follow \")\" here");
    };
    for word in inner.split(' ') {
        let place = position;
        position += word.len() + 1;
        if word.is_empty() {
            continue;
        }
        let Some((key, value)) = word.split_once('=') else {
            return error(place, format!("{word:?} is not KEY=VALUE"));
        };
        let value = Item {
            position: place + key.len() + 1,
            text: value,
        };
        match key {
            "memory" => found.memory = Some(bytes(&value)?),
            "size" => found.size = Some(bytes(&value)?),
            "indexes" => found.indexes = Some(indexes(&value)?),
            _ => return error(place, format!("{key:?} is not memory, size or indexes")),
        }
    }
    Ok((head, found))
}

fn bytes(item: &Item<'_>) -> Result<u64, Error> {
    let digits = item.text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = item.text.split_at(digits);
    let unit: Option<u64> = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => Some(1),
        "kb" => Some(1_000),
        "mb" => Some(1_000_000),
        "gb" => Some(1_000_000_000),
        "tb" => Some(1_000_000_000_000),
        "kib" => Some(1 << 10),
        "mib" => Some(1 << 20),
        "gib" => Some(1 << 30),
        "tib" => Some(1 << 40),
        _ => None,
    };
    let bytes = number
        .parse::<u64>()
        .ok()
        .zip(unit)
        .and_then(|(n, unit)| n.checked_mul(unit));
    match bytes {
        Some(bytes) => Ok(bytes),
        None => error(
            item.position,
            format!("{:?} is not a size such as 16GiB", item.text),
        ),
    }
}

fn indexes(item: &Item<'_>) -> Result<Indexes, Error> {
    let position = item.position;
    let number = |text: &str| {
        text.parse::<usize>()
            .ok()
            .filter(|_| !text.starts_with('+'))
    };
    let first = item.text.bytes().next();
    let form = if !first.is_some_and(|b| b.is_ascii_digit()) {
        let kinds: Option<Vec<Kind>> = item.text.split(':').map(kind).collect();
        kinds.map(Form::Along)
    } else if item.text.contains('*') {
        let one = |text: &str| {
            let (step, count) = text.split_once('*')?;
            Some((
                number(step).filter(|&step| step > 0)?,
                number(count).filter(|&count| count > 0)?,
            ))
        };
        let loops: Option<Vec<(usize, usize)>> = item.text.split(':').map(one).collect();
        loops.map(Form::Loops)
    } else {
        let list: Option<Vec<usize>> = item.text.split(',').map(number).collect();
        list.map(Form::List)
    };
    match form {
        Some(form) => Ok(Indexes { position, form }),
        None => error(
            position,
            format!("{:?} is not 0,1,2… or STEP*COUNT:… or TYPE:…", item.text),
        ),
    }
}

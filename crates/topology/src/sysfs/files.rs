//! The files of a tree: sets of CPUs as lists or masks, numbers, ids.

use crate::bounded::{self, SYSFS_LIMIT, optional};
use crate::error::quoted;
use crate::note::Notes;
use crate::{CpuSet, Error};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::str::FromStr;

const CPU: &str = "sys/devices/system/cpu";
const NODE: &str = "sys/devices/system/node";

/// A tree that is being read.
#[derive(Debug)]
pub(super) struct Files<'a> {
    pub(super) root: &'a Path,
    pub(super) notes: Notes,
    /// Whether to read what should say the same again: of each CPU of a set, and as list and as
    /// mask.
    pub(super) thorough: bool,
    /// The CPUs that are online, once they are known.
    pub(super) online: CpuSet,
    /// Sets by their text: CPUs that share something have the same text in their files.
    known: HashMap<String, Named>,
}

/// A set of CPUs as a file names it: no larger than the machine, whatever the file says.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Named {
    cpus: Rc<CpuSet>,
    foreign: Option<usize>,
}

/// What a file of a set of CPUs held, and which file it was.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// The CPUs that are online.
    pub(super) cpus: Rc<CpuSet>,
    /// The first CPU that is named and is not online.
    pub(super) foreign: Option<usize>,
    pub(super) file: Rc<str>,
}

/// On machines of more CPUs, one CPU of a set speaks for all: reading a hundred thousand files
/// takes seconds.
pub(super) const THOROUGH_UP_TO: usize = 1024;

impl<'a> Files<'a> {
    /// Decides how thorough to be about a machine of so many CPUs.
    pub(super) fn expect(&mut self, cpus: usize) {
        self.thorough = cpus <= THOROUGH_UP_TO || self.notes.is_strict();
    }

    pub(super) fn new(root: &'a Path, notes: Notes) -> Self {
        Self {
            root,
            notes,
            thorough: true,
            online: CpuSet::new(),
            known: HashMap::new(),
        }
    }

    pub(super) fn cpu_root(&self) -> PathBuf {
        self.root.join(CPU)
    }

    pub(super) fn node_root(&self) -> PathBuf {
        self.root.join(NODE)
    }

    /// Reads the set in a list file, of CPUs or of nodes.
    pub(super) fn list(&self, path: &Path) -> Result<CpuSet, Error> {
        let text = bounded::read(path, SYSFS_LIMIT)?;
        text.parse()
            .map_err(|e| Error::malformed(path, format!("not a list of CPUs, {e}")))
    }

    fn named(&mut self, path: &Path, is_mask: bool) -> Result<Named, Error> {
        let text = bounded::read(path, SYSFS_LIMIT)?;
        // A list and a mask can have the same text.
        let key = format!("{is_mask} {text}");
        if let Some(named) = self.known.get(&key) {
            return Ok(named.clone());
        }
        let parsed = match is_mask {
            true => CpuSet::from_mask(&text),
            false => text.parse(),
        };
        let set = parsed.map_err(|e| {
            let kind = if is_mask { "mask" } else { "list" };
            Error::malformed(path, format!("not a {kind} of CPUs, {e}"))
        })?;
        let named = Named {
            cpus: Rc::new(&set & &self.online),
            foreign: (&set - &self.online).first(),
        };
        // Long texts are hostile, and a tree in which every text differs gains nothing from it.
        if self.known.len() < 4096 && key.len() < 4096 {
            self.known.insert(key, named.clone());
        }
        Ok(named)
    }

    /// Reads the set that is there under the first of the names, each a list and a mask that should
    /// hold the same; where they do not, the mask counts. `None` if there is none.
    pub(super) fn cpus(
        &mut self,
        directory: &Path,
        names: &[(&'static str, &'static str)],
    ) -> Result<Option<Found>, Error> {
        for &(list, mask) in names {
            let list_path = directory.join(list);
            let listed = optional(self.named(&list_path, false));
            let listed = self.notes.accept(listed, "the mask was taken")?.flatten();
            let masked = match (self.thorough, &listed) {
                (false, Some(_)) => None,
                _ => {
                    let masked = optional(self.named(&directory.join(mask), true));
                    self.notes.accept(masked, "the list was taken")?.flatten()
                }
            };
            let (named, file) = match (listed, masked) {
                (Some(listed), Some(masked)) if listed != masked => {
                    let shown = |named: &Named| match (named.cpus.is_empty(), named.foreign) {
                        (true, Some(cpu)) => format!("{cpu} and more"),
                        (true, None) => "nothing".into(),
                        _ => named.cpus.to_string(),
                    };
                    let (first, second) = (shown(&listed), shown(&masked));
                    let what = format!("{first} is not the mask's {second}");
                    let doubt = Error::inconsistent(&list_path, what);
                    self.notes.doubt(doubt, "the mask was taken")?;
                    (masked, mask)
                }
                (Some(listed), _) => (listed, list),
                (None, Some(masked)) => (masked, mask),
                (None, None) => continue,
            };
            let file = file.into();
            let Named { cpus, foreign } = named;
            return Ok(Some(Found {
                cpus,
                foreign,
                file,
            }));
        }
        Ok(None)
    }

    /// Reads a number that may be missing, or can't be understood, which is a doubt.
    pub(super) fn number<T: FromStr>(
        &mut self,
        path: &Path,
        assumed: &str,
    ) -> Result<Option<T>, Error> {
        let read = optional(number(path));
        Ok(self.notes.accept(read, assumed)?.flatten())
    }

    /// Reads an id that the kernel gives as −1, or as 65535, where it does not know it.
    pub(super) fn id(&mut self, path: &Path, assumed: &str) -> Result<Option<u32>, Error> {
        let id = self.number::<i64>(path, assumed)?;
        Ok(id
            .and_then(|id| u32::try_from(id).ok())
            .filter(|&id| id != 65535))
    }
}

/// Reads a file that holds one number.
pub(super) fn number<T: FromStr>(path: &Path) -> Result<T, Error> {
    let text = bounded::read(path, SYSFS_LIMIT)?;
    text.parse()
        .map_err(|_| Error::malformed(path, format!("{} is not a number in range", quoted(&text))))
}

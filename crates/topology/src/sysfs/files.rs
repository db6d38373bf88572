//! The files of a tree: sets of CPUs as lists or masks, numbers, ids.

use crate::bounded::{self, SYSFS_LIMIT, optional, quoted};
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
    /// Whether to read what should say the same again: of each CPU of a set, and as list and as mask.
    pub(super) thorough: bool,
    /// Sets by their text: CPUs that share something have the same text in their files.
    known: HashMap<String, Rc<CpuSet>>,
}

/// What a file of a set of CPUs held, and which file it was.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) cpus: Rc<CpuSet>,
    pub(super) file: Rc<str>,
}

/// On machines of more CPUs, one CPU of a set speaks for all: reading a hundred thousand files takes seconds.
const THOROUGH_UP_TO: usize = 1024;

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
            known: HashMap::new(),
        }
    }

    pub(super) fn cpu_root(&self) -> PathBuf {
        self.root.join(CPU)
    }

    pub(super) fn node_root(&self) -> PathBuf {
        self.root.join(NODE)
    }

    /// The set in a list file.
    pub(super) fn list(&mut self, path: &Path) -> Result<Rc<CpuSet>, Error> {
        self.set(path, |text| {
            text.parse().map_err(|e| format!("not a list of CPUs, {e}"))
        })
    }

    fn mask(&mut self, path: &Path) -> Result<Rc<CpuSet>, Error> {
        self.set(path, |text| {
            CpuSet::from_mask(text).map_err(|e| format!("not a mask of CPUs, {e}"))
        })
    }

    fn set(
        &mut self,
        path: &Path,
        parse: impl Fn(&str) -> Result<CpuSet, String>,
    ) -> Result<Rc<CpuSet>, Error> {
        let text = bounded::read(path, SYSFS_LIMIT)?;
        // A list and a mask can have the same text; the name's end tells which it is.
        let mask = !path.to_string_lossy().ends_with("list");
        let key = format!("{mask} {text}");
        if let Some(set) = self.known.get(&key) {
            return Ok(Rc::clone(set));
        }
        let set = parse(&text).map_err(|what| Error::malformed(path, what))?;
        let set = Rc::new(set);
        // A tree in which every text differs gains nothing from it.
        if self.known.len() < 4096 {
            self.known.insert(key, Rc::clone(&set));
        }
        Ok(set)
    }

    /// The set that is there under the first of the names, each a list and a mask that should hold the
    /// same; where they do not, the mask counts. `None` if there is none.
    pub(super) fn cpus(
        &mut self,
        directory: &Path,
        names: &[(&'static str, &'static str)],
    ) -> Result<Option<Found>, Error> {
        for &(list, mask) in names {
            let list_path = directory.join(list);
            let listed = optional(self.list(&list_path));
            let listed = self.notes.accept(listed, "the mask was taken")?.flatten();
            let masked = match (self.thorough, &listed) {
                (false, Some(_)) => None,
                _ => {
                    let masked = optional(self.mask(&directory.join(mask)));
                    self.notes.accept(masked, "the list was taken")?.flatten()
                }
            };
            let (cpus, file) = match (listed, masked) {
                (Some(listed), Some(masked)) if listed != masked => {
                    let what = format!("{listed} is not the mask's {masked}");
                    let doubt = Error::inconsistent(&list_path, what);
                    self.notes.doubt(doubt, "the mask was taken")?;
                    (masked, mask)
                }
                (Some(listed), _) => (listed, list),
                (None, Some(masked)) => (masked, mask),
                (None, None) => continue,
            };
            let file = file.into();
            return Ok(Some(Found { cpus, file }));
        }
        Ok(None)
    }

    /// A number that may be missing, or can't be understood, which is a doubt.
    pub(super) fn number<T: FromStr>(
        &mut self,
        path: &Path,
        assumed: &str,
    ) -> Result<Option<T>, Error> {
        let read = optional(number(path));
        Ok(self.notes.accept(read, assumed)?.flatten())
    }

    /// An id that the kernel gives as −1, or as 65535, where it does not know it.
    pub(super) fn id(&mut self, path: &Path, assumed: &str) -> Result<Option<u32>, Error> {
        let id = self.number::<i64>(path, assumed)?;
        Ok(id
            .and_then(|id| u32::try_from(id).ok())
            .filter(|&id| id != 65535))
    }
}

/// A file that holds one number.
pub(super) fn number<T: FromStr>(path: &Path) -> Result<T, Error> {
    let text = bounded::read(path, SYSFS_LIMIT)?;
    text.parse()
        .map_err(|_| Error::malformed(path, format!("{} is not a number in range", quoted(&text))))
}

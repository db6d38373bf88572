//! The default reader: Linux's `/sys`, live or a captured copy, in plain Rust.
//!
//! # What is read, under a root directory
//! | file | gives | if missing or malformed |
//! |------|-------|-------------------------|
//! | `cpu/online` | the CPUs | every `cpuN` that its own `online` does not switch off |
//! | `cpu/present` | with `online`, the CPUs that are switched off | every other `cpuN` |
//! | `topology/physical_package_id` | packages | the sets of `package_cpus`, then `core_siblings` |
//! | `topology/die_id` | dies | the sets of `die_cpus`, then one per package |
//! | `topology/cluster_id` | clusters | the sets of `cluster_cpus`, then shared L2s |
//! | `topology/core_id` | the core's number | it has none |
//! | `topology/core_cpus`, else `thread_siblings` | cores | each CPU is a core |
//! | `cache/indexI/{level,type,shared_cpu}` | caches | that cache is left out |
//! | `cache/indexI/size` | their sizes | unknown |
//! | `devices/cpu_atom/cpus` and three more (`kinds.rs`) | kinds of cores | all performance |
//! | `node/online`, `nodeN/{cpulist,cpumap}` | NUMA nodes | every `nodeN`; without any, one node |
//! | `nodeN/distance` | distances | 10 within a node and 20 between |
//! | `nodeN/access0`, `bus/dax` | kinds of memory without CPUs (`memory.rs`) | not known |
//! | `nodeN/meminfo`, without nodes `/proc/meminfo` | memory | unknown |
//!
//! A set of CPUs is taken from the list (`…_cpus_list`) and, where that is missing or malformed,
//! from the mask of the same name (`…_cpus`), which is all that kernels before 2.6.30 have.
//!
//! # Contradictions
//! A contradiction costs the thing it is about, never the machine, and leaves a
//! [`Note`](crate::Note):
//! 1. A file that names CPUs which are not online says nothing about those (containers rewrite
//!    `cpu/online`; some kernels keep lists stale).
//! 2. Of a set that is claimed by some of its members only, those members stay together
//!    (`claims.rs`).
//! 3. A core that crosses packages or dies is cut at their borders.
//! 4. A node whose CPUs all belong to other nodes is left out; a CPU without a node gets one
//!    (`draft.rs`).
//!
//! Only if no CPU can be found at all is it an error. [`Topology::read_strict`] makes each of these
//! an error.
//!
//! # Large machines
//! Where there are more than 1,024 CPUs, one CPU of a core, a cache or a package speaks for all in
//! it, and a mask is read only where there is no list: 8,192 CPUs have 200,000 files. A
//! contradiction between two CPUs is then not seen, and the first one counts.
//!
//! # Changes while reading
//! CPUs go on and off line. A tree read across such a change can contradict itself; the caller for
//! the live machine (`detect/linux.rs`) then reads again.
//!
//! # References
//! Linux, Documentation/ABI/stable/sysfs-devices-system-cpu, -node;
//! Documentation/admin-guide/cputopology.rst.

mod caches;
mod claims;
mod cpus;
mod files;
mod kinds;
mod memory;
mod nodes;

use crate::note::Notes;
use crate::topology::Draft;
use crate::{Error, Source, Topology};
use files::Files;
use std::path::Path;

impl Topology {
    /// Reads the `/sys` tree below `root`: `/` for the live machine, or the directory that holds
    /// the `sys` of a captured one. All online CPUs count as allowed.
    ///
    /// What is missing, malformed or contradictory costs only the part that it is about, and leaves
    /// a [`Note`](crate::Note) in [`Topology::notes`].
    ///
    /// # Errors
    /// No CPU could be found, with the file or directory that should have named some.
    pub fn from_sysfs(root: impl AsRef<Path>) -> Result<Self, Error> {
        read(root.as_ref(), Notes::default())
    }

    /// Reads as [`Topology::from_sysfs`] does, with every doubt as an error: for tests of captured
    /// trees, and for programs that would rather not start than run on a machine that was misread.
    ///
    /// # Errors
    /// A file that is missing though Linux always has it, that can't be read or understood, or that
    /// contradicts another; always with its path.
    pub fn read_strict(root: impl AsRef<Path>) -> Result<Self, Error> {
        read(root.as_ref(), Notes::strict())
    }
}

fn read(root: &Path, notes: Notes) -> Result<Topology, Error> {
    let mut files = Files::new(root, notes);
    let mut draft = Draft::default();
    cpus::find(&mut files, &mut draft)?;
    let levels = cpus::levels(&mut files, &mut draft)?;
    caches::read(&mut files, &mut draft, &levels.cores)?;
    kinds::read(&mut files, &mut draft)?;
    nodes::read(&mut files, &mut draft)?;
    memory::read(&mut files, &mut draft)?;
    let place = files.cpu_root().join("online");
    draft.finish(Source::Sysfs(root.into()), &place, files.notes)
}

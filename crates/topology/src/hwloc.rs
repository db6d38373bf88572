//! The second reader: the system's libhwloc, behind the feature `hwloc`.
//!
//! hwloc knows machines that `/sys` describes badly, and reads saved machines (XML). What leaves
//! this module is plain data; no pointer, bitmap or lifetime of the library does.
//!
//! # How
//! ```text
//! live, XML, synthetic ──libhwloc──▶ XML text ──xml.rs──▶ Draft ──finish──▶ Topology
//!            live      ──hwloc2 crate──▶ walk of parents ──witness.rs──▶ must agree
//! ```
//! libhwloc writes everything it found as XML: nodes, memory, distances, kinds, which the `hwloc2`
//! crate can't reach. Ten functions that take and return opaque pointers suffice for it, so that no
//! structure's layout has to be known (`export.rs`). The live machine is then walked once more
//! through `hwloc2`, in the part of it that is sound, as a witness that the text was understood.
//!
//! # What of `hwloc2` 2.2.0 is not used, and why
//! | part | reason |
//! |------|--------|
//! | types and depths of nodes, I/O, Misc | numbered as in hwloc 1: it panics or misreads |
//! | `Display` of objects, `name()` | write past a buffer; free what is not theirs |
//! | bitmaps kept after the topology | they point into it and have no lifetime |
//! | cache attributes of anything but caches | read the wrong arm of a union |
//! | binding | needs `&mut`; returns success and does nothing for a saved machine |
//!
//! # Differences from sysfs
//! Wording only: both end in the same [`Topology`], and `tests/hwloc.rs` compares them. Invariant
//! T3 of `topology.rs` is why a group that hwloc merges into an equal level makes no difference.
//! hwloc's own environment variables (`HWLOC_FSROOT` and others) apply to the live reader.

mod export;
mod witness;
mod xml;

use crate::note::Notes;
use crate::{Error, Limits, Source, Topology};
use export::Input;
use std::path::Path;

impl Topology {
    /// Reads this machine through libhwloc, with the allowed CPUs as [`Topology::detect`] has them.
    ///
    /// # Errors
    /// [`Error::Hwloc`] if the library fails, writes what can't be understood, or its two views
    /// disagree; [`Error::System`] if the affinity mask can't be read.
    pub fn from_hwloc() -> Result<Self, Error> {
        let limits = Limits::read();
        limits.affinity().as_ref().map_err(Clone::clone)?;
        Self::from_hwloc_unlimited()?.with_limits(&limits)
    }

    /// Reads as [`Topology::from_hwloc`] does, with every online CPU allowed, as
    /// [`Topology::from_sysfs`] has it. With `HWLOC_FSROOT` in the environment of the process,
    /// libhwloc reads the tree below that.
    ///
    /// # Errors
    /// [`Error::Hwloc`], as above.
    pub fn from_hwloc_unlimited() -> Result<Self, Error> {
        let topology = read(Input::Live, "this machine", Some(0))?;
        witness::check(&topology)?;
        Ok(topology)
    }

    /// Reads the machine saved in an XML file of hwloc (`lstopo machine.xml`), of any version the
    /// library takes.
    ///
    /// # Errors
    /// [`Error::Hwloc`] if it is no such file; [`Error::Read`] and others if it can't be read.
    pub fn from_hwloc_xml(file: impl AsRef<Path>) -> Result<Self, Error> {
        let file = file.as_ref();
        let text = crate::bounded::read(file, XML_LIMIT)?;
        read(Input::Xml(&text), &file.display().to_string(), Some(0))
    }

    /// Reads the machine that a synthetic description means to libhwloc. [`Topology::synthetic`]
    /// reads the same grammar without it.
    ///
    /// # Errors
    /// [`Error::Hwloc`] if the library does not take it.
    pub fn from_hwloc_synthetic(description: &str) -> Result<Self, Error> {
        read(Input::Synthetic(description), description, None)
    }
}

/// The largest saved machine we hand to the library.
const XML_LIMIT: usize = 64 << 20;

/// Reads the machine. `no_memory` is what a node without a size has: 0 for a real machine, unknown
/// for a described one.
fn read(input: Input<'_>, name: &str, no_memory: Option<u64>) -> Result<Topology, Error> {
    let text = export::xml(input)?;
    let draft = xml::draft(&text, no_memory).map_err(|what| Error::Hwloc { what })?;
    draft.finish(
        Source::Hwloc(name.into()),
        Path::new(name),
        Notes::default(),
    )
}

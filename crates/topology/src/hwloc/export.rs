//! libhwloc's XML of a machine, through opaque pointers only.
//!
//! The functions declared here have had these types since hwloc 2.0; the `hwloc2` crate, on which
//! the feature depends, links the library and refuses versions before 2.0.

use crate::Error;
use core::ffi::{c_char, c_int, c_uint, c_ulong, c_void};
use core::ptr::NonNull;
use std::ffi::CString;

// Links the library; see the module's comment.
use hwloc2 as _;

type Raw = *mut c_void;

unsafe extern "C" {
    fn hwloc_get_api_version() -> c_uint;
    fn hwloc_topology_init(topology: *mut Raw) -> c_int;
    fn hwloc_topology_destroy(topology: Raw);
    fn hwloc_topology_set_flags(topology: Raw, flags: c_ulong) -> c_int;
    fn hwloc_topology_set_icache_types_filter(topology: Raw, filter: c_uint) -> c_int;
    fn hwloc_topology_set_synthetic(topology: Raw, description: *const c_char) -> c_int;
    fn hwloc_topology_set_xmlbuffer(topology: Raw, buffer: *const c_char, size: c_int) -> c_int;
    fn hwloc_topology_load(topology: Raw) -> c_int;
    fn hwloc_topology_export_xmlbuffer(
        topology: Raw,
        buffer: *mut *mut c_char,
        length: *mut c_int,
        flags: c_ulong,
    ) -> c_int;
    fn hwloc_free_xmlbuffer(topology: Raw, buffer: *mut c_char);
}

/// `HWLOC_TOPOLOGY_FLAG_INCLUDE_DISALLOWED`: CPUs outside our cpuset are part of the machine too.
const INCLUDE_DISALLOWED: c_ulong = 1;
/// `HWLOC_TYPE_FILTER_KEEP_ALL`.
const KEEP_ALL: c_uint = 0;

/// What the library is to read.
pub(super) enum Input<'a> {
    Live,
    Xml(&'a str),
    Synthetic(&'a str),
}

/// A topology of the library, destroyed with this value.
struct Handle(NonNull<c_void>);

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: 1. the pointer came from `hwloc_topology_init`; 2. it is destroyed once, here.
        unsafe { hwloc_topology_destroy(self.0.as_ptr()) }
    }
}

/// Turns the library's 0 or −1 into a result.
fn check(result: c_int, what: impl Into<String>) -> Result<(), Error> {
    if result == 0 {
        return Ok(());
    }
    let reason = std::io::Error::last_os_error();
    Err(Error::Hwloc {
        what: format!("{}: {reason}", what.into()),
    })
}

impl Handle {
    fn new() -> Result<Self, Error> {
        // SAFETY: takes nothing, returns a number.
        let version = unsafe { hwloc_get_api_version() };
        // The C interface changed in 2.0 and does again in 3.0.
        if version >> 16 != 2 {
            return Err(Error::Hwloc {
                what: format!("version {version:#x} of its interface is not 2.x"),
            });
        }
        let mut raw: Raw = core::ptr::null_mut();
        // SAFETY: the pointer is to a variable that outlives the call.
        let result = unsafe { hwloc_topology_init(&raw mut raw) };
        check(result, "a topology could not be made")?;
        let raw = NonNull::new(raw);
        raw.map(Self).ok_or_else(|| Error::Hwloc {
            what: "init returned a null pointer".into(),
        })
    }

    fn read(&self, input: &Input<'_>) -> Result<(), Error> {
        let raw = self.0.as_ptr();
        // SAFETY: initialised (by `new`) and not loaded.
        let result = unsafe { hwloc_topology_set_flags(raw, INCLUDE_DISALLOWED) };
        check(result, "flags were refused")?;
        // SAFETY: as above.
        let result = unsafe { hwloc_topology_set_icache_types_filter(raw, KEEP_ALL) };
        check(result, "instruction caches were refused")?;
        match input {
            Input::Live => {}
            Input::Synthetic(text) => {
                let c = CString::new(*text);
                let c = c.map_err(|_| Error::Hwloc {
                    what: "the description holds a zero byte".into(),
                })?;
                // SAFETY: 1. as above; 2. the text ends in a zero byte and outlives the call, in
                // which the library copies it.
                let result = unsafe { hwloc_topology_set_synthetic(raw, c.as_ptr()) };
                check(result, format!("the description {text:?} was refused"))?;
            }
            Input::Xml(text) => {
                let c = CString::new(*text);
                let c = c.map_err(|_| Error::Hwloc {
                    what: "the XML holds a zero byte".into(),
                })?;
                let size = c_int::try_from(text.len() + 1);
                let size = size.map_err(|_| Error::Hwloc {
                    what: "the XML is too long".into(),
                })?;
                // SAFETY: 1. as above; 2. `size` bytes with the final zero are readable and outlive
                // the call, in which the library copies them.
                let result = unsafe { hwloc_topology_set_xmlbuffer(raw, c.as_ptr(), size) };
                check(result, "the XML was refused")?;
            }
        }
        // SAFETY: initialised and loaded once, here.
        check(
            unsafe { hwloc_topology_load(raw) },
            "the machine could not be read",
        )
    }

    fn export(&self) -> Result<String, Error> {
        let mut buffer: *mut c_char = core::ptr::null_mut();
        let mut length: c_int = 0;
        let raw = self.0.as_ptr();
        // SAFETY: 1. loaded by `read`; 2. both pointers are to variables that outlive the call.
        let result =
            unsafe { hwloc_topology_export_xmlbuffer(raw, &raw mut buffer, &raw mut length, 0) };
        check(result, "no XML could be written")?;
        let size = usize::try_from(length).unwrap_or(0);
        if buffer.is_null() {
            return Err(Error::Hwloc {
                what: "export returned a null pointer".into(),
            });
        }
        // SAFETY: 1. the library says that `length` bytes are there; 2. nothing writes to them
        // before they are freed below.
        let bytes = unsafe { core::slice::from_raw_parts(buffer.cast::<u8>(), size) };
        let text = String::from_utf8_lossy(bytes)
            .trim_end_matches('\0')
            .to_string();
        // SAFETY: 1. the buffer came from this topology's export; 2. it is freed once and not used
        // again.
        unsafe { hwloc_free_xmlbuffer(raw, buffer) };
        Ok(text)
    }
}

/// Exports the machine as XML of hwloc 2.
pub(super) fn xml(input: Input<'_>) -> Result<String, Error> {
    let handle = Handle::new()?;
    handle.read(&input)?;
    handle.export()
}

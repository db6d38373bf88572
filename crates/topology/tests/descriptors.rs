//! Goal: a process without free file descriptors gets an error that names the file, a flat machine
//! of the right size, and its parallelism. Method: a file of its own, so that the limit meets no
//! other test.
#![cfg(target_os = "linux")]

use stealyard_topology::{Error, Source, Topology, available_parallelism, mask};

#[test]
fn o3_no_descriptor_is_free() {
    let none = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 1 << 10,
    };
    // SAFETY: the pointer is to a value that outlives the call.
    let result = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const none) };
    assert_eq!(result, 0);

    let (machine, error) = Topology::detect_or_flat();
    let error = error.expect("no file can be opened");
    let Error::Read { path, errno, .. } = &error else {
        panic!("{error}")
    };
    assert!(path.starts_with("/sys/devices/system/cpu"), "{error}");
    assert_eq!(*errno, Some(libc::EMFILE));
    let mask = mask().expect("a system call needs no descriptor");
    assert_eq!(
        (machine.online(), machine.cores().len()),
        (&mask, mask.len())
    );
    assert!(matches!(machine.source(), Source::Flat(why) if why.contains("/sys/devices")));

    let parallelism = available_parallelism();
    assert_eq!(parallelism.get(), mask.len(), "{parallelism}");
    assert!(
        !stealyard_topology::Limits::read().problems().is_empty(),
        "and it says what is missing"
    );
}

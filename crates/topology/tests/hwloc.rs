//! Goal: sysfs and libhwloc read the same machine as equal values, and both parsers mean the same
//! by a synthetic description. Method: the live machine, a table of descriptions, and every
//! captured tree in a child process with `HWLOC_FSROOT`, because the library takes that from the
//! environment.
#![cfg(all(target_os = "linux", feature = "hwloc"))]

#[path = "support/tree.rs"]
#[expect(dead_code, reason = "only captured trees are used here")]
mod tree;

use std::process::Command;
use stealyard_topology::{Error, Topology};
use tree::{CAPTURED, Tree};

fn assert_same(left: &Topology, right: &Topology, what: &str) {
    let differences = left.differences(right);
    assert!(
        differences.is_empty(),
        "{what}:\n{}",
        differences.join("\n")
    );
    assert_eq!(left, right, "`differences` sees all that `==` sees");
}

#[test]
fn the_live_machine() {
    let read = || {
        let sysfs = Topology::detect().expect("this machine can be read");
        (
            sysfs,
            Topology::from_hwloc().expect("libhwloc reads this machine"),
        )
    };
    // Memory and CPUs of a virtual machine may come and go between the two.
    let pairs = std::iter::repeat_with(read).take(3);
    let (sysfs, hwloc) = pairs
        .reduce(|last, next| if last.0 == last.1 { last } else { next })
        .expect("3");
    assert_same(&sysfs, &hwloc, "live");
}

#[test]
fn every_captured_tree() {
    for (name, text) in CAPTURED {
        let root = Tree::parse(text).unpack(&format!("hwloc-{name}"));
        std::fs::create_dir_all(root.0.join("proc")).expect("temporary directory");
        let output = Command::new(std::env::current_exe().expect("a test has a path"))
            .args([
                "--exact",
                "child_reads_the_tree_of_its_environment",
                "--ignored",
                "--nocapture",
            ])
            .env("HWLOC_FSROOT", &root.0)
            .output()
            .expect("a child process");
        let text =
            String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name}:\n{text}");
        assert!(
            text.contains("1 passed"),
            "{name}: the child ran nothing:\n{text}"
        );
    }
}

#[test]
#[ignore = "run by every_captured_tree in a child process"]
fn child_reads_the_tree_of_its_environment() {
    let root = std::env::var_os("HWLOC_FSROOT").expect("set by the parent");
    let sysfs = Topology::from_sysfs(&root).expect("a sound tree");
    let hwloc = Topology::from_hwloc_unlimited().expect("libhwloc reads the tree");
    assert_same(&sysfs, &hwloc, "sysfs against hwloc");
}

#[test]
fn synthetic_descriptions_mean_the_same() {
    for text in [
        "pack:2 [numa] l3:2 core:4 pu:2",
        "pack:2 [numa(memory=4GB)] l2:2(size=512kB) core:2 pu:2(indexes=2*8:1*2)",
        "pack:2 core:2 pu:2(indexes=package:core)",
        "l3:2 l2:2 l1d:1 l1i:1 core:1 pu:1",
        "[numa(memory=1TiB)] pack:2 [numa] [numa] core:1 pu:1",
        "pack:2 numanode:1(memory=1MiB) l1:1 pu:1(indexes=0,2)",
        "die:2 group:2 core:2 pu:2",
        "pack:3(indexes=5,1,3) die:2 l2:2 core:2 pu:1(indexes=4*6:1*4)",
        "numa:2(memory=2GB) core:2 pu:1",
        "2",
        "3 2",
        "2 2 2",
        "2 3 4 2",
        "2 1 2 2 2",
        "2 1 2 2 1 1",
        "2 1 2 2 1 1 2",
    ] {
        let ours = Topology::synthetic(text).unwrap_or_else(|e| panic!("{text}: {e}"));
        let theirs = Topology::from_hwloc_synthetic(text).unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_same(&ours, &theirs, text);
    }
}

#[test]
fn a_saved_machine_and_files_that_are_none() {
    let root = Tree::default()
        .set("machine.xml", include_str!("sysfs/numa2.xml"))
        .set(
            "broken.xml",
            "<topology version=\"2.0\"><object type=\"Machine\"",
        )
        .set("text.xml", "not XML at all")
        .unpack("xml");
    let machine = Topology::from_hwloc_xml(root.0.join("machine.xml")).expect("written by lstopo");
    let same = Topology::synthetic("pack:2 numa:1 l3:1 core:2 pu:2").expect("a sound description");
    assert_same(&machine, &same, "XML");
    for name in ["broken.xml", "text.xml", "missing.xml"] {
        let error = Topology::from_hwloc_xml(root.0.join(name)).expect_err(name);
        assert!(
            matches!(error, Error::Hwloc { .. } | Error::Read { .. }),
            "{name}: {error}"
        );
    }
    for text in ["pack:0 pu:1", "warp:2", ""] {
        assert!(Topology::from_hwloc_synthetic(text).is_err(), "{text:?}");
    }
}

//! Goal: what changes about a machine is told, and which workers it concerns. Method: a captured
//! tree that is edited between two readings, and machines restricted by hand.
#![cfg(unix)]

#[path = "support/tree.rs"]
#[expect(dead_code, reason = "only one captured tree is used here")]
mod tree;

use stealyard_topology::{Change, CpuSet, Limits, Placement, Topology};
use tree::{CPU, NODE, captured};

fn set(list: &str) -> CpuSet {
    list.parse().expect("a list of CPUs")
}

#[test]
fn o5_a_cpu_goes_offline_under_a_worker_and_the_plan_is_made_anew() {
    let root = captured("trailing_zero_bytes").unpack("refresh");
    let before = Topology::from_sysfs(&root.0).expect("a sound tree");
    let limits = Limits::read();
    let same = before.refresh(&limits).expect("readable");
    assert_eq!((same.changes, &same.machine), (vec![], &before));
    let plan = Placement::Compact.plan(&before, 4).expect("room");

    std::fs::write(root.0.join(CPU).join("online"), "0-1,3-7\n").expect("temporary file");
    let after = before.refresh(&limits).expect("readable");
    assert_eq!(after.changes, [Change::WentOffline(set("2"))]);
    assert_eq!(after.changes[0].to_string(), "CPU 2 went offline");
    assert_eq!(plan.stranded(&after.machine), [2]);
    let anew = Placement::Compact.plan(&after.machine, 4).expect("room");
    assert_eq!(plan.moved(&anew), [2, 3]);
    assert_eq!(anew.stranded(&after.machine), [0; 0]);

    std::fs::write(root.0.join(CPU).join("online"), "0-7\n").expect("temporary file");
    let again = after.machine.refresh(&limits).expect("readable");
    assert_eq!(again.changes, [Change::CameOnline(set("2"))]);

    // Memory is added to a node, and no CPU has moved.
    let meminfo = root.0.join(NODE).join("node1/meminfo");
    std::fs::write(meminfo, "Node 1 MemTotal: 1 kB\n").expect("temporary file");
    let changes = again.machine.refresh(&limits).expect("readable").changes;
    assert!(
        matches!(&changes[..], [Change::Rearranged(lines)] if lines.len() == 1),
        "{changes:?}"
    );

    std::fs::remove_dir_all(root.0.join("sys")).expect("it is there");
    assert!(before.refresh(&limits).is_err());
}

#[test]
fn o5_a_cpuset_that_moves_is_told() {
    let machine = Topology::synthetic("numa:2 core:2 pu:1").expect("sound");
    let part = |cpus: &str| machine.clone().restricted_to(&set(cpus)).expect("online");
    let changes = part("0-1").changes_to(&part("1-2"));
    assert_eq!(
        changes,
        [Change::Forbidden(set("0")), Change::Allowed(set("2"))]
    );
    let plan = Placement::PerNode.plan(&machine, 2).expect("room");
    assert_eq!(plan.stranded(&part("0-2")), [1]);
    let fewer = Placement::PerNode.plan(&machine, 1).expect("room");
    assert_eq!(plan.moved(&fewer), [1]);
}

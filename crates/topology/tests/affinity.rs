//! Goal: a thread runs where it was bound, and what can't be bound is an error with the CPU's
//! number. Method: bind on the live machine, whatever it is, and ask the kernel; each test in a
//! thread of its own. In emulated machines (`cargo xtask numa`) the same tests see several nodes
//! and offline CPUs.
#![cfg(target_os = "linux")]

use stealyard_topology::{
    CpuSet, Limits, PinError, Placement, Topology, current_cpu, mask, pin, prefer_memory_of,
};

/// Runs a test in a fresh thread, so that no mask outlives it.
fn apart(test: impl FnOnce() + Send) {
    std::thread::scope(|scope| scope.spawn(test).join())
        .unwrap_or_else(|e| std::panic::resume_unwind(e));
}

/// Says why a test shows nothing here; fails in a machine that was made for it.
fn skip(test: &str, why: &str) {
    let must = std::env::var("STEALYARD_MUST_RUN").unwrap_or_default();
    assert!(
        !must.split(',').any(|name| name == test),
        "{test} must run in this machine: {why}"
    );
    eprintln!("skipped: {test}: {why}; cargo xtask numa has a machine for it");
}

#[test]
fn a_thread_runs_where_it_was_bound() {
    let machine = Topology::detect().expect("this machine can be read");
    for cpu in machine.allowed().iter() {
        apart(|| {
            let pinned = pin(&CpuSet::from([cpu])).expect("an allowed CPU");
            assert_eq!(pinned.now, CpuSet::from([cpu]), "A1");
            assert_eq!(mask().expect("Linux has one"), CpuSet::from([cpu]));
            let (at, node) = current_cpu().expect("Linux says");
            assert_eq!(at, cpu);
            let known = machine.cpu(cpu).expect("allowed is online").node;
            assert_eq!(node, machine.nodes()[known].id);
            let back = pin(&pinned.before).expect("it was so before");
            assert_eq!(back.now, pinned.before);
        });
    }
}

#[test]
fn sets_and_seats_are_bound_whole() {
    let machine = Topology::detect().expect("this machine can be read");
    let workers = machine.nodes().len() * 2;
    let plan = Placement::PerNode
        .plan(&machine, workers)
        .expect("any number");
    for seat in plan.seats() {
        apart(|| {
            let pinned = seat.take().expect("allowed").expect("bound");
            assert_eq!(pinned.now, seat.cpus);
            let (at, node) = current_cpu().expect("Linux says");
            assert!(seat.cpus.contains(at));
            assert_eq!(Some(node), seat.node.map(|index| machine.nodes()[index].id));
        });
    }
}

#[test]
fn o4_a_cpu_that_cannot_be_had_is_named() {
    apart(|| {
        let before = mask().expect("Linux has one");
        let absent = Topology::detect()
            .expect("readable")
            .online()
            .last()
            .expect("T5")
            + 1;
        for cpu in [absent, 1023, 1024, 5000, 100_000] {
            let error = pin(&CpuSet::from([cpu])).expect_err("no such CPU");
            assert_eq!(error.cpu(), Some(cpu), "{error}");
            assert!(error.to_string().contains(&format!("CPU {cpu}")), "{error}");
        }
        // The kernel would take the part that exists, and say nothing.
        let first = before.first().expect("a mask is never empty");
        let error = pin(&CpuSet::from([first, 100_000])).expect_err("half a set");
        assert!(
            matches!(&error, PinError::NoSuchCpu { cpu: 100_000, .. }),
            "{error}"
        );
        assert_eq!(pin(&CpuSet::new()), Err(PinError::Empty));
        assert_eq!(mask().expect("Linux has one"), before, "A2");
    });
}

#[test]
fn o7_an_offline_cpu_is_said_to_be_so() {
    let machine = Topology::detect().expect("this machine can be read");
    let Some(cpu) = machine.offline().first() else {
        skip(
            "o7_an_offline_cpu_is_said_to_be_so",
            "every CPU of this machine is online",
        );
        return;
    };
    apart(|| {
        let error = pin(&CpuSet::from([cpu])).expect_err("it is off");
        assert!(
            matches!(&error, PinError::Offline { cpu: named, .. } if *named == cpu),
            "{error}"
        );
    });
    let error = Placement::Explicit(vec![CpuSet::from([cpu])])
        .plan(&machine, 1)
        .expect_err("off");
    assert!(
        error
            .to_string()
            .contains(&format!("CPU {cpu}, which is offline")),
        "{error}"
    );
}

#[test]
fn o4_outside_the_cpuset() {
    let limits = Limits::read();
    let machine = Topology::detect().expect("this machine can be read");
    let allowed = limits
        .cpuset()
        .map_or_else(|| machine.online().clone(), |limit| limit.cpus.clone());
    let Some(cpu) = (machine.online() - &allowed).first() else {
        skip(
            "o4_outside_the_cpuset",
            "no cpuset keeps a CPU from this process",
        );
        return;
    };
    assert!(!machine.allowed().contains(cpu));
    apart(|| {
        let error = pin(&CpuSet::from([cpu])).expect_err("the cpuset forbids it");
        assert!(
            matches!(&error, PinError::NotAllowed { cpu: named, .. } if *named == cpu),
            "{error}"
        );
        let both: CpuSet = [cpu, allowed.first().expect("not empty")]
            .into_iter()
            .collect();
        let error = pin(&both).expect_err("the cpuset forbids a part");
        assert!(
            matches!(&error, PinError::NotAllowed { cpu: named, .. } if *named == cpu),
            "{error}"
        );
    });
}

#[test]
fn o5_a_mask_changed_underneath_is_seen() {
    apart(|| {
        let mut limits = Limits::read();
        let before = limits.usable_cpus();
        if before.len() < 2 {
            skip(
                "o5_a_mask_changed_underneath_is_seen",
                "one CPU cannot be taken away",
            );
            return;
        }
        let one = CpuSet::from([before.last().expect("two CPUs")]);
        let _ = pin(&one).expect("an allowed CPU");
        assert!(limits.refresh(), "the mask has changed");
        assert_eq!(limits.usable_cpus(), one);
        assert_eq!(limits.available_parallelism().get(), 1);
        let machine = Topology::from_sysfs("/").expect("this machine can be read");
        let machine = machine.with_limits(&limits).expect("it is online");
        assert_eq!(machine.allowed(), &one);
        let _ = pin(&before).expect("it was so before");
        assert!(limits.refresh(), "and back");
        assert_eq!(
            machine.with_limits(&limits).expect("online").allowed(),
            &before,
            "it may grow again"
        );
    });
}

#[test]
fn o6_the_mask_is_read_whatever_its_size() {
    // With `possible_cpus=2048` on the kernel's command line (`cargo xtask numa`) a buffer for 1024
    // CPUs is refused; anywhere else the first try fits.
    let mask = mask().expect("the buffer grows until it fits");
    assert!(!mask.is_empty());
    assert!(mask.is_subset(Topology::detect().expect("readable").online()));
}

#[test]
fn a_thread_prefers_the_memory_of_its_node() {
    let machine = Topology::detect().expect("this machine can be read");
    apart(|| {
        if let Err(error) = prefer_memory_of(None) {
            skip(
                "a_thread_prefers_the_memory_of_its_node",
                &error.to_string(),
            );
            return;
        }
        let plan = Placement::PerNode.with_local_memory();
        let plan = plan
            .plan(&machine, machine.nodes().len())
            .expect("any number");
        for seat in plan.seats() {
            let pinned = seat.take().expect("allowed").expect("bound");
            assert_eq!(pinned.now, seat.cpus);
        }
        prefer_memory_of(None).expect("it may be taken back");
        let before = mask().expect("Linux has one");
        for node in [1023, 1024, u32::MAX] {
            let error = prefer_memory_of(Some(node)).expect_err("no such node");
            assert!(error.to_string().contains("set_mempolicy"), "{error}");
        }
        assert_eq!(mask().expect("Linux has one"), before, "A2");
    });
}

/// Makes `sched_setaffinity` fail with `EPERM` for the calling thread and those it starts, as
/// sandboxes do.
fn forbid_binding() {
    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const JUMP_IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let line = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let number = u32::try_from(libc::SYS_sched_setaffinity).expect("a small number");
    let mut lines = [
        line(LOAD, 0, 0, 0), // the number of the call
        line(JUMP_IF_EQUAL, 0, 1, number),
        line(RETURN, 0, 0, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
        line(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog {
        len: 4,
        filter: lines.as_mut_ptr(),
    };
    // SAFETY: this option takes numbers only.
    let result = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    assert_eq!(result, 0);
    // SAFETY: `program` points to four lines that outlive the call; the kernel copies them.
    let result = unsafe {
        libc::prctl(
            libc::PR_SET_SECCOMP,
            libc::SECCOMP_MODE_FILTER,
            &raw const program,
        )
    };
    assert_eq!(result, 0, "a filter can be set after NO_NEW_PRIVS");
}

#[test]
fn o4_a_sandbox_that_forbids_binding() {
    apart(|| {
        let before = mask().expect("Linux has one");
        forbid_binding();
        let cpu = before.last().expect("a mask is never empty");
        assert_eq!(pin(&CpuSet::from([cpu])), Err(PinError::Denied { cpu }));
        assert_eq!(mask().expect("Linux has one"), before, "A2");
    });
}

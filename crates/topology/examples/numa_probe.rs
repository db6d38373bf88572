//! Binds a worker to every seat of every placement and asks the kernel where the worker, its mask
//! and its memory really are.
//!
//! ```text
//! numa_probe [nodes=2] [cpus=8] [cores=4] [offline=1,6] [allowed=0-7] [parallelism=2]
//!            [distances=10,21/21,10] [flip]
//! ```
//! Values given are compared with what is found. `flip` takes a CPU off line under a bound worker
//! and changes the cgroup's quota and cpuset underneath: it needs root, and is meant for emulated
//! machines (`cargo xtask numa`). Ends with status 1 if anything is not as it should be.

#![expect(clippy::print_stdout, reason = "a command-line program prints")]

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    linux::main()
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("This probe reads Linux's files.");
}

#[cfg(target_os = "linux")]
mod linux {
    use std::collections::BTreeMap;
    use std::fs;
    use std::path::Path;
    use std::process::ExitCode;
    use std::sync::Barrier;
    use stealyard_topology::{
        CpuSet, Limits, PinError, Placement, Seat, Topology, current_cpu, mask, pin,
    };

    /// What a worker touches to see where its memory goes.
    const MEMORY: usize = 2 << 20;
    const PAGE: usize = 4096;

    /// A node with less free memory may be below its watermark, with all workers touching theirs at
    /// once.
    const SHORT_KIB: u64 = 64 << 10;

    /// Counts what is wrong and prints it.
    #[derive(Default)]
    struct Verdict {
        checks: usize,
        failures: usize,
        /// Workers whose memory could be judged, and those whose node was short of it.
        judged: usize,
        short: usize,
    }

    impl Verdict {
        fn check(&mut self, right: bool, what: impl FnOnce() -> String) {
            self.checks += 1;
            if !right {
                self.failures += 1;
                println!("WRONG: {}", what());
            }
        }
    }

    pub(super) fn main() -> ExitCode {
        let mut verdict = Verdict::default();
        let machine = match Topology::detect() {
            Ok(machine) => machine,
            Err(error) => {
                println!("WRONG: {error}");
                return ExitCode::FAILURE;
            }
        };
        println!("{machine:?}");
        for argument in std::env::args().skip(1) {
            match argument.split_once('=') {
                Some((key, value)) => expect(&machine, key, value, &mut verdict),
                None if argument == "flip" => {
                    flip_online(&machine, &mut verdict);
                    flip_quota(&mut verdict);
                    flip_cpuset(&mut verdict);
                }
                None => verdict.check(false, || format!("{argument:?} is not KEY=VALUE or flip")),
            }
        }
        let (cpus, cores) = (machine.allowed().len(), allowed_cores(&machine));
        for (placement, workers) in [
            (Placement::Compact, cpus),
            (Placement::Spread, cpus),
            (Placement::Balanced, cores),
            (Placement::OnePerCore, cores),
            (Placement::PerNode, cpus),
        ] {
            seat_all(&machine, &placement, workers, &mut verdict);
        }
        let (judged, short) = (verdict.judged, verdict.short);
        verdict.check(judged > short, || {
            format!("nodes were short of memory for {short} workers, and had some for {judged}")
        });
        println!("{} checks, {} wrong", verdict.checks, verdict.failures);
        if verdict.failures == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }

    fn allowed_cores(machine: &Topology) -> usize {
        machine
            .cores()
            .iter()
            .filter(|core| !core.cpus.is_disjoint(machine.allowed()))
            .count()
    }

    fn expect(machine: &Topology, key: &str, value: &str, verdict: &mut Verdict) {
        let row = |distances: &Vec<u32>| {
            let words: Vec<String> = distances.iter().map(ToString::to_string).collect();
            words.join(",")
        };
        let found = match key {
            "nodes" => machine.nodes().len().to_string(),
            "cpus" => machine.cpus().len().to_string(),
            "cores" => machine.cores().len().to_string(),
            "offline" => machine.offline().to_string(),
            "allowed" => machine.allowed().to_string(),
            "parallelism" => Limits::read().available_parallelism().get().to_string(),
            "distances" => {
                let rows: Vec<String> = machine.nodes().iter().map(|n| row(&n.distances)).collect();
                rows.join("/")
            }
            _ => "no such key".into(),
        };
        verdict.check(found == value, || {
            format!("{key} is {found}, expected {value}")
        });
    }

    /// What a worker saw while it was bound.
    struct Seen {
        thread: libc::c_long,
        cpu: Option<(usize, u32)>,
        /// The node of each page it touched first.
        pages: Vec<i32>,
        /// KiB that each node, by the kernel's number, had free before that and has after it.
        free: [BTreeMap<u32, u64>; 2],
        error: Option<PinError>,
    }

    fn seat_all(machine: &Topology, placement: &Placement, workers: usize, verdict: &mut Verdict) {
        let plan = match placement.plan(machine, workers) {
            Ok(plan) => plan,
            Err(error) => return verdict.check(false, || error.to_string()),
        };
        // The workers stay until their masks have been read from outside.
        let (bound, read) = (Barrier::new(workers + 1), Barrier::new(workers + 1));
        let slots: Vec<std::sync::Mutex<Option<Seen>>> =
            plan.seats().iter().map(|_| None.into()).collect();
        std::thread::scope(|scope| {
            for (seat, slot) in plan.seats().iter().zip(&slots) {
                let (bound, read) = (&bound, &read);
                scope.spawn(move || {
                    *slot.lock().expect("no panic") = Some(work(seat));
                    bound.wait();
                    read.wait();
                });
            }
            bound.wait();
            for (worker, (seat, slot)) in plan.seats().iter().zip(&slots).enumerate() {
                let slot = slot.lock().expect("no panic");
                let name = format!("{placement}, worker {worker}");
                judge(
                    machine,
                    seat,
                    slot.as_ref().expect("it was stored"),
                    &name,
                    verdict,
                );
            }
            read.wait();
        });
        println!("{placement}: {workers} workers seated");
    }

    fn work(seat: &Seat) -> Seen {
        let error = seat.take().err();
        let before = free_memory();
        let pages = touch_new_pages();
        // SAFETY: takes nothing, returns a number.
        let thread = unsafe { libc::syscall(libc::SYS_gettid) };
        Seen {
            thread,
            cpu: current_cpu(),
            pages,
            free: [before, free_memory()],
            error,
        }
    }

    fn judge(machine: &Topology, seat: &Seat, seen: &Seen, name: &str, verdict: &mut Verdict) {
        if let Some(error) = &seen.error {
            return verdict.check(false, || format!("{name}: {error}"));
        }
        let (cpu, node) = seen.cpu.unwrap_or((usize::MAX, u32::MAX));
        verdict.check(seat.cpus.contains(cpu), || {
            format!("{name}: on CPU {cpu}, not {}", seat.cpus)
        });
        let status = fs::read_to_string(format!("/proc/self/task/{}/status", seen.thread));
        let status = status.unwrap_or_default();
        let list = status
            .lines()
            .find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
        let list = list.and_then(|list| list.trim().parse::<CpuSet>().ok());
        verdict.check(list.as_ref() == Some(&seat.cpus), || {
            format!("{name}: /proc says {list:?}, asked for {}", seat.cpus)
        });
        let Some(index) = seat.node else { return };
        let seated = &machine.nodes()[index];
        verdict.check(node == seated.id, || {
            format!("{name}: on node {node}, not {}", seated.id)
        });
        // A node without memory gets its pages from the nearest that has some.
        let with_memory = |index: &usize| {
            machine.nodes()[*index]
                .memory
                .is_some_and(|bytes| bytes > 0)
        };
        let nearest = (0..machine.nodes().len()).filter(with_memory);
        let nearest = nearest
            .min_by_key(|&other| (seated.distances[other], other))
            .unwrap_or(index);
        let home = i32::try_from(machine.nodes()[nearest].id).unwrap_or(-1);
        let away = seen.pages.iter().filter(|&&page| page != home).count();
        let id = machine.nodes()[nearest].id;
        let [before, after] = seen
            .free
            .each_ref()
            .map(|free| free.get(&id).copied().unwrap_or(0));
        if away > 0 && before.min(after) < SHORT_KIB {
            // Below its watermark a node gives nothing, until the kernel has freed some in the
            // background; a loaded host lets that wait. The kernel promises no more.
            verdict.short += 1;
            println!(
                "{name}: {away} pages elsewhere; node {home} had {before} KiB free, then {after}"
            );
            return;
        }
        verdict.judged += 1;
        verdict.check(away == 0 && !seen.pages.is_empty(), || {
            format!(
                "{name}: {away} of {} pages are not on node {home}, which had {before} KiB free, then {after}",
                seen.pages.len()
            )
        });
    }

    /// KiB that each node has free.
    fn free_memory() -> BTreeMap<u32, u64> {
        let node = |entry: std::io::Result<fs::DirEntry>| {
            let entry = entry.ok()?;
            let id = entry
                .file_name()
                .to_str()?
                .strip_prefix("node")?
                .parse()
                .ok()?;
            let text = fs::read_to_string(entry.path().join("meminfo")).ok()?;
            let (_, rest) = text.split_once("MemFree:")?;
            Some((id, rest.split_whitespace().next()?.parse().ok()?))
        };
        let entries = fs::read_dir("/sys/devices/system/node")
            .into_iter()
            .flatten();
        entries.filter_map(node).collect()
    }

    /// Touches pages that no thread has touched before and gives the node of each, negative where
    /// the kernel does not say. They are fresh from the kernel, not from the allocator, which hands
    /// out again what another thread has touched on its node and freed.
    fn touch_new_pages() -> Vec<i32> {
        let count = MEMORY / PAGE;
        let (access, kind) = (
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
        );
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory of ours.
        let start = unsafe { libc::mmap(core::ptr::null_mut(), MEMORY, access, kind, -1, 0) };
        if start == libc::MAP_FAILED {
            return Vec::new();
        }
        // Else the kernel joins neighbouring mappings and gives one huge page to two workers: it
        // lands on the node of the one that came first. It fails only on a kernel without huge
        // pages, which needs no advice.
        // SAFETY: the mapping is ours; the advice changes none of its content.
        let _ = unsafe { libc::madvise(start, MEMORY, libc::MADV_NOHUGEPAGE) };
        // SAFETY: 1. the mapping is `MEMORY` bytes, writable, zeroed; 2. nothing else knows of it.
        let memory = unsafe { core::slice::from_raw_parts_mut(start.cast::<u8>(), MEMORY) };
        memory.iter_mut().step_by(PAGE).for_each(|byte| *byte = 1);
        let pages: Vec<*const u8> = memory.chunks(PAGE).map(<[u8]>::as_ptr).collect();
        let mut nodes = vec![-1i32; count];
        let nowhere: *const i32 = core::ptr::null();
        // SAFETY: 1. `pages` and `nodes` hold `count` items and outlive the call; 2. with no target
        // nodes given the call moves nothing, it only fills in `nodes`.
        let result = unsafe {
            libc::syscall(
                libc::SYS_move_pages,
                0,
                count,
                pages.as_ptr(),
                nowhere,
                nodes.as_mut_ptr(),
                0,
            )
        };
        // SAFETY: 1. the mapping is whole and ours; 2. `memory` and `pages` are not used again.
        unsafe { libc::munmap(start, MEMORY) };
        if result == 0 { nodes } else { vec![-1; count] }
    }

    /// O5 and O7: a CPU goes off line under a worker bound to it.
    fn flip_online(machine: &Topology, verdict: &mut Verdict) {
        let Some(cpu) = machine.allowed().last().filter(|&cpu| cpu > 0) else {
            return;
        };
        let switch = format!("/sys/devices/system/cpu/cpu{cpu}/online");
        let only = CpuSet::from([cpu]);
        let mut checks = Verdict::default();
        std::thread::scope(|scope| {
            let worker = scope.spawn(|| {
                let mut checks = Verdict::default();
                checks.check(pin(&only).is_ok(), || format!("CPU {cpu} can't be bound"));
                let mut limits = Limits::read();
                checks.check(fs::write(&switch, "0").is_ok(), || {
                    format!("{switch} can't be written")
                });
                checks.check(limits.refresh(), || "the lost CPU was not seen".into());
                let now = mask().unwrap_or_default();
                checks.check(!now.contains(cpu), || format!("still bound to {now}"));
                let error = pin(&only).expect_err("it is off");
                let named = matches!(&error, PinError::Offline { cpu: named, .. } if *named == cpu);
                checks.check(named, || format!("not called offline: {error}"));
                println!("flip: with CPU {cpu} off, {error}");
                checks.check(fs::write(&switch, "1").is_ok(), || {
                    format!("{switch} can't be written")
                });
                checks.check(pin(&only).is_ok(), || {
                    format!("CPU {cpu} is back and can't be bound")
                });
                checks
            });
            checks = worker.join().unwrap_or(Verdict {
                checks: 1,
                failures: 1,
                ..Verdict::default()
            });
        });
        verdict.checks += checks.checks;
        verdict.failures += checks.failures;
    }

    /// O8: the quota changes while we run.
    fn flip_quota(verdict: &mut Verdict) {
        let mut limits = Limits::read();
        let Some(file) = limits.quotas().first().map(|quota| quota.file.clone()) else {
            return;
        };
        let before = fs::read_to_string(&file).unwrap_or_default();
        let wrote = fs::write(&file, "50000 100000").is_ok() && limits.refresh();
        let workers = limits.available_parallelism();
        verdict.check(wrote && workers.get() == 1, || {
            format!("half a CPU, and yet {workers}")
        });
        println!("flip: {workers}");
        let back = fs::write(&file, before).is_ok() && limits.refresh();
        verdict.check(back, || format!("{} was not put back", file.display()));
    }

    /// O5: the cpuset shrinks while we run.
    fn flip_cpuset(verdict: &mut Verdict) {
        let mut limits = Limits::read();
        let Some(limit) = limits.cpuset().cloned() else {
            return;
        };
        let file = limit.file.with_file_name("cpuset.cpus");
        if !Path::new(&file).exists() {
            return;
        }
        let before = fs::read_to_string(&file).unwrap_or_default();
        let first = limit.cpus.first().unwrap_or(0);
        let wrote = fs::write(&file, first.to_string()).is_ok() && limits.refresh();
        let usable = limits.usable_cpus();
        verdict.check(wrote && usable == CpuSet::from([first]), || {
            format!("usable is {usable}")
        });
        println!("flip: cpuset {usable}, {}", limits.available_parallelism());
        let back = fs::write(&file, before).is_ok() && limits.refresh();
        verdict.check(back && limits.usable_cpus() == limit.cpus, || {
            "not put back".into()
        });
    }
}

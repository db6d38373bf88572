//! A running process: its threads, where each may run, and where it ran last.

use std::fs;
use std::path::{Path, PathBuf};
use stealyard_topology::{CpuSet, Topology};

/// A process and its threads.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    pub(crate) name: String,
    /// Those named as workers first, by name and number; then by number of the thread.
    pub(crate) threads: Vec<Thread>,
}

/// A thread of a process.
#[derive(Debug)]
pub(crate) struct Thread {
    pub(crate) id: u32,
    pub(crate) name: String,
    /// The index in the name of a worker, as in `stealyard-3`.
    pub(crate) worker: Option<usize>,
    /// The CPUs it may run on.
    pub(crate) cpus: CpuSet,
    /// The CPU it ran on last.
    pub(crate) last_cpu: Option<usize>,
}

impl Process {
    /// Reads `/proc/PID`.
    pub(crate) fn read(pid: u32) -> Result<Self, String> {
        Self::read_from(&PathBuf::from(format!("/proc/{pid}")), pid)
    }

    fn read_from(home: &Path, pid: u32) -> Result<Self, String> {
        let name = fs::read_to_string(home.join("comm")).map_err(|error| {
            format!("process {pid} cannot be read: {}: {error}", home.display())
        })?;
        let tasks = fs::read_dir(home.join("task"))
            .map_err(|error| format!("threads of process {pid} cannot be read: {error}"))?;
        // A thread that has ended in between is none.
        let mut threads: Vec<Thread> = tasks
            .filter_map(|task| thread(&task.ok()?.path()))
            .collect();
        threads.sort_by_key(|thread| {
            let stem = thread.worker.map(|_| thread.name.clone());
            let stem = stem.and_then(|name| Some(name.rsplit_once('-')?.0.to_owned()));
            (stem.is_none(), stem, thread.worker, thread.id)
        });
        Ok(Self {
            pid,
            name: name.trim().into(),
            threads,
        })
    }
}

fn thread(folder: &Path) -> Option<Thread> {
    let read = |name: &str| fs::read_to_string(folder.join(name)).ok();
    let name: String = read("comm")?.trim().into();
    let status = read("status")?;
    let list = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    // The name in parentheses may hold anything; the 37th field after it is the CPU.
    let stat = read("stat")?;
    let (_, fields) = stat.rsplit_once(')')?;
    Some(Thread {
        id: folder.file_name()?.to_str()?.parse().ok()?,
        worker: name
            .rsplit_once('-')
            .and_then(|(_, index)| index.parse().ok()),
        name,
        cpus: list.trim().parse().ok()?,
        last_cpu: fields
            .split_whitespace()
            .nth(36)
            .and_then(|cpu| cpu.parse().ok()),
    })
}

impl Thread {
    /// Returns what is wrong with where the thread may run.
    pub(crate) fn complaints(&self, machine: &Topology) -> Vec<String> {
        let mut complaints = Vec::new();
        let off = &self.cpus & machine.offline();
        if !off.is_empty() && self.cpus.is_disjoint(machine.online()) {
            complaints.push(format!("bound to {}, which is offline", off.in_words()));
        }
        if let Some(cpu) = self.last_cpu
            && !self.cpus.contains(cpu)
        {
            complaints.push(format!("ran last on CPU {cpu}, which it may not use now"));
        }
        let shared = machine
            .nodes()
            .iter()
            .filter(|node| !node.cpus.is_disjoint(&self.cpus));
        let nodes = shared.count();
        if self.worker.is_some() && nodes > 1 && self.cpus.len() < machine.allowed().len() {
            complaints.push(format!("bound across {nodes} nodes"));
        }
        complaints
    }
}

#[cfg(test)]
mod tests {
    //! Goal: threads are read and named, and what is wrong is said. Method: this process, and
    //! threads made up.

    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_a_worker_where_it_was_bound() {
        let mask = stealyard_topology::mask().expect("Linux has one");
        let cpu = CpuSet::from([mask.first().expect("never empty")]);
        let (ready, wait) = std::sync::mpsc::channel();
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let bound = cpu.clone();
        let worker = std::thread::Builder::new().name("stealyard-7".into());
        let worker = worker.spawn(move || {
            let _ = stealyard_topology::pin(&bound).expect("an allowed CPU");
            ready.send(()).expect("the test waits");
            let _ = ended.recv();
        });
        wait.recv().expect("the thread is bound");
        let process = Process::read(std::process::id()).expect("this process");
        let found = process
            .threads
            .iter()
            .find(|thread| thread.name == "stealyard-7");
        let found = found.expect("the thread is there");
        assert_eq!((found.worker, &found.cpus), (Some(7), &cpu));
        assert_eq!(found.last_cpu, cpu.first());
        drop(end);
        worker.expect("it was started").join().expect("it ends");
        assert!(Process::read(u32::MAX).is_err());
    }

    #[test]
    fn a_worker_across_nodes_or_where_it_may_not_be_is_told() {
        let machine = Topology::synthetic("numa:2 core:2 pu:1").expect("sound");
        let thread = |cpus: &str, last| Thread {
            id: 1,
            name: "stealyard-0".into(),
            worker: Some(0),
            cpus: cpus.parse().expect("a list"),
            last_cpu: Some(last),
        };
        assert_eq!(thread("0-1", 0).complaints(&machine), [""; 0]);
        assert_eq!(
            thread("1-2", 1).complaints(&machine),
            ["bound across 2 nodes"]
        );
        let said = thread("0", 3).complaints(&machine);
        assert_eq!(said, ["ran last on CPU 3, which it may not use now"]);
    }
}

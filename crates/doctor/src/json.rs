//! The whole value as JSON, for programs: on one line, and nearness of many workers on request
//! only.

use crate::findings::{Findings, source};
use crate::process::Process;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Value, json};
use std::io;
use stealyard_topology::{CpuSet, Limits, Plan, Topology};

/// Nearness is printed of so many workers without being asked for; it grows with their square.
const NEARNESS: usize = 64;

pub(crate) fn write(findings: &Findings, out: &mut impl io::Write) -> io::Result<()> {
    serde_json::to_writer(&mut *out, &Document(findings))?;
    out.write_all(b"\n")
}

/// Written piece by piece: 67 million ranks of 8,192 workers never are in memory as values.
struct Document<'a>(&'a Findings);

impl Serialize for Document<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let findings = self.0;
        let mut map = serializer.serialize_map(None)?;
        let machine = machine(&findings.machine);
        for (key, value) in machine.as_object().into_iter().flatten() {
            map.serialize_entry(key, value)?;
        }
        map.serialize_entry("failure", &findings.failure)?;
        map.serialize_entry("limits", &findings.limits.as_ref().map(limits))?;
        let process = findings.process.as_ref();
        map.serialize_entry(
            "process",
            &process.map(|process| threads(process, &findings.machine)),
        )?;
        map.serialize_entry("placement", &Placed(findings))?;
        map.end()
    }
}

/// The placement that was asked about.
struct Placed<'a>(&'a Findings);

impl Serialize for Placed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("policy", &self.0.placement)?;
        map.serialize_entry("workers", &self.0.workers)?;
        match &self.0.plan {
            Ok(plan) => map.serialize_entry("plan", &Seats(self.0, plan))?,
            Err(error) => map.serialize_entry("plan", &json!({ "error": error }))?,
        }
        map.end()
    }
}

/// The seats of the workers, and how near they are to each other.
struct Seats<'a>(&'a Findings, &'a Plan);

impl Serialize for Seats<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(findings, plan) = self;
        let mut seats = json!(plan.seats());
        for (index, seat) in seats.as_array_mut().into_iter().flatten().enumerate() {
            seat["index"] = json!(index);
        }
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("seats", &seats)?;
        map.serialize_entry("notes", plan.notes())?;
        let wanted = findings.nearness || plan.seats().len() <= NEARNESS;
        let matrix = wanted.then(|| plan.matrix(&findings.machine.distances()));
        map.serialize_entry("distances", &matrix)?;
        if let Some(probe) = &findings.probe {
            let seat = |result: &Result<CpuSet, String>| match result {
                Ok(cpus) => json!({ "cpus": cpus }),
                Err(error) => json!({ "error": error }),
            };
            map.serialize_entry("probe", &probe.iter().map(seat).collect::<Value>())?;
        }
        map.end()
    }
}

/// Writes the machine as `serde` has it, with the index of each object, which the others refer to.
fn machine(machine: &Topology) -> Value {
    let mut value = json!(machine);
    value["source"] = json!(source(machine));
    for list in ["packages", "dies", "clusters", "cores", "nodes", "caches"] {
        let objects = value[list].as_array_mut().into_iter().flatten();
        for (index, object) in objects.enumerate() {
            object["index"] = json!(index);
        }
    }
    value["cpus"] = cpus(machine);
    value
}

/// Lists every CPU, also those that are off and of which nothing else is known.
fn cpus(machine: &Topology) -> Value {
    let all = machine.online() | machine.offline();
    let one = |id: usize| match machine.cpu(id) {
        Some(cpu) => {
            let mut value = json!(cpu);
            value["online"] = json!(true);
            value["allowed"] = json!(machine.allowed().contains(id));
            value["siblings"] = json!(machine.cores()[cpu.core].cpus);
            value
        }
        None => json!({
            "id": id, "online": false, "allowed": false,
            "package": null, "die": null, "cluster": null, "core": null, "node": null,
            "caches": [], "siblings": [], "kind": null, "capacity": null,
        }),
    };
    all.iter().map(one).collect()
}

fn limits(limits: &Limits) -> Value {
    let parallelism = limits.available_parallelism();
    json!({
        "available_parallelism": parallelism.get(),
        "reasons": parallelism.reasons(),
        "affinity": limits.affinity().as_ref().ok(),
        "cpuset": limits.cpuset(),
        "quotas": limits.quotas(),
        "pids": limits.pids(),
        "problems": limits.problems(),
    })
}

fn threads(process: &Process, machine: &Topology) -> Value {
    let node = |cpus: &CpuSet| {
        let node = machine.cpu(cpus.first()?)?.node;
        cpus.is_subset(&machine.nodes()[node].cpus).then_some(node)
    };
    let threads: Vec<Value> = process
        .threads
        .iter()
        .map(|thread| {
            json!({
                "id": thread.id,
                "name": thread.name,
                "worker": thread.worker,
                "cpus": thread.cpus,
                "node": node(&thread.cpus),
                "last_cpu": thread.last_cpu,
                "complaints": thread.complaints(machine),
            })
        })
        .collect();
    json!({ "pid": process.pid, "name": process.name, "threads": threads })
}

#[cfg(test)]
mod tests {
    //! Goal: the JSON holds what programs look for. Method: a described machine, values by path.

    use super::*;
    use crate::findings::{Question, find_out};

    #[test]
    fn every_cpu_node_and_cache_is_there() {
        let question = Question {
            synthetic: Some("pack:2 [numa(memory=1GiB)] l3:1 core:2 pu:2".into()),
            placement: Some("per-node".parse().expect("a placement")),
            workers: Some(2),
            ..Question::default()
        };
        let value = value_of(&question);
        assert_eq!(value["cpus"].as_array().map(Vec::len), Some(8));
        assert_eq!(value["cpus"][5]["siblings"], "4-5");
        assert_eq!(value["cpus"][5]["node"], 1);
        assert_eq!(value["nodes"][1]["distances"], serde_json::json!([20, 10]));
        assert_eq!(value["nodes"][0]["memory"], 1 << 30);
        assert_eq!(value["caches"][1]["cpus"], "4-7");
        assert_eq!(
            value["placement"]["plan"]["distances"],
            serde_json::json!([[0, 5], [5, 0]])
        );
        assert!(value["limits"].is_null());
    }

    #[test]
    fn the_size_does_not_grow_with_the_square_of_the_machine() {
        let question = Question {
            synthetic: Some("pack:16 [numa] l3:16 core:4 pu:2".into()),
            placement: Some("compact".parse().expect("a placement")),
            workers: Some(2048),
            ..Question::default()
        };
        for placement in ["none", "per-node", "compact"] {
            let every = Question {
                placement: Some(placement.parse().expect("a placement")),
                synthetic: question.synthetic.clone(),
                workers: question.workers,
                ..Question::default()
            };
            let mut out = Vec::new();
            write(&find_out(&every).expect("a described machine"), &mut out).expect("memory");
            assert!(out.len() < 1 << 20, "{placement}: {} bytes", out.len());
        }
        // Of 2,048 workers, four million ranks would be more than all else: they come on request.
        let value = value_of(&question);
        assert!(value["placement"]["plan"]["distances"].is_null());
        assert_eq!(
            value["placement"]["plan"]["seats"].as_array().map(Vec::len),
            Some(2048)
        );
        let few = Question {
            workers: Some(65),
            nearness: true,
            ..question
        };
        let value = value_of(&few);
        let rows = value["placement"]["plan"]["distances"]
            .as_array()
            .map(Vec::len);
        assert_eq!(rows, Some(65));
    }

    fn value_of(question: &Question) -> Value {
        let mut out = Vec::new();
        write(&find_out(question).expect("a described machine"), &mut out).expect("memory");
        serde_json::from_slice(&out).expect("JSON")
    }
}

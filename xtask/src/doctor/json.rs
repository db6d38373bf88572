//! The whole value as JSON, for programs.

use super::{Findings, source};
use serde_json::{Value, json};
use stealyard_topology::{CacheKind, CoreKind, CpuSet, Limits, Plan, Topology};

pub(super) fn value(findings: &Findings) -> Value {
    let machine = &findings.machine;
    let plan = match &findings.plan {
        Ok(plan) => placement(machine, plan),
        Err(error) => json!({ "error": error }),
    };
    json!({
        "source": source(machine),
        "failure": findings.failure,
        "notes": machine.notes().iter().map(ToString::to_string).collect::<Vec<_>>(),
        "online": set(machine.online()),
        "offline": set(machine.offline()),
        "allowed": set(machine.allowed()),
        "packages": objects(machine.packages(), |p| json!({ "id": p.id, "cpus": set(&p.cpus) })),
        "dies": objects(machine.dies(), |d| json!({ "package": d.package, "cpus": set(&d.cpus) })),
        "clusters": objects(machine.clusters(), |c| json!({ "die": c.die, "cpus": set(&c.cpus) })),
        "cores": objects(machine.cores(), |c| json!({
            "id": c.id,
            "package": c.package,
            "die": c.die,
            "cluster": c.cluster,
            "node": c.node,
            "kind": kind(c.kind),
            "cpus": set(&c.cpus),
        })),
        "nodes": objects(machine.nodes(), |n| json!({
            "id": n.id,
            "cpus": set(&n.cpus),
            "memory": n.memory,
            "distances": n.distances,
        })),
        "caches": objects(machine.caches(), |c| json!({
            "level": c.level,
            "type": match c.kind {
                CacheKind::Data => "data",
                CacheKind::Instruction => "instruction",
                CacheKind::Unified => "unified",
            },
            "size": c.size,
            "cpus": set(&c.cpus),
        })),
        "cpus": cpus(machine),
        "limits": findings.limits.as_ref().map(limits),
        "placement": {
            "policy": findings.placement.to_string(),
            "workers": findings.workers,
            "plan": plan,
        },
    })
}

fn set(cpus: &CpuSet) -> Value {
    cpus.iter().collect::<Vec<usize>>().into()
}

fn kind(kind: CoreKind) -> &'static str {
    match kind {
        CoreKind::Performance => "performance",
        CoreKind::Efficiency => "efficiency",
    }
}

/// A list with each object's index, which the others refer to.
fn objects<T>(list: &[T], describe: impl Fn(&T) -> Value) -> Value {
    let one = |(index, object)| {
        let mut value = describe(object);
        value["index"] = json!(index);
        value
    };
    list.iter().enumerate().map(one).collect()
}

/// Every CPU, also those that are off and of which nothing else is known.
fn cpus(machine: &Topology) -> Value {
    let all = machine.online() | machine.offline();
    let one = |id: usize| match machine.cpu(id) {
        Some(cpu) => json!({
            "id": id,
            "online": true,
            "allowed": machine.allowed().contains(id),
            "package": cpu.package,
            "die": cpu.die,
            "cluster": cpu.cluster,
            "core": cpu.core,
            "node": cpu.node,
            "caches": cpu.caches,
            "siblings": set(&machine.cores()[cpu.core].cpus),
            "kind": kind(cpu.kind),
            "capacity": cpu.capacity,
        }),
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
    let reason = |reason: &stealyard_topology::Reason| json!({ "workers": reason.workers, "what": reason.what });
    let quota = |quota: &stealyard_topology::Quota| {
        json!({
            "file": quota.file.display().to_string(),
            "quota_us": quota.quota_us,
            "period_us": quota.period_us,
        })
    };
    let cpuset = limits
        .cpuset()
        .map(|limit| json!({ "cpus": set(&limit.cpus), "file": limit.file.display().to_string() }));
    json!({
        "available_parallelism": parallelism.get(),
        "reasons": parallelism.reasons().iter().map(reason).collect::<Value>(),
        "affinity": limits.affinity().as_ref().ok().map(set),
        "cpuset": cpuset,
        "quotas": limits.quotas().iter().map(quota).collect::<Value>(),
        "problems": limits.problems().iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

fn placement(machine: &Topology, plan: &Plan) -> Value {
    let matrix = plan.matrix(&machine.distances());
    let seats = objects(
        plan.seats(),
        |seat| json!({ "cpus": set(&seat.cpus), "node": seat.node, "bound": seat.bound }),
    );
    let rows: Vec<&[u8]> = (0..matrix.len()).map(|worker| matrix.row(worker)).collect();
    json!({ "seats": seats, "distances": rows })
}

#[cfg(test)]
mod tests {
    //! Goal: the JSON holds what programs look for. Method: a described machine, values by path.

    use super::super::{Args, find_out};

    #[test]
    fn every_cpu_node_and_cache_is_there() {
        let args = Args {
            synthetic: Some("pack:2 [numa(memory=1GiB)] l3:1 core:2 pu:2".into()),
            placement: Some("per-node".parse().expect("a placement")),
            workers: Some(2),
            ..Args::default()
        };
        let value = super::value(&find_out(&args).expect("a described machine"));
        assert_eq!(value["cpus"].as_array().map(Vec::len), Some(8));
        assert_eq!(value["cpus"][5]["siblings"], serde_json::json!([4, 5]));
        assert_eq!(value["cpus"][5]["node"], 1);
        assert_eq!(value["nodes"][1]["distances"], serde_json::json!([20, 10]));
        assert_eq!(value["nodes"][0]["memory"], 1 << 30);
        assert_eq!(value["caches"][1]["cpus"], serde_json::json!([4, 5, 6, 7]));
        assert_eq!(
            value["placement"]["plan"]["distances"],
            serde_json::json!([[0, 5], [5, 0]])
        );
        assert!(value["limits"].is_null());
    }
}

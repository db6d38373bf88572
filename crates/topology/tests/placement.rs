//! Goal: every policy seats workers as its line in the table says, or says why it can't. Method:
//! known answers on described machines, and the invariants P1 to P3 over many machines and numbers.

use stealyard_topology::{
    Bind, CpuSet, Matrix, PlaceList, Placement, PlacementError, Places, Plan, Topology,
};

const DUAL: &str = "pack:2 [numa] l3:2 core:2 pu:2(indexes=1*2:2*8)";

fn machine(text: &str) -> Topology {
    Topology::synthetic(text).expect("a sound description")
}

fn lists(plan: &Plan) -> Vec<String> {
    plan.seats()
        .iter()
        .map(|seat| seat.cpus.to_string())
        .collect()
}

fn seats(placement: &Placement, topology: &Topology, workers: usize) -> Vec<String> {
    lists(
        &placement
            .plan(topology, workers)
            .unwrap_or_else(|e| panic!("{placement}: {e}")),
    )
}

fn set(list: &str) -> CpuSet {
    list.parse().expect("a list of CPUs")
}

#[test]
fn each_policy_on_two_packages() {
    let m = machine("pack:2 [numa] l3:2 core:2 pu:2");
    let cases: [(Placement, usize, &[&str]); 8] = [
        (Placement::None, 2, &["0-15", "0-15"]),
        (Placement::Compact, 5, &["0", "1", "2", "3", "4"]),
        (
            Placement::Spread,
            9,
            &["0", "8", "4", "12", "2", "10", "6", "14", "1"],
        ),
        (Placement::Balanced, 4, &["0", "4", "8", "12"]),
        (
            Placement::Balanced,
            9,
            &["0", "1", "2", "4", "6", "8", "10", "12", "14"],
        ),
        (Placement::OnePerCore, 3, &["0-1", "2-3", "4-5"]),
        (Placement::PerNode, 3, &["0-7", "0-7", "8-15"]),
        (
            Placement::Explicit(vec![set("3"), set("9-10")]),
            2,
            &["3", "9-10"],
        ),
    ];
    for (placement, workers, expected) in cases {
        assert_eq!(
            seats(&placement, &m, workers),
            expected,
            "{placement}, {workers}"
        );
    }
    let plan = Placement::None.plan(&m, 2).expect("nothing to go wrong");
    assert!(!plan.seats()[0].bound && plan.seats()[0].node.is_none());
    assert_eq!(plan.seats()[0].take(), Ok(None));
    let plan = Placement::PerNode.plan(&m, 2).expect("two nodes");
    assert_eq!(plan.seats()[1].node, Some(1));
    assert!(plan.seats()[1].bound);
}

#[test]
fn nodes_are_filled_by_their_cpus() {
    let m = machine("numa:1 pu:8");
    assert_eq!(seats(&Placement::PerNode, &m, 2), ["0-7", "0-7"]);
    let uneven = machine("numa:2 core:4 pu:1")
        .restricted_to(&set("0-3,6-7"))
        .expect("online");
    let nodes = seats(&Placement::PerNode, &uneven, 6);
    assert_eq!(nodes, ["0-3", "0-3", "0-3", "0-3", "6-7", "6-7"]);
    assert_eq!(seats(&Placement::PerNode, &uneven, 2), ["0-3", "6-7"]);
    // A node without CPUs gets no worker.
    let m = machine("pack:2 [numa] [numa] core:2 pu:1");
    assert_eq!(seats(&Placement::PerNode, &m, 3), ["0-1", "0-1", "2-3"]);
}

#[test]
fn places_as_in_openmp() {
    let m = machine("pack:2 [numa] l3:2 core:2 pu:2");
    let places = |list: &str, bind| {
        let list: PlaceList = list.parse().unwrap_or_else(|e| panic!("{list}: {e}"));
        Placement::Places(Places { list, bind })
    };
    for (list, bind, workers, expected) in [
        ("threads", Bind::Close, 3, vec!["0", "1", "2"]),
        ("cores", Bind::Spread, 2, vec!["0-1", "8-9"]),
        ("cores(2)", Bind::Close, 4, vec!["0-1", "0-1", "2-3", "2-3"]),
        ("ll_caches", Bind::Close, 2, vec!["0-3", "4-7"]),
        ("numa_domains", Bind::Spread, 3, vec!["0-7", "0-7", "8-15"]),
        ("sockets", Bind::Primary, 2, vec!["0-7", "0-7"]),
        ("{0:4}:4:4", Bind::Close, 3, vec!["0-3", "4-7", "8-11"]),
        ("{0,2},{1:2:2}", Bind::Close, 2, vec!["0,2", "1,3"]),
    ] {
        assert_eq!(
            seats(&places(list, bind), &m, workers),
            expected,
            "{list} {bind:?}"
        );
    }
    for (text, position) in [
        ("", 0),
        ("chips", 0),
        ("cores(0)", 5),
        ("cores(2", 5),
        ("{", 1),
        ("{0", 2),
        ("{0}:0", 3),
        ("{0} {1}", 4),
        ("{0:70000}", 3),
        ("{65535:2}", 8),
    ] {
        let error = text.parse::<PlaceList>().expect_err(text);
        assert_eq!(error.position, position, "{text:?}: {error}");
    }
}

#[test]
fn a_request_that_cannot_be_met_is_an_error_that_says_why() {
    let m = machine("pack:2 [numa] core:2 pu:2")
        .restricted_to(&set("0-3,6"))
        .expect("online");
    let error = |placement: Placement, workers| placement.plan(&m, workers).expect_err("too much");
    for (placement, workers, room, unit) in [
        (Placement::Compact, 6, 5, "CPU"),
        (Placement::Spread, 6, 5, "CPU"),
        (Placement::Balanced, 6, 5, "CPU"),
        (Placement::OnePerCore, 4, 3, "core"),
        (Placement::Explicit(vec![set("0")]), 2, 1, "set"),
    ] {
        match error(placement, workers) {
            PlacementError::TooManyWorkers {
                workers: w,
                room: r,
                unit: u,
                ..
            } => {
                assert_eq!((w, r, u), (workers, room, unit));
            }
            other => panic!("{other}"),
        }
    }
    let explicit =
        |list: &str| error(Placement::Explicit(vec![set("0"), set(list)]), 1).to_string();
    assert_eq!(
        explicit("1,12"),
        "set 1 names CPU 12, which does not exist; online are 0-7"
    );
    assert_eq!(
        explicit("3-4"),
        "set 1 names CPU 4, which this process may not use; it may use 0-3,6"
    );
    assert_eq!(explicit(""), "set 1 has no CPU in it");
}

#[test]
fn o13_performance_cores_only() {
    // The grammar has no hybrid machines; the sysfs tests read some. Here every core is fast.
    let m = machine("core:4 pu:2");
    let fast = Placement::OnePerCore.on_performance_cores();
    assert_eq!(seats(&fast, &m, 4), seats(&Placement::OnePerCore, &m, 4));
    assert_eq!(fast.clone().on_performance_cores(), fast);
    assert_eq!(fast.to_string(), "performance:one-per-core");
}

#[test]
fn sets_are_allowed_disjoint_and_repeatable() {
    for text in [
        DUAL,
        "pu:3",
        "numa:4 core:3 pu:2",
        "pack:2 die:2 l3:2 l2:2 core:2 pu:2",
        "2 3 2 2",
    ] {
        let m = machine(text);
        let most = |set: &dyn Fn(&Topology) -> usize| set(&m);
        let (cpus, cores) = (most(&|m| m.cpus().len()), most(&|m| m.cores().len()));
        for (placement, room) in [
            (Placement::Compact, cpus),
            (Placement::Spread, cpus),
            (Placement::Balanced, cpus),
            (Placement::OnePerCore, cores),
        ] {
            for workers in 0..=room {
                let plan = placement.plan(&m, workers).expect("there is room");
                let mut taken = CpuSet::new();
                for seat in plan.seats() {
                    assert!(
                        !seat.cpus.is_empty() && seat.cpus.is_subset(m.allowed()),
                        "P1"
                    );
                    assert!(
                        seat.cpus.is_disjoint(&taken),
                        "P2: {placement} {workers} on {text}"
                    );
                    taken = &taken | &seat.cpus;
                }
                assert_eq!(plan.seats().len(), workers);
                assert_eq!(Ok(plan), placement.plan(&m, workers), "P3");
            }
            assert!(placement.plan(&m, room + 1).is_err());
        }
    }
}

#[test]
fn spread_uses_every_core_before_a_second_thread() {
    let m = machine("numa:3 core:3 pu:2")
        .restricted_to(&set("0-7,12-13"))
        .expect("online");
    let plan = Placement::Spread.plan(&m, 5).expect("room");
    let mut cores: Vec<usize> = Vec::new();
    for seat in plan.seats() {
        cores.push(m.cpu(seat.cpus.first().expect("P1")).expect("online").core);
    }
    cores.sort_unstable();
    cores.dedup();
    assert_eq!(
        cores.len(),
        5,
        "3 cores of node 0, 1 of node 1, 1 of node 2"
    );
}

#[test]
fn memory_is_that_of_the_nearest_node_that_has_some() {
    // Node 1 has CPUs and no memory; node 2 is nearer to it than node 0.
    let m = machine("numa:3(memory=1GiB) core:2 pu:1");
    let m = m.with_node_distances(&[vec![10, 30, 30], vec![30, 10, 20], vec![30, 20, 10]]);
    let m = m.expect("three nodes");
    let memories = |policy: Placement| -> Vec<Option<u32>> {
        let plan = policy.plan(&m, 3).expect("room");
        plan.seats().iter().map(|seat| seat.memory).collect()
    };
    assert_eq!(memories(Placement::Spread), [None; 3]);
    let local = Placement::Spread.with_local_memory();
    assert_eq!(memories(local.clone()), [Some(0), Some(1), Some(2)]);
    assert_eq!(local.clone().with_local_memory(), local);
    assert_eq!(
        memories(Placement::None.with_local_memory()),
        [None; 3],
        "on several nodes"
    );
}

#[test]
fn the_matrix_of_a_plan() {
    let m = machine(DUAL)
        .with_node_distances(&[vec![10, 21], vec![21, 10]])
        .expect("two nodes");
    let plan = Placement::Compact.plan(&m, 16).expect("room");
    let matrix = plan.matrix(&m.distances());
    assert_eq!(matrix.row(0)[..9], [0, 1, 3, 3, 4, 4, 4, 4, 5]);
    assert_eq!(matrix.nearest_first(0)[0], (1, 1));
    let plan = Placement::PerNode.plan(&m, 4).expect("any number");
    let matrix = plan.matrix(&m.distances());
    assert_eq!(
        (matrix.row(0), matrix.row(3)),
        (&[0, 4, 5, 5][..], &[5, 5, 4, 0][..])
    );
    for a in 0..4 {
        for b in 0..4 {
            assert_eq!(matrix.rank(a, b), matrix.rank(b, a));
        }
    }
}

#[test]
fn placements_as_words_and_back() {
    for text in [
        "none",
        "compact",
        "spread",
        "balanced",
        "one-per-core",
        "per-node",
        "explicit:0;2;4-5",
        "places:cores(3) spread",
        "places:{0-1},{4} close",
        "performance:balanced",
        "local-memory:performance:spread",
    ] {
        let text_of_places = text.replace("{0-1}", "{0,1}");
        let placement: Placement = text_of_places.parse().unwrap_or_else(|e| panic!("{e}"));
        let written = placement.to_string();
        assert_eq!(written, text_of_places);
        assert_eq!(written.parse(), Ok(placement));
    }
    for text in [
        "",
        "compactly",
        "compact:2",
        "explicit",
        "explicit:0;x",
        "places:",
        "places:cores near",
        "performance:",
        "local-memory:near",
    ] {
        let error = text.parse::<Placement>().expect_err(text);
        assert!(error.to_string().contains(&format!("{text:?}")), "{error}");
    }
}

/// In both profiles: it came out empty where overflow wraps.
#[test]
#[should_panic(expected = "has more entries than can be counted")]
fn o15_a_matrix_that_cannot_be_counted_is_refused() {
    let _matrix = Matrix::uniform(usize::MAX / 2);
}

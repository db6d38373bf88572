//! Goal: `CpuSet` is a set, and its texts say what it holds. Method: a model on `BTreeSet` under
//! proptest, and tables of texts.

use proptest::prelude::*;
use std::collections::BTreeSet;
use stealyard_topology::CpuSet;

fn built(cpus: &BTreeSet<usize>) -> CpuSet {
    cpus.iter().copied().collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn behaves_as_a_set(
        a in prop::collection::btree_set(0usize..200, 0..40),
        b in prop::collection::btree_set(0usize..3000, 0..40),
        cpu in 0usize..200,
    ) {
        let (x, y) = (built(&a), built(&b));
        prop_assert_eq!(x.iter().collect::<Vec<_>>(), a.iter().copied().collect::<Vec<_>>());
        prop_assert_eq!((x.len(), x.is_empty()), (a.len(), a.is_empty()));
        prop_assert_eq!((x.first(), x.last()), (a.first().copied(), a.last().copied()));
        prop_assert_eq!(&x & &y, built(&(&a & &b)));
        prop_assert_eq!(&x | &y, built(&(&a | &b)));
        prop_assert_eq!(&x - &y, built(&(&a - &b)));
        prop_assert_eq!((x.is_subset(&y), x.is_disjoint(&y)), (a.is_subset(&b), a.is_disjoint(&b)));
        prop_assert_eq!(x.single().is_some(), a.len() == 1);
        let (mut x, mut a) = (x, a);
        prop_assert_eq!(x.remove(cpu), a.remove(&cpu));
        prop_assert_eq!(&x, &built(&a), "no trace of what was removed");
        prop_assert_eq!(x.insert(cpu), a.insert(cpu));
    }

    #[test]
    fn text_and_back(cpus in prop::collection::btree_set(0usize..5000, 0..60)) {
        let set = built(&cpus);
        prop_assert_eq!(set.to_string().parse::<CpuSet>().expect("its own text"), set.clone());
        let mask: Vec<String> = (0..160).rev().map(|group| {
            let bits = (0..32).filter(|bit| set.contains(group * 32 + bit));
            format!("{:08x}", bits.fold(0u32, |word, bit| word | 1 << bit))
        }).collect();
        prop_assert_eq!(CpuSet::from_mask(&mask.join(",")), Ok(set));
    }
}

#[test]
fn lists_of_the_kernel() {
    for (text, cpus) in [
        ("", vec![]),
        ("\n", vec![]),
        ("0\n", vec![0]),
        ("0-3,8,10-11", vec![0, 1, 2, 3, 8, 10, 11]),
        (" 5 , 1 - 2", vec![1, 2, 5]),
        ("3,3,1-3", vec![1, 2, 3]),
        ("0-15:2/4", vec![0, 1, 4, 5, 8, 9, 12, 13]),
        ("1-6:1/2", vec![1, 3, 5]),
        ("1048575", vec![1_048_575]),
    ] {
        assert_eq!(
            text.parse::<CpuSet>(),
            Ok(cpus.into_iter().collect()),
            "{text:?}"
        );
    }
    assert_eq!(CpuSet::from([10, 0, 1, 2, 11]).to_string(), "0-2,10-11");
}

#[test]
fn wrong_lists_are_errors_with_the_place() {
    for (text, position) in [
        ("x", 0),
        ("0,,1", 2),
        ("0,", 2),
        ("0-3,7-5", 4),
        ("-1", 0),
        ("1-", 0),
        ("+1", 0),
        ("0-1048576", 0),
        ("0-7:3/2", 0),
        ("0-7:0/2", 0),
        ("0-7:2", 0),
        ("1,99999999999999999999", 2),
    ] {
        let error = text.parse::<CpuSet>().expect_err(text);
        assert_eq!(error.position, position, "{text:?}: {error}");
    }
}

#[test]
fn errors_quote_what_was_written_and_words_name_no_cpu() {
    for text in ["-1", "0-", "1--2", "5:2/", "x"] {
        let error = text.parse::<CpuSet>().expect_err(text).to_string();
        assert!(error.contains(&format!("{text:?}")), "{error}");
    }
    let error = "0,,1"
        .parse::<CpuSet>()
        .expect_err("an empty item")
        .to_string();
    assert!(error.contains("an empty text"), "{error}");
    let long = "9"
        .repeat(100_000)
        .parse::<CpuSet>()
        .expect_err("too large")
        .to_string();
    assert!(long.len() < 200, "{long}");
    let words =
        [CpuSet::new(), CpuSet::from([3]), CpuSet::from([0, 1, 8])].map(|set| set.in_words());
    assert_eq!(words, ["no CPU", "CPU 3", "CPUs 0-1,8"]);
}

#[test]
fn o6_no_limit_at_64_or_1024() {
    let set = CpuSet::from([63, 64, 1023, 1024, 8191, 1 << 20]);
    assert_eq!(set.to_string(), "63-64,1023-1024,8191,1048576");
    assert!(set.contains(1 << 20) && !set.contains(1 << 21));
}

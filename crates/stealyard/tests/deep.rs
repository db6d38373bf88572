//! Goal: joins nest as deep as README says: 2,000 levels on a worker's usual stack (1,000 in a
//! debug build, whose frames are seven times as large), 20,000 on a larger one.
//!
//! Method: recursion in each half, with thieves that help. Frames do not pile up by waiting (risk
//! T9), so the depth is the recursion's own.
#![cfg(not(any(stealyard_loom, stealyard_shuttle)))]

use stealyard::{Builder, join};

fn down_first(levels: usize) -> usize {
    if levels == 0 {
        return 0;
    }
    let (a, b) = join(|| down_first(levels - 1), || 1);
    a + b
}

fn down_second(levels: usize) -> usize {
    if levels == 0 {
        return 0;
    }
    let (a, b) = join(|| 1, || down_second(levels - 1));
    a + b
}

fn both(builder: &Builder, levels: usize) {
    for workers in [1, 3] {
        let scheduler = builder.clone().parallelism(workers).build().unwrap();
        assert_eq!(scheduler.install(|| down_first(levels)), levels);
        assert_eq!(scheduler.install(|| down_second(levels)), levels);
    }
}

#[test]
fn t9_thousands_of_levels_fit_the_usual_stack() {
    let levels = if cfg!(debug_assertions) { 1_000 } else { 2_000 };
    both(&Builder::new(), levels);
}

#[test]
fn t9_twenty_thousand_levels_fit_a_larger_stack() {
    both(&Builder::new().stack_size(64 * 1024 * 1024), 20_000);
}

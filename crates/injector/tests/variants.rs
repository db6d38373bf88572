//! Goal: every global queue passes the conformance suite, and a wrong queue is rejected. Method:
//! the suite of the crate, applied to each variant.
#![cfg(all(feature = "conformance", not(stealyard_loom), not(stealyard_shuttle)))]

use std::collections::VecDeque;
use std::sync::Mutex;

use stealyard_injector::conformance::{conserves, linearizable, sequential};
use stealyard_injector::{Injector, Locked, Segmented, Sharded};

fn soak() -> u64 {
    std::env::var("STEALYARD_SOAK")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(1)
}

macro_rules! variant {
    ($name:ident, $new:expr) => {
        mod $name {
            use super::*;

            #[test]
            fn is_a_plain_queue_to_one_thread() {
                sequential($new);
            }

            #[test]
            fn is_one_queue_to_three_threads() {
                linearizable($new, 2_000 * soak() as usize);
            }

            #[test]
            fn conserves_items() {
                conserves($new, 100_000 * soak());
            }
        }
    };
}

variant!(locked, Locked::new);
variant!(segmented, Segmented::new);
variant!(q8_segmented_where_positions_wrap, || {
    Segmented::starting_at(0_u64.wrapping_sub(1024))
});
variant!(one_lane_of_locked, || Sharded::<u64, Locked<u64>>::new(1)
    .unwrap());
variant!(one_lane_of_segmented, || {
    Sharded::<u64, Segmented<u64>>::new(1).unwrap()
});

/// A queue that returns the newest item first when it holds more than three.
#[derive(Default)]
struct Wrong(Mutex<VecDeque<u64>>);

impl Injector<u64> for Wrong {
    fn push(&self, item: u64) {
        self.0.lock().unwrap().push_back(item);
    }

    fn push_batch(&self, items: impl IntoIterator<Item = u64>) {
        self.0.lock().unwrap().extend(items);
    }

    fn pop(&self) -> Option<u64> {
        let mut items = self.0.lock().unwrap();
        if items.len() > 3 {
            items.pop_back()
        } else {
            items.pop_front()
        }
    }

    fn pop_batch(&self, max: usize, workers: usize, mut sink: impl FnMut(u64)) -> usize {
        let wanted = max.min(self.len() / workers + 1).min(self.len());
        (0..wanted)
            .filter_map(|_| self.pop())
            .map(&mut sink)
            .count()
    }

    fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

#[test]
#[should_panic(expected = "the queue differs from a plain one")]
fn a_wrong_order_is_rejected_by_the_sequential_check() {
    sequential(Wrong::default);
}

#[test]
#[should_panic(expected = "no queue could have done this")]
fn a_wrong_order_is_rejected_by_the_concurrent_check() {
    linearizable(Wrong::default, 2_000);
}

/// A queue that drops every thousandth item.
#[derive(Default)]
struct Leaky(Locked<u64>);

impl Injector<u64> for Leaky {
    fn push(&self, item: u64) {
        if item % 1000 != 999 {
            self.0.push(item);
        }
    }

    fn push_batch(&self, items: impl IntoIterator<Item = u64>) {
        items.into_iter().for_each(|item| self.push(item));
    }

    fn pop(&self) -> Option<u64> {
        self.0.pop()
    }

    fn pop_batch(&self, max: usize, workers: usize, sink: impl FnMut(u64)) -> usize {
        self.0.pop_batch(max, workers, sink)
    }

    fn len(&self) -> usize {
        self.0.len()
    }
}

#[test]
#[should_panic(expected = "items were lost or doubled")]
fn a_loss_is_noticed() {
    conserves(Leaky::default, 10_000);
}

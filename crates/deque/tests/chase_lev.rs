//! Goal: what `ChaseLev` does beyond the promises of every queue: it grows, shrinks, keeps a limit,
//! and gives old buffers back, also from threads that are ending. Method: examples on one thread;
//! then conservation counts on many threads, with a buffer that is replaced all the time.
#![cfg(not(any(stealyard_loom, stealyard_shuttle)))]

use core::cell::RefCell;

use stealyard_deque::{ChaseLev, ChaseLevStealer, Discipline, Fifo, Lifo, Steal, Word};
use stealyard_sync::atomic::{AtomicBool, AtomicU64, Ordering};
use stealyard_sync::{Arc, thread};

fn drain<T: Word, D: Discipline>(queue: &ChaseLev<T, D>) -> Vec<T> {
    core::iter::from_fn(|| queue.pop()).collect()
}

#[test]
fn the_discipline_decides_which_end_the_owner_pops() {
    let (lifo, fifo) = (ChaseLev::lifo(), ChaseLev::fifo());
    for number in 0_u32..3 {
        lifo.push(number).unwrap();
        fifo.push(number).unwrap();
    }
    assert_eq!(lifo.stealer().steal(), Steal::Success(0));
    assert_eq!(fifo.stealer().steal(), Steal::Success(0));
    assert_eq!(drain(&lifo), [2, 1]);
    assert_eq!(drain(&fifo), [1, 2]);
}

fn q14_shrinks<D: Discipline>() {
    let queue = ChaseLev::<u32, D>::default();
    let least = queue.buffer_len();
    for number in 0..10_000 {
        queue.push(number).unwrap();
    }
    assert_eq!(queue.buffer_len(), 16_384);
    assert_eq!(drain(&queue).len(), 10_000);
    assert_eq!(queue.buffer_len(), least);
}

#[test]
fn q14_a_buffer_shrinks_when_its_items_are_gone() {
    q14_shrinks::<Lifo>();
    q14_shrinks::<Fifo>();
}

/// Checks that a buffer which thieves emptied shrinks at the owner's next pop, though that finds
/// nothing, or after half of the buffer's pushes.
fn q14_shrinks_after_thieves<D: Discipline>() {
    let burst = || {
        let queue = ChaseLev::<u32, D>::default();
        (0..10_000).for_each(|number| queue.push(number).unwrap());
        let thief = queue.stealer();
        while thief.steal().is_success() {}
        assert_eq!(queue.buffer_len(), 16_384);
        queue
    };
    let popped = burst();
    assert_eq!(popped.pop(), None);
    assert_eq!(popped.buffer_len(), 64);

    let pushed = burst();
    let pushes = (0..).take_while(|number| {
        pushed.push(*number).unwrap();
        while pushed.len() > 100 && pushed.stealer().steal().is_success() {}
        pushed.buffer_len() == 16_384
    });
    assert!(
        pushes.count() <= 8_192,
        "two looks, a quarter of the buffer apart"
    );
    let left = pushed.len();
    assert!(left * 4 / 3 <= pushed.buffer_len() && drain(&pushed).len() == left);
}

#[test]
fn q14_a_buffer_that_thieves_emptied_shrinks() {
    q14_shrinks_after_thieves::<Lifo>();
    q14_shrinks_after_thieves::<Fifo>();
}

/// At any size, a push and a pop in turn replace nothing: growing and shrinking are half a buffer
/// apart.
#[test]
fn q14_a_buffer_at_the_edge_does_not_grow_and_shrink_in_turn() {
    let queue = ChaseLev::<u32, Lifo>::starting_at(4, 0);
    for number in 0..1_000 {
        queue.push(number).unwrap();
        let before = queue.buffer_len();
        for _ in 0..3 {
            assert_eq!(queue.pop(), Some(number));
            queue.push(number).unwrap();
        }
        assert_eq!(queue.buffer_len(), before);
    }
}

#[test]
fn a_limit_refuses_a_push_and_bounds_a_stolen_batch() {
    let queue = ChaseLev::<u32>::lifo().with_limit(3);
    (0..3).for_each(|number| queue.push(number).unwrap());
    assert_eq!(queue.push(3), Err(3));
    assert_eq!(queue.pop(), Some(2));
    queue.push(4).unwrap();
    assert_eq!(queue.push(5), Err(5));

    let victim = ChaseLev::<u32>::lifo();
    (10..20).for_each(|number| victim.push(number).unwrap());
    assert_eq!(
        victim.stealer().steal_batch(&queue, 9),
        Steal::Empty,
        "full"
    );
    assert_eq!(
        victim.stealer().steal_batch_and_pop(&queue, 9),
        Steal::Success(10)
    );
    assert_eq!(queue.pop(), Some(4));
    assert_eq!(victim.stealer().steal_batch(&queue, 9), Steal::Success(1));
    assert_eq!(drain(&queue), [11, 1, 0]);
}

#[test]
fn overflow_at_the_limit_takes_the_older_half_and_the_new_item() {
    let queue = ChaseLev::<u32>::fifo().with_limit(5);
    let mut batch = Vec::new();
    (0..6).for_each(|number| queue.push_or_overflow(number, |item| batch.push(item)));
    assert_eq!(batch, [0, 1, 5]);
    assert_eq!(drain(&queue), [2, 3, 4]);
    let one = ChaseLev::<u32>::lifo().with_limit(0);
    batch.clear();
    (0..3).for_each(|number| one.push_or_overflow(number, |item| batch.push(item)));
    assert_eq!(
        batch,
        [0, 1],
        "a limit of one lets no item in while there is one"
    );
}

#[test]
fn a_batch_is_at_most_half_and_at_most_32() {
    for (items, expected) in [(1, 1), (5, 3), (64, 32), (1_000, 32)] {
        let (lifo, fifo) = (ChaseLev::<u32>::lifo(), ChaseLev::<u32>::fifo());
        for number in 0..items {
            lifo.push(number).unwrap();
            fifo.push(number).unwrap();
        }
        let (to_lifo, to_fifo) = (ChaseLev::lifo(), ChaseLev::fifo());
        assert_eq!(
            lifo.stealer().steal_batch(&to_lifo, usize::MAX),
            Steal::Success(expected)
        );
        assert_eq!(
            fifo.stealer().steal_batch(&to_fifo, usize::MAX),
            Steal::Success(expected)
        );
        let stolen: Vec<u32> = (0..expected as u32).collect();
        assert_eq!(drain(&to_fifo), stolen);
        assert!(drain(&to_lifo).into_iter().rev().eq(stolen));
    }
}

#[test]
fn q15_every_state_can_be_printed() {
    let queue = ChaseLev::<u32>::lifo();
    let stealer = queue.stealer();
    assert!(format!("{queue:?} {stealer:?}").contains("len: 0"));
    (0..100).for_each(|number| queue.push(number).unwrap());
    assert!(format!("{queue:?}").contains("buffer_len: 128"));
    assert!(format!("{stealer:?}").contains("len: 100"));
}

/// A value that steals, pushes and grows when it is destroyed, which is when its thread's locals
/// are.
struct StealsWhenDestroyed(
    RefCell<Option<(ChaseLev<u32>, ChaseLevStealer<u32>)>>,
    Arc<AtomicU64>,
);

impl Drop for StealsWhenDestroyed {
    fn drop(&mut self) {
        let (own, victim) = self.0.take().expect("filled by the test");
        (0..1_000).for_each(|number| own.push(number).unwrap());
        let stolen = core::iter::from_fn(|| victim.steal().success()).count();
        // Ordering: Relaxed; read after the thread was joined.
        self.1
            .fetch_add((own.len() + stolen) as u64, Ordering::Relaxed);
    }
}

stealyard_sync::thread_local! {
    static LAST: RefCell<Option<StealsWhenDestroyed>> = const { RefCell::new(None) };
}

#[test]
fn q15_queues_work_in_destructors_of_thread_locals() {
    let (queue, count) = (ChaseLev::<u32>::lifo(), Arc::new(AtomicU64::new(0)));
    (0..10).for_each(|number| queue.push(number).unwrap());
    let (stealer, seen) = (queue.stealer(), Arc::clone(&count));
    let other = thread::spawn(move || {
        let last = StealsWhenDestroyed(RefCell::new(Some((ChaseLev::lifo(), stealer))), seen);
        LAST.with(|slot| *slot.borrow_mut() = Some(last));
    });
    other.join().unwrap();
    // Ordering: Relaxed; the thread was joined.
    assert_eq!(count.load(Ordering::Relaxed), 1_010);
}

/// A program that stays pinned to crossbeam-epoch's own collector holds none of our buffers back,
/// because this crate's collector is another one. (AddressSanitizer's leak check would miss that
/// otherwise.)
#[test]
fn q15_a_pinned_thread_holds_up_no_queue() {
    let queue = ChaseLev::<u32, Lifo>::starting_at(4, 0);
    let guard = crossbeam_epoch::pin();
    for _ in 0..100 {
        (0..100).for_each(|number| queue.push(number).unwrap());
        assert_eq!(drain(&queue).len(), 100);
        assert_eq!(queue.buffer_len(), 4);
    }
    drop(guard);
}

/// A closure that any code deferred to crossbeam-epoch's collector, and that uses this thread's
/// queue, does not run in the middle of an operation: growth pins a collector of its own. (The
/// closure once ran between the copy of the items and the exchange of the buffer, and what it
/// pushed was lost.)
#[test]
fn c2_deferred_foreign_closures_do_not_run_while_a_queue_grows() {
    stealyard_sync::thread_local! {
        static QUEUE: ChaseLev<u32, Lifo> = ChaseLev::starting_at(2, 0);
    }
    for round in 0..2_000 {
        // A pin or a flush of this very thread runs it eventually, unless another test's thread
        // does.
        crossbeam_epoch::pin().defer(|| {
            let _ = QUEUE.try_with(|queue| queue.push(u32::MAX));
        });
        QUEUE.with(|queue| {
            (0..50).for_each(|number| queue.push(number).unwrap());
            crossbeam_epoch::pin().flush();
            let own: Vec<u32> = drain(queue).into_iter().filter(|got| *got < 50).collect();
            assert!(own.into_iter().rev().eq(0..50), "round {round}");
        });
    }
}

fn scaled(count: u64) -> u64 {
    let soak = std::env::var("STEALYARD_SOAK").map_or(1, |text| text.parse().unwrap_or(1));
    count * soak
}

fn run_thief<D: Discipline>(
    victim: &ChaseLevStealer<Box<u64>, D>,
    stop: &AtomicBool,
) -> (u64, u64) {
    let own = ChaseLev::starting_at(2, 0);
    let (mut sum, mut count, mut turn) = (0, 0, 0_u64);
    // Ordering: Relaxed; the threads are joined before the sums are read.
    while !stop.load(Ordering::Relaxed) {
        turn += 1;
        let stolen = match turn % 2 {
            0 => victim.steal_batch_and_pop(&own, 8),
            _ => victim.steal(),
        };
        for item in stolen.success().into_iter().chain(drain(&own)) {
            sum += *item;
            count += 1;
        }
    }
    (sum, count)
}

/// Runs bursts that make the buffer grow and shrink while thieves steal, from positions that wrap
/// around.
fn conserves<D: Discipline>() {
    let bursts = scaled(2_000);
    let queue = ChaseLev::<Box<u64>, D>::starting_at(2, u64::MAX - 1_000);
    let stop = Arc::new(AtomicBool::new(false));
    let thieves: Vec<_> = (0..3)
        .map(|_| (queue.stealer(), Arc::clone(&stop)))
        .map(|(stealer, stop)| thread::spawn(move || run_thief(&stealer, &stop)))
        .collect();
    let (mut sum, mut count, mut pushed) = (0, 0, 0);
    for burst in 0..bursts {
        for _ in 0..burst % 97 {
            queue.push(Box::new(pushed)).unwrap();
            pushed += 1;
        }
        for _ in 0..burst % 113 {
            let Some(item) = queue.pop() else { break };
            sum += *item;
            count += 1;
        }
    }
    // Ordering: Relaxed; joining orders it.
    stop.store(true, Ordering::Relaxed);
    for thief in thieves {
        let (stolen_sum, stolen_count) = thief.join().unwrap();
        sum += stolen_sum;
        count += stolen_count;
    }
    for item in drain(&queue) {
        sum += *item;
        count += 1;
    }
    assert_eq!(count, pushed);
    assert_eq!(sum, pushed * (pushed - 1) / 2);
}

#[test]
fn q1_q8_lifo_conserves_items_while_its_buffer_is_replaced() {
    conserves::<Lifo>();
}

#[test]
fn q1_q8_fifo_conserves_items_while_its_buffer_is_replaced() {
    conserves::<Fifo>();
}

//! Items on their way out of a queue, and the end of the items that remain in one.
//!
//! Both run foreign code for each item: a sink that the caller gave, or the item's destructor.
//! Either may panic or call the queue again. So every item here has left its queue before the first
//! such call, and a panic does not keep any other item's destructor from running.

use core::marker::PhantomData;
use core::ptr::NonNull;

use crate::word::Word;

/// The most items that leave a full queue in one batch; one word each on the stack.
pub(crate) const MAX_OVERFLOW: usize = 128;

/// Items that have left their queue and are on their way to the overflow, oldest first. Items that
/// the caller does not take, because its sink panicked, are dropped.
pub(crate) struct Batch<T: Word> {
    words: [NonNull<()>; MAX_OVERFLOW],
    next: usize,
    count: usize,
    items: PhantomData<T>,
}

impl<T: Word> Batch<T> {
    /// Creates a batch of `count` items, at most [`MAX_OVERFLOW`]. `word` returns the word of each
    /// item, numbered from 0.
    ///
    /// # Safety
    /// 1. `word` returns words that came out of `T::into_word`.
    /// 2. Their items are the caller's, which gives them up to the batch, each once.
    pub(crate) unsafe fn new(count: usize, word: impl Fn(usize) -> NonNull<()>) -> Self {
        let mut words = [NonNull::dangling(); MAX_OVERFLOW];
        for (number, slot) in words[..count].iter_mut().enumerate() {
            *slot = word(number);
        }
        Self {
            words,
            next: 0,
            count,
            items: PhantomData,
        }
    }
}

impl<T: Word> Iterator for Batch<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        let word = *self.words[..self.count].get(self.next)?;
        self.next += 1;
        // SAFETY: 1. by obligation 1 of `new`; 2. by its obligation 2: `next` has passed this word,
        // so each word is turned back once.
        Some(unsafe { T::from_word(word) })
    }
}

impl<T: Word> Drop for Batch<T> {
    fn drop(&mut self) {
        drop_all(self);
    }
}

/// Drops all items of `items`. If a destructor panics, the others run all the same, and then the
/// panic goes on. A second panic during that aborts the process. `Vec` does likewise.
pub(crate) fn drop_all<T>(items: impl Iterator<Item = T>) {
    struct Rest<I: Iterator>(I);

    impl<I: Iterator> Drop for Rest<I> {
        fn drop(&mut self) {
            self.0.by_ref().for_each(drop);
        }
    }

    let mut rest = Rest(items);
    rest.0.by_ref().for_each(drop);
}

#[cfg(all(test, not(any(stealyard_loom, stealyard_shuttle))))]
mod tests {
    //! Goal: no panic keeps another item's destructor from running (Q7). Method: items that count
    //! their end, one of which panics, at every place.

    use std::panic::{AssertUnwindSafe, catch_unwind};

    use stealyard_sync::Arc;

    use super::*;

    /// An item that counts itself through `_counted`, and whose destructor panics if `panics` is
    /// set.
    struct Item {
        _counted: Arc<()>,
        panics: bool,
    }

    impl Drop for Item {
        fn drop(&mut self) {
            assert!(!self.panics, "on purpose");
        }
    }

    fn items(counted: &Arc<()>, wrong: usize) -> Vec<Item> {
        let item = |number| Item {
            _counted: Arc::clone(counted),
            panics: number == wrong,
        };
        (0..5).map(item).collect()
    }

    fn batch(items: Vec<Item>) -> Batch<Box<Item>> {
        let words = items.into_iter().map(|item| Box::new(item).into_word());
        let words: Vec<_> = words.collect();
        // SAFETY: 1. they came out of `into_word` above; 2. each is given up once.
        unsafe { Batch::new(words.len(), |number| words[number]) }
    }

    #[test]
    fn q7_a_destructor_that_panics_leaks_no_other_item() {
        for wrong in 0..5 {
            let counted = Arc::new(());
            let all = items(&counted, wrong).into_iter();
            assert!(catch_unwind(AssertUnwindSafe(|| drop_all(all))).is_err());
            assert_eq!(Arc::strong_count(&counted), 1);
            let rest = batch(items(&counted, wrong));
            assert!(catch_unwind(AssertUnwindSafe(|| drop(rest))).is_err());
            assert_eq!(Arc::strong_count(&counted), 1);
        }
    }

    #[test]
    fn q7_a_sink_that_panics_leaks_nothing() {
        for stop in 0..5 {
            let counted = Arc::new(());
            let rest = batch(items(&counted, usize::MAX));
            let sink = |(number, _item)| assert!(number != stop, "on purpose");
            let thrown = catch_unwind(AssertUnwindSafe(|| rest.enumerate().for_each(sink)));
            assert!(thrown.is_err());
            assert_eq!(Arc::strong_count(&counted), 1);
        }
    }
}

//! The trait of global queues, and what all of them use.

/// A global run queue: many producers, many consumers.
///
/// A scheduler written against this trait can be given any of the queues in this crate, or one of
/// its user's own. Any thread may make any call at any time.
pub trait Injector<T: Send>: Send + Sync {
    /// Pushes `item` at the back.
    fn push(&self, item: T);

    /// Pushes all of `items` at the back, in their order, and together as far as the queue promises
    /// it.
    ///
    /// All items are drawn before the queue is touched, so the iterator may use the queue. If it
    /// panics, the items that it has given are dropped and the queue is as it was.
    fn push_batch(&self, items: impl IntoIterator<Item = T>);

    /// Takes the oldest item.
    fn pop(&self) -> Option<T>;

    /// Takes one worker's share of what is there, `min(max, len / workers + 1)`, oldest first, and
    /// gives it to `sink`. Returns how many items that were.
    ///
    /// `sink` is called without any lock held and may use the queue. If it panics, the items that
    /// were taken and not yet given are dropped.
    fn pop_batch(&self, max: usize, workers: usize, sink: impl FnMut(T)) -> usize;

    /// Returns the number of items at this moment.
    fn len(&self) -> usize;

    /// Whether the queue was empty at this moment.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Returns one worker's share of `len` items, by Go's rule.
pub(crate) fn share(len: usize, max: usize, workers: usize) -> usize {
    max.min(len / workers.max(1) + 1).min(len)
}

/// Drops all items of `items`, as a `Vec` does: a destructor that panics keeps none of the other
/// items from being dropped, and its panic goes on afterwards. A second panic meanwhile ends the
/// process.
pub(crate) fn drop_all<T>(items: &mut impl Iterator<Item = T>) {
    struct Rest<'a, I: Iterator>(&'a mut I);

    impl<I: Iterator> Drop for Rest<'_, I> {
        fn drop(&mut self) {
            self.0.for_each(drop);
        }
    }

    let rest = Rest(items);
    rest.0.for_each(drop);
    // The rest is dropped here, after a panic or because no item remains.
}

#[cfg(test)]
mod tests {
    use super::share;

    #[test]
    fn a_share_is_at_most_the_length_and_the_maximum() {
        assert_eq!(share(0, 128, 2), 0);
        assert_eq!(share(1, 128, 8), 1);
        assert_eq!(share(100, 128, 2), 51);
        assert_eq!(share(100, 16, 2), 16);
        assert_eq!(share(5, 128, 0), 5, "no workers is taken as one");
    }
}

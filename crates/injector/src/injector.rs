//! What every global queue here can do.

/// A global run queue: many producers, many consumers.
///
/// A scheduler written against this trait can be given any of the queues in this crate, or one of its
/// user's own. All calls may be made by any thread at any time.
pub trait Injector<T: Send>: Send + Sync {
    /// Puts `item` at the back.
    fn push(&self, item: T);

    /// Puts all of `items` at the back, in their order, and together as far as the queue promises it.
    /// `items` is drawn before the queue is touched: the iterator may use the queue, and if it panics, what it
    /// has given is dropped and the queue is as it was.
    fn push_batch(&self, items: impl IntoIterator<Item = T>);

    /// Takes the oldest item.
    fn pop(&self) -> Option<T>;

    /// Takes one worker's share of what is there, `min(max, len / workers + 1)`, oldest first, and
    /// gives it to `sink`. Returns how many; `sink` is called without any lock held and may use the queue. If it
    /// panics, what was taken and not yet given is dropped.
    fn pop_batch(&self, max: usize, workers: usize, sink: impl FnMut(T)) -> usize;

    /// How many items there were at this moment.
    fn len(&self) -> usize;

    /// True if the queue was empty at this moment.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One worker's share of `len` items: Go's rule.
pub(crate) fn share(len: usize, max: usize, workers: usize) -> usize {
    max.min(len / workers.max(1) + 1).min(len)
}

/// Drops all that `items` gives, as a `Vec` does: a destructor that panics keeps none of the others from being
/// dropped, and its panic goes on afterwards. A second panic meanwhile ends the process.
pub(crate) fn drop_all<T>(items: &mut impl Iterator<Item = T>) {
    struct Rest<'a, I: Iterator>(&'a mut I);

    impl<I: Iterator> Drop for Rest<'_, I> {
        fn drop(&mut self) {
            self.0.for_each(drop);
        }
    }

    let rest = Rest(items);
    rest.0.for_each(drop);
    // By a panic, or because nothing is left: the rest is dropped here.
}

#[cfg(test)]
mod tests {
    use super::share;

    #[test]
    fn a_share_is_never_more_than_there_is_or_was_asked_for() {
        assert_eq!(share(0, 128, 2), 0);
        assert_eq!(share(1, 128, 8), 1);
        assert_eq!(share(100, 128, 2), 51);
        assert_eq!(share(100, 16, 2), 16);
        assert_eq!(share(5, 128, 0), 5, "no workers is taken as one");
    }
}

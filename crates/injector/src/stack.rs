//! An intrusive queue for items that carry their own link: a push is one compare-and-swap, and a
//! consumer takes everything at once.
//!
//! This is Treiber's stack without its hard half. No thread pops a single item from the shared
//! part, so there is no ABA and nothing to reclaim. A consumer swaps the whole chain out, reverses
//! it, and has a private queue in the order of the pushes. One cache line is moved for a whole
//! batch.
//!
//! # Operations
//! | operation    | caller | progress  | cost                                   |
//! | ------------ | ------ | --------- | -------------------------------------- |
//! | `push`       | any    | lock-free | one RMW an attempt                     |
//! | `push_batch` | any    | lock-free | one RMW an attempt for the whole batch |
//! | `take_all`   | any    | wait-free | one RMW; reversing touches each item   |
//! | `is_empty`   | any    | wait-free | one load                               |
//!
//! # Layout
//! ```text
//!   top -> newest -> ... -> oldest -> null        links are in the items
//! ```
//!
//! # Invariants
//! - **T1** (one chain) An item is in one chain at a time: the shared one, or that of the consumer
//!   that took it.
//! - **T2** (one writer) Only the owner of an item writes its link: the pusher until its
//!   compare-and-swap succeeds, the consumer after its swap.
//! - **T3** (order) Consumers that take one after the other get the items in the order of the
//!   pushes. Within a chain the order is that of the pushes too.
//!
//! # Orderings
//! | label | operation                    | partner | publishes             |
//! | ----- | ---------------------------- | ------- | --------------------- |
//! | T4    | `push`: swaps `top`, Release | T5      | the item and its link |
//! | T5    | `take_all`: swap, Acquire    | T4      | –                     |
//!
//! A push onto a chain continues its release sequence. So the one swap of a consumer synchronises
//! with every push in the chain.
//!
//! # Foreign code
//! Code of the user runs at these places:
//! - *The caller's iterator*, in `push_batch`. It sees the queue as every thread sees it. The items
//!   that it has given are in a chain of their own, which a panic drops.
//! - *The caller's code*, between two `next` of a `Chain`. It sees a chain without the items that
//!   the chain gave.
//! - *Destructors of items*, when a `Chain` or the queue is dropped, and in a `push_batch` whose
//!   iterator panics. They see a chain without the item. After a panic the other items are dropped
//!   too.
//!
//! A `Chain` that is forgotten leaks its items and nothing else. The functions of [`Linked`] run in
//! the middle of an operation. An implementor, which is `unsafe`, promises that they do not panic
//! and touch only the node.
//!
//! # Why not …
//! *Popping single items*: it needs a tag or hazard pointers against ABA, and an RMW for each item.
//!
//! # References
//! R. K. Treiber, *Systems programming: coping with parallelism*, 1986.

use core::fmt;
use core::marker::PhantomData;
use core::panic::{RefUnwindSafe, UnwindSafe};
use core::ptr::{self, NonNull};

use stealyard_sync::CachePadded;
use stealyard_sync::atomic::{AtomicPtr, Ordering};

use crate::injector::drop_all;

/// An owned item that can be a pointer to something with a place for a link in it.
///
/// # Safety
/// An implementor promises:
/// 1. `from_node(into_node(x))` is `x`, with everything that `x` owned, and the pointer stays valid
///    in between, also on another thread.
/// 2. `link` returns, for a pointer from `into_node`, a place that no other code reads or writes
///    between `into_node` and `from_node`, and that is valid for reads and writes of a pointer.
/// 3. None of the calls panics.
pub unsafe trait Linked: Send + Sized {
    /// The type to which the items point.
    type Node;

    /// Turns the item into a pointer that owns it.
    fn into_node(self) -> NonNull<Self::Node>;

    /// Turns the pointer back into the item.
    ///
    /// # Safety
    /// 1. `node` came from `into_node`, and `from_node` is called for it only once.
    unsafe fn from_node(node: NonNull<Self::Node>) -> Self;

    /// Returns the place of the link in a node.
    ///
    /// # Safety
    /// 1. `node` came from `into_node`, and `from_node` has not been called for it since.
    unsafe fn link(node: NonNull<Self::Node>) -> NonNull<*mut Self::Node>;
}

/// An intrusive queue that is taken whole. See the [crate's](crate) overview.
pub struct Stack<T: Linked> {
    top: CachePadded<AtomicPtr<T::Node>>,
    /// The stack takes and returns items, so it is invariant, whatever `T::Node` is.
    items: PhantomData<fn(T) -> T>,
}

// SAFETY: 1. items are `Send` and owned by one chain at a time (T1).
unsafe impl<T: Linked> Send for Stack<T> {}
// SAFETY: 1. as above; all shared state is one atomic.
unsafe impl<T: Linked> Sync for Stack<T> {}

// A panic leaves no operation half done.
impl<T: Linked> UnwindSafe for Stack<T> {}
impl<T: Linked> RefUnwindSafe for Stack<T> {}

impl<T: Linked> Stack<T> {
    /// Creates an empty queue.
    #[must_use]
    pub fn new() -> Self {
        Self {
            top: CachePadded::new(AtomicPtr::new(ptr::null_mut())),
            items: PhantomData,
        }
    }

    /// Pushes `item` at the back.
    pub fn push(&self, item: T) {
        let node = item.into_node();
        self.link_in(node, node);
    }

    /// Pushes all of `items` at the back, together and in their order, with one exchange.
    pub fn push_batch(&self, items: impl IntoIterator<Item = T>) {
        let mut items = items.into_iter();
        let Some(first) = items.next() else { return };
        let oldest = first.into_node();
        let mut chain = Chain::<T> {
            next: oldest.as_ptr(),
            items: PhantomData,
        };
        // SAFETY: 1. the pointer came from `into_node` just now.
        unsafe { set_link::<T>(oldest, ptr::null_mut()) };
        for item in items {
            let node = item.into_node();
            // SAFETY: 1. as above.
            unsafe { set_link::<T>(node, chain.next) };
            chain.next = node.as_ptr();
        }
        // From here on nothing can panic. Until here, the chain would have dropped its items.
        let newest = chain.next;
        chain.next = ptr::null_mut();
        if let Some(newest) = NonNull::new(newest) {
            self.link_in(newest, oldest);
        }
    }

    /// Puts the chain from `newest` down to `oldest` on top.
    fn link_in(&self, newest: NonNull<T::Node>, oldest: NonNull<T::Node>) {
        // Ordering: Relaxed; the exchange below decides.
        let mut top = self.top.load(Ordering::Relaxed);
        loop {
            // SAFETY: 1. the item is this thread's until the exchange succeeds (T2).
            unsafe { set_link::<T>(oldest, top) };
            // Ordering: Release on success (T4); the items and links are visible to the thread that
            // takes them. Relaxed on failure; look again.
            match self.top.compare_exchange_weak(
                top,
                newest.as_ptr(),
                Ordering::Release,
                Ordering::Relaxed,
            ) {
                Ok(_) => return,
                Err(now) => top = now,
            }
        }
    }

    /// Takes everything, oldest first. An empty queue costs one load. Items that remain in the
    /// chain when it is dropped are dropped with it.
    pub fn take_all(&self) -> Chain<T> {
        if self.is_empty() {
            return Chain {
                next: ptr::null_mut(),
                items: PhantomData,
            };
        }
        // Ordering: Acquire (T5); every item of the chain is visible.
        let newest = self.top.swap(ptr::null_mut(), Ordering::Acquire);
        Chain {
            next: reverse::<T>(newest),
            items: PhantomData,
        }
    }

    /// Whether there was no item at this moment.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        // Ordering: Relaxed; a moment's view.
        self.top.load(Ordering::Relaxed).is_null()
    }
}

/// Reverses a chain that the caller owns. Returns its new first node.
fn reverse<T: Linked>(mut node: *mut T::Node) -> *mut T::Node {
    let mut reversed = ptr::null_mut();
    while let Some(current) = NonNull::new(node) {
        // SAFETY: 1. the node is in the chain that is the caller's (T1).
        node = unsafe { get_link::<T>(current) };
        // SAFETY: 1. as above.
        unsafe { set_link::<T>(current, reversed) };
        reversed = current.as_ptr();
    }
    reversed
}

/// Writes the link of a node.
///
/// # Safety
/// 1. `node` came from `into_node` and is the caller's (T2).
unsafe fn set_link<T: Linked>(node: NonNull<T::Node>, to: *mut T::Node) {
    // SAFETY: 1. as the caller promises.
    let link = unsafe { T::link(node) };
    // SAFETY: 1. the place is valid, and the caller's alone (obligation 2 of `Linked`).
    unsafe { link.write(to) };
}

/// Reads the link of a node.
///
/// # Safety
/// 1. `node` came from `into_node` and is the caller's (T2), and its link has been written.
unsafe fn get_link<T: Linked>(node: NonNull<T::Node>) -> *mut T::Node {
    // SAFETY: 1. as the caller promises.
    let link = unsafe { T::link(node) };
    // SAFETY: 1. the place is valid, and the caller's alone (obligation 2 of `Linked`).
    unsafe { link.read() }
}

/// Items taken out of a [`Stack`], oldest first.
pub struct Chain<T: Linked> {
    next: *mut T::Node,
    items: PhantomData<T>,
}

// SAFETY: 1. the chain owns its items (T1), and they are `Send`.
unsafe impl<T: Linked> Send for Chain<T> {}

impl<T: Linked> Iterator for Chain<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        let node = NonNull::new(self.next)?;
        // SAFETY: 1. the node is in this chain, and its link is written.
        self.next = unsafe { get_link::<T>(node) };
        // SAFETY: 1. the node has left the chain, so this happens once.
        Some(unsafe { T::from_node(node) })
    }
}

impl<T: Linked> Drop for Chain<T> {
    fn drop(&mut self) {
        drop_all(self);
    }
}

impl<T: Linked> Drop for Stack<T> {
    fn drop(&mut self) {
        drop(self.take_all());
    }
}

impl<T: Linked> Default for Stack<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Linked> fmt::Debug for Stack<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stack")
            .field("is_empty", &self.is_empty())
            .finish()
    }
}

impl<T: Linked> fmt::Debug for Chain<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chain")
            .field("is_empty", &self.next.is_null())
            .finish()
    }
}

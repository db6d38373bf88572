//! What every task begins with, whatever its future: the vtable, the way home, the state.
//!
//! The header stays in its block of memory when the task is gone. Its state then says "vacant", and
//! its first two words link free blocks. So a block's state may be read at any time while the slab
//! it lies in is known to exist, which is how shutdown finds the tasks that sleep (see
//! [`memory`](super::memory)).
//!
//! # Layout
//! ```text
//!        0          8          16        24
//!        +----------+----------+----------+------------------------------------+
//!  task  | vtable   | home     | state    | joiner's waker, future or output   |
//!        +----------+----------+----------+------------------------------------+
//!  free  | next     | -        | 0        | anything                           |
//!        +----------+----------+----------+------------------------------------+
//! ```

use core::fmt;
use core::mem::MaybeUninit;
use core::ptr::NonNull;

use stealyard_park::SpinConfig;
use stealyard_sync::cell::UnsafeCell;

use super::id::TaskId;
use super::state::State;
use super::{Ran, Why};
use crate::panics::Panic;

/// The functions of one kind of task.
///
/// # Safety
/// Each takes the header of a task of the kind that the table was made for, and:
/// 1. `run` and `cancel` are called by the holder of the task's only `Task`, which they use up;
/// 2. `schedule` is called by the thread that has just made the task active (S1), and `wake` by the
///    holder of a waker, which it uses up;
/// 3. one of `output` and `drop_output` is called, by the handle, once, after completion (S4);
///    `output` returns the place of a `Result<T, JoinError>`, which the handle moves out before it
///    gives up its reference;
/// 4. `joiner`, `spin` and `id` may be called by any holder of a reference, `id` also by the thread
///    that runs the task;
/// 5. `vacate` is called by the thread that gave up the last reference (S5);
/// 6. `report` may be called by any holder of a reference.
///
/// None of them unwinds.
pub(super) struct Vtable {
    pub(super) run: unsafe fn(NonNull<Header>) -> Ran,
    pub(super) cancel: unsafe fn(NonNull<Header>),
    pub(super) schedule: unsafe fn(NonNull<Header>, Why),
    pub(super) wake: unsafe fn(NonNull<Header>),
    pub(super) output: unsafe fn(NonNull<Header>) -> NonNull<()>,
    pub(super) drop_output: unsafe fn(NonNull<Header>),
    pub(super) joiner: unsafe fn(NonNull<Header>) -> NonNull<Joiner>,
    pub(super) spin: unsafe fn(NonNull<Header>) -> SpinConfig,
    pub(super) vacate: unsafe fn(NonNull<Header>),
    pub(super) report: unsafe fn(NonNull<Header>, Panic),
    pub(super) id: unsafe fn(NonNull<Header>) -> TaskId,
}

/// The slot of the joiner's waker (S3).
pub(super) type Joiner = UnsafeCell<MaybeUninit<core::task::Waker>>;

/// The two words whose meaning depends on whether there is a task.
#[derive(Clone, Copy)]
pub(super) union Link {
    /// A task's vtable and the scheduler it belongs to.
    pub(super) task: (&'static Vtable, *const ()),
    /// The next free block.
    pub(super) next: *mut Header,
}

/// What every block of task memory begins with.
#[repr(C)]
pub(super) struct Header {
    pub(super) link: UnsafeCell<Link>,
    pub(super) state: State,
}

impl Header {
    /// Makes the header of a free block, the last of its list.
    pub(super) fn vacant() -> Self {
        Self {
            link: UnsafeCell::new(Link {
                next: core::ptr::null_mut(),
            }),
            state: State::vacant(),
        }
    }

    /// Returns the state word of a block.
    ///
    /// # Safety
    /// 1. The block stays valid for `'a`.
    #[inline(always)]
    pub(super) unsafe fn state<'a>(block: NonNull<Self>) -> &'a State {
        // SAFETY: 1. valid (1); all threads that know the block share the state.
        unsafe { &(*block.as_ptr()).state }
    }

    /// Returns the vtable of the task in a block.
    ///
    /// # Safety
    /// 1. The block holds a task, and the caller holds its `Task` or a reference to it.
    #[inline(always)]
    pub(super) unsafe fn vtable(task: NonNull<Self>) -> &'static Vtable {
        // SAFETY: 1. the caller keeps the block valid (1).
        let link = unsafe { &(*task.as_ptr()).link };
        // SAFETY: 1. it does not change while the caller holds the task (1).
        let link = link.with(|link| unsafe { link.read() });
        // SAFETY: 1. an occupied block's link is a task's (1).
        unsafe { link.task }.0
    }

    /// Returns the scheduler of the task in a block.
    ///
    /// # Safety
    /// 1. The block holds a task, and the caller holds its `Task` or a reference to it.
    #[inline(always)]
    pub(super) unsafe fn home(task: NonNull<Self>) -> *const () {
        // SAFETY: 1. the caller keeps the block valid (1).
        let link = unsafe { &(*task.as_ptr()).link };
        // SAFETY: 1. it does not change while the caller holds the task (1).
        let link = link.with(|link| unsafe { link.read() });
        // SAFETY: 1. an occupied block's link is a task's (1).
        unsafe { link.task }.1
    }

    /// Returns the block after this one in a list of free blocks.
    ///
    /// # Safety
    /// 1. The block is free, and the caller owns the list it is in.
    pub(super) unsafe fn next(&self) -> *mut Self {
        // SAFETY: 1. the caller owns it (1).
        let link = self.link.with(|link| unsafe { link.read() });
        // SAFETY: 1. a free block's link is the next block (1).
        unsafe { link.next }
    }

    /// Links this block before `next`.
    ///
    /// # Safety
    /// 1. The block is free, and the caller owns it.
    pub(super) unsafe fn set_next(&self, next: *mut Self) {
        // SAFETY: 1. the caller owns the block (1).
        self.link.with_mut(|link| unsafe { *link = Link { next } });
    }
}

impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Header")
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

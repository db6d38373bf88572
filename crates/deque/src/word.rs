//! Items of one machine word.
//!
//! A thief copies a slot *before* it knows whether the item is its own: the claim comes afterwards,
//! and a copy whose claim failed is thrown away. With items of any type that copy would race with the
//! owner's next write, which is undefined behaviour however little is done with it. With items of one
//! word the slot is an atomic, and the copy is an ordinary atomic load.

use core::num::NonZeroUsize;
use core::ptr::NonNull;

/// A value that is one non-zero machine word: a pointer, or a number that is never zero.
///
/// # Safety
/// An implementor promises:
/// 1. `from_word(into_word(x))` is `x`, with everything that `x` owned.
/// 2. A word may be handed to another thread between the two calls (so `Self` is `Send`, which the
///    bound asks for), and may be copied any number of times, as long as `from_word` is called for
///    one copy only.
/// 3. Neither call panics.
pub unsafe trait Word: Send + Sized {
    /// The value as a word, with its ownership.
    fn into_word(self) -> NonZeroUsize;

    /// The value again.
    ///
    /// # Safety
    /// 1. `word` came from `into_word` of this type.
    /// 2. `from_word` has not been called for it since, and will not be called again.
    unsafe fn from_word(word: NonZeroUsize) -> Self;
}

// SAFETY: 1. the address that `into_raw` gives is the box, and its provenance is exposed by the cast
// and taken up again by the cast back; 2. a box of `Send` content is `Send`; 3. neither call panics.
unsafe impl<T: Send> Word for Box<T> {
    fn into_word(self) -> NonZeroUsize {
        exposed(Box::into_raw(self))
    }

    unsafe fn from_word(word: NonZeroUsize) -> Self {
        // SAFETY: 1. the pointer came from `Box::into_raw`; 2. the caller makes it a box once only.
        unsafe { Self::from_raw(with_exposed(word)) }
    }
}

// SAFETY: 1. the address that `into_raw` gives stands for one reference count; 2. a shared pointer to
// `Send + Sync` content is `Send`; 3. neither call panics.
#[cfg(not(any(stealyard_loom, stealyard_shuttle)))]
unsafe impl<T: Send + Sync> Word for stealyard_sync::Arc<T> {
    fn into_word(self) -> NonZeroUsize {
        exposed(Self::into_raw(self).cast_mut())
    }

    unsafe fn from_word(word: NonZeroUsize) -> Self {
        // SAFETY: 1. the pointer came from `Arc::into_raw`; 2. the caller takes its count once only.
        unsafe { Self::from_raw(with_exposed::<T>(word).cast_const()) }
    }
}

// SAFETY: 1. the address is the reference; 2. a reference to `Sync` content is `Send`; 3. no panic.
unsafe impl<T: Sync> Word for &'static T {
    fn into_word(self) -> NonZeroUsize {
        exposed(core::ptr::from_ref(self).cast_mut())
    }

    unsafe fn from_word(word: NonZeroUsize) -> Self {
        // SAFETY: 1. the pointer came from a reference that lives for ever.
        unsafe { &*with_exposed::<T>(word).cast_const() }
    }
}

// SAFETY: 1. the number is its own word; 2. numbers are `Send`; 3. no panic.
unsafe impl Word for NonZeroUsize {
    fn into_word(self) -> NonZeroUsize {
        self
    }

    unsafe fn from_word(word: NonZeroUsize) -> Self {
        word
    }
}

/// The address of a pointer that is known not to be null, its provenance exposed.
fn exposed<T>(pointer: *mut T) -> NonZeroUsize {
    NonNull::new(pointer)
        .expect("a pointer to a value is not null")
        .expose_provenance()
}

fn with_exposed<T>(word: NonZeroUsize) -> *mut T {
    core::ptr::with_exposed_provenance_mut(word.get())
}

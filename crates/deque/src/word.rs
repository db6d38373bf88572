//! Items that are one machine word.
//!
//! A thief first copies a slot, and finds out afterwards, by its compare-exchange, whether the copy
//! is its own. Meanwhile the owner may write the same slot. For an arbitrary `T` that copy is a
//! data race, and undefined behaviour even when the copy is thrown away. For a word in an atomic it
//! is an ordinary relaxed load. So the queues of this crate hold words, and anything else travels
//! in a box.
//!
//! The word is a raw pointer and not an integer, so that a pointer keeps its provenance on its way
//! through a queue. It is never null, so that null can mean "no item" in a [`Slot`](crate::Slot).

use core::marker::PhantomData;
use core::num::{NonZero, NonZeroU8, NonZeroU16, NonZeroU32, NonZeroUsize};
use core::pin::Pin;
use core::ptr::NonNull;

/// What a queue's type says about the items whose words it holds.
///
/// - It is invariant in `T`. The ends of a queue take a `T` by `&self` and return one, so a queue
///   of long-lived references must not pass for one of short-lived references, nor the other way
///   round.
/// - It is `Send` and `Sync` whatever `T` is. Every [`Word`] is `Send`, and an item is in one place
///   at a time.
/// - It owns no `T`. That a queue may not outlive what its items' destructors read comes with the
///   destructor of each type that has this field.
pub(crate) type Items<T> = PhantomData<fn(T) -> T>;

/// A value that can travel as one machine word.
///
/// It is implemented for `Box`, `Pin<Box>`, `Arc`, shared references and the integers that fit.
/// Implement it for a task pointer of your own:
///
/// ```
/// use core::ptr::NonNull;
/// use stealyard_deque::{Ring, Word};
///
/// struct Header {/* what every task begins with */}
///
/// /// Owns one reference to a task.
/// struct Task(NonNull<Header>);
///
/// // SAFETY: a task may be run and freed by any thread.
/// unsafe impl Send for Task {}
///
/// // SAFETY:
/// // 1. The pointer is the whole value.
/// // 2. The reference that it owns goes with the word: `Task` has no destructor that `into_word`
/// //    would run.
/// // 3. A pointer can be copied without effect.
/// unsafe impl Word for Task {
///     fn into_word(self) -> NonNull<()> {
///         self.0.cast()
///     }
///     unsafe fn from_word(word: NonNull<()>) -> Self {
///         Self(word.cast())
///     }
/// }
///
/// let queue = Ring::<Task>::new();
/// assert!(queue.pop().is_none());
/// ```
///
/// The queues call both functions only when they hold no half-done state, so these functions may
/// use the queue themselves.
///
/// # Safety
/// 1. `from_word(value.into_word())` is `value` again, on this or any other thread.
/// 2. `into_word` gives up the value without dropping it: the caller of `from_word` owns it.
/// 3. A word that is copied and forgotten, any number of times, has no effect: only `from_word`
///    brings the value back to life.
pub unsafe trait Word: Send + Sized {
    /// Turns the value into its word. Must not panic: the value would be lost.
    fn into_word(self) -> NonNull<()>;

    /// Turns the word back into the value. Must not panic: the value would be lost.
    ///
    /// # Safety
    /// 1. `word` came out of [`Word::into_word`] of this type.
    /// 2. No other copy of that word is turned back: each `into_word` is matched by at most one
    ///    `from_word`.
    unsafe fn from_word(word: NonNull<()>) -> Self;
}

// SAFETY:
// 1. `from_raw` undoes `into_raw`.
// 2. `into_raw` does not drop.
// 3. Copying a pointer has no effect.
unsafe impl<T: Send> Word for Box<T> {
    #[inline]
    fn into_word(self) -> NonNull<()> {
        let pointer = Self::into_raw(self);
        // SAFETY: 1. a box's pointer is never null, also for a zero-sized `T`.
        unsafe { NonNull::new_unchecked(pointer.cast()) }
    }

    #[inline]
    unsafe fn from_word(word: NonNull<()>) -> Self {
        // SAFETY: 1. it came from `into_raw`, and this is the only copy turned back.
        unsafe { Self::from_raw(word.cast().as_ptr()) }
    }
}

// SAFETY:
// 1. As for `Box`, and the value never moves.
// 2. As for `Box`.
// 3. As for `Box`.
unsafe impl<T: Send> Word for Pin<Box<T>> {
    #[inline]
    fn into_word(self) -> NonNull<()> {
        // SAFETY: 1. the value stays where it is: no code reaches it before `from_word` pins it
        // again.
        let inner = unsafe { Self::into_inner_unchecked(self) };
        inner.into_word()
    }

    #[inline]
    unsafe fn from_word(word: NonNull<()>) -> Self {
        // SAFETY: 1. the word came from a box; 2. this is the only copy turned back.
        let inner = unsafe { Box::<T>::from_word(word) };
        Self::from(inner)
    }
}

// SAFETY:
// 1. `from_raw` undoes `into_raw`.
// 2. The count is not touched.
// 3. Copying a pointer has no effect.
#[cfg(not(any(stealyard_loom, stealyard_shuttle)))]
unsafe impl<T: Send + Sync> Word for stealyard_sync::Arc<T> {
    #[inline]
    fn into_word(self) -> NonNull<()> {
        let pointer = Self::into_raw(self).cast_mut();
        // SAFETY: 1. an `Arc`'s pointer is never null.
        unsafe { NonNull::new_unchecked(pointer.cast()) }
    }

    #[inline]
    unsafe fn from_word(word: NonNull<()>) -> Self {
        // SAFETY: 1. it came from `into_raw`, and this is the only copy turned back.
        unsafe { Self::from_raw(word.cast::<T>().as_ptr().cast_const()) }
    }
}

// SAFETY:
// 1. The pointer is the whole value, and the queue's type keeps the lifetime.
// 2. A reference has no destructor.
// 3. A reference is `Copy`.
unsafe impl<T: Sync> Word for &T {
    #[inline]
    fn into_word(self) -> NonNull<()> {
        NonNull::from_ref(self).cast()
    }

    #[inline]
    unsafe fn from_word(word: NonNull<()>) -> Self {
        // SAFETY: 1. it came from a reference of this very type, lifetime included.
        unsafe { word.cast().as_ref() }
    }
}

// SAFETY:
// 1. There is only one value.
// 2. It has no destructor.
// 3. A pointer is `Copy`.
unsafe impl Word for () {
    #[inline]
    fn into_word(self) -> NonNull<()> {
        NonNull::dangling()
    }

    #[inline]
    unsafe fn from_word(_word: NonNull<()>) -> Self {}
}

macro_rules! word_for_small_integers {
    ($($integer:ty),*) => {$(
        // SAFETY:
        // 1. The integer is narrower than an address, so adding one and subtracting it again keeps
        //    it.
        // 2. An integer has no destructor.
        // 3. An integer is `Copy`.
        unsafe impl Word for $integer {
            #[inline]
            fn into_word(self) -> NonNull<()> {
                NonNull::without_provenance(NonZero::<usize>::MIN.saturating_add(self as usize))
            }

            #[inline]
            unsafe fn from_word(word: NonNull<()>) -> Self {
                (word.addr().get() - 1) as Self
            }
        }
    )*};
}

macro_rules! word_for_non_zero_integers {
    ($($non_zero:ty),*) => {$(
        // SAFETY:
        // 1. The number is not wider than an address, and is not zero in either form.
        // 2. It has no destructor.
        // 3. It is `Copy`.
        unsafe impl Word for $non_zero {
            #[inline]
            fn into_word(self) -> NonNull<()> {
                // SAFETY: 1. it is not zero, and no bit of it is lost.
                let address = unsafe { NonZeroUsize::new_unchecked(self.get() as usize) };
                NonNull::without_provenance(address)
            }

            #[inline]
            unsafe fn from_word(word: NonNull<()>) -> Self {
                // SAFETY: 1. it was not zero when it went in, and no bit was lost.
                unsafe { Self::new_unchecked(word.addr().get() as _) }
            }
        }
    )*};
}

word_for_small_integers!(u8, u16);
word_for_non_zero_integers!(NonZeroU8, NonZeroU16, NonZeroU32, NonZeroUsize);

#[cfg(target_pointer_width = "64")]
mod wide {
    //! Integers that need an address of 64 bits.

    use core::num::{NonZero, NonZeroU64, NonZeroUsize};
    use core::ptr::NonNull;

    use super::Word;

    word_for_small_integers!(u32);
    word_for_non_zero_integers!(NonZeroU64);
}

#[cfg(all(test, not(any(stealyard_loom, stealyard_shuttle))))]
mod tests {
    //! Goal: words come back as the values they were, and ownership goes with them (Q5). Method:
    //! round trips of boundary values and of counted pointers.

    use core::num::NonZeroU64;
    use core::ptr;

    use stealyard_sync::Arc;

    use super::*;

    fn round_trip<T: Word>(value: T) -> T {
        let word = value.into_word();
        // SAFETY: 1. made one line above; 2. turned back once.
        unsafe { T::from_word(word) }
    }

    #[test]
    fn q5_integers_of_every_width_survive() {
        for edge in [0, 1, u8::MAX] {
            assert_eq!(round_trip(edge), edge);
        }
        for edge in [0, 1, u16::MAX] {
            assert_eq!(round_trip(edge), edge);
        }
        for edge in [0, 1, u32::MAX] {
            assert_eq!(round_trip(edge), edge);
        }
        assert_eq!(round_trip(NonZeroU8::MAX), NonZeroU8::MAX);
        assert_eq!(round_trip(NonZeroU64::MAX), NonZeroU64::MAX);
        assert_eq!(round_trip(NonZeroUsize::MIN), NonZeroUsize::MIN);
        round_trip(());
    }

    #[test]
    fn q5_pointers_keep_their_target_and_their_count() {
        static STATIC: u8 = 7;
        let back: &u8 = round_trip(&STATIC);
        assert!(ptr::eq(back, &raw const STATIC));
        let borrowed = 8_u32;
        let back: &u32 = round_trip(&borrowed);
        assert!(ptr::eq(back, &raw const borrowed));

        let counted = Arc::new(5);
        let back = round_trip(Arc::clone(&counted));
        assert_eq!(Arc::strong_count(&counted), 2);
        drop(back);
        assert_eq!(Arc::strong_count(&counted), 1);

        assert_eq!(*round_trip(Box::new([3_u8; 32 << 10])), [3; 32 << 10]);
        round_trip(Box::new(())); // dangling, but not null
    }

    #[test]
    fn q5_a_pinned_future_does_not_move() {
        let pinned = Box::pin(async { 5 });
        let address = ptr::from_ref(&*pinned).addr();
        assert_eq!(ptr::from_ref(&*round_trip(pinned)).addr(), address);
    }
}

//! `core`'s `UnsafeCell` behind the two methods that a model checker can watch.

/// `core`'s `UnsafeCell`, behind the two methods that a model checker can watch.
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct UnsafeCell<T>(core::cell::UnsafeCell<T>);

impl<T> UnsafeCell<T> {
    /// Wraps `value`.
    pub const fn new(value: T) -> Self {
        Self(core::cell::UnsafeCell::new(value))
    }

    /// Calls `f` with a pointer for reading. The caller must justify dereferencing it: no other
    /// thread may write meanwhile.
    #[inline(always)]
    pub fn with<R>(&self, f: impl FnOnce(*const T) -> R) -> R {
        f(self.0.get())
    }

    /// Calls `f` with a pointer for writing. The caller must justify dereferencing it: no other
    /// thread may read or write meanwhile.
    #[inline(always)]
    pub fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
        f(self.0.get())
    }

    /// Returns the value, which the caller owns alone.
    pub fn into_inner(self) -> T {
        self.0.into_inner()
    }
}

//! loom's atomics, and on demand a model that misses no load of them.
//!
//! loom finds the orders that are worth trying from pairs of accesses to one atomic that depend on
//! each other. But it remembers only the last access to each atomic. A thread that loads an atomic
//! before it writes it, as every loop around a compare-and-swap does, hides with its own load the
//! loads that other threads made before. loom then never tries the write between two of those
//! loads. A consumer that decides by its first load and acts by its second is found right, whatever
//! it does.
//!
//! So inside [`model::check_every_look`](crate::model::check_every_look) each atomic has a mark for
//! each thread. A load touches the mark of its own thread. A write touches the marks of all other
//! threads that have loaded. A mark is touched by a relaxed read-modify-write. This makes the pair
//! depend on each other, lets no mark be stale, and orders nothing that the atomic itself does not
//! order.
//!
//! The price is longer executions, and more of them. So it is for the models that need it, with two
//! or three threads and few operations.

use std::cell::Cell;
use std::sync::atomic::AtomicU32 as Seen;

use loom::sync::atomic::{self as inner, Ordering};

/// The number of threads that have a mark: more than loom allows in one model.
const THREADS: usize = 8;

std::thread_local! {
    /// Whether atomics that are made now are watched. A model runs all its threads on one thread of
    /// the system.
    static WATCHING: Cell<bool> = const { Cell::new(false) };
}

/// Runs `model` with every atomic that it makes watched.
pub(crate) fn watching(model: impl FnOnce()) {
    struct Before(bool);

    impl Drop for Before {
        fn drop(&mut self) {
            WATCHING.set(self.0);
        }
    }

    let _before = Before(WATCHING.replace(true));
    model();
}

/// The marks that keep the loads of other threads from being hidden. Only a watched atomic has
/// them.
#[derive(Debug)]
struct Marks {
    marks: [inner::AtomicBool; THREADS],
    /// A bit for each thread that has loaded. It is not loom's atomic, so the model does not see
    /// it.
    seen: Seen,
}

impl Marks {
    fn wanted() -> Option<Box<Self>> {
        let made = || Self {
            marks: core::array::from_fn(|_| inner::AtomicBool::new(false)),
            seen: Seen::new(0),
        };
        WATCHING.get().then(|| Box::new(made()))
    }

    /// Touches the mark of this thread, which is about to load.
    #[track_caller]
    fn look(&self) {
        let own = own_number();
        // Ordering: Relaxed; the touch must depend on those of other threads, not order anything.
        self.marks[own].fetch_or(true, Ordering::Relaxed);
        // Ordering: Relaxed; a model runs one thread at a time.
        self.seen.fetch_or(1 << own, Ordering::Relaxed);
    }

    /// Touches the marks of the other threads, because this thread is about to write.
    #[track_caller]
    fn write(&self) {
        // Ordering: Relaxed; as above.
        let others = self.seen.load(Ordering::Relaxed) & !(1 << own_number());
        for (thread, mark) in self.marks.iter().enumerate() {
            if others & 1 << thread != 0 {
                // Ordering: Relaxed; as in `look`.
                mark.fetch_or(true, Ordering::Relaxed);
            }
        }
    }
}

/// Returns the number that loom gave to the current thread, counted from 0. Only the `Debug` form
/// of the thread's id shows it.
fn own_number() -> usize {
    let shown = format!("{:?}", loom::thread::current().id());
    let digits: String = shown.chars().filter(char::is_ascii_digit).collect();
    let number = digits.parse().expect("loom shows a thread's number");
    assert!(number < THREADS, "thread {number} of a model");
    number
}

/// An atomic of loom's whose loads can be watched.
#[derive(Debug)]
#[expect(unnameable_types, reason = "its names are those of the atomics")]
pub struct Watched<A> {
    atomic: A,
    marks: Option<Box<Marks>>,
}

impl<A> Watched<A> {
    fn of(atomic: A) -> Self {
        Self {
            atomic,
            marks: Marks::wanted(),
        }
    }

    #[track_caller]
    fn looked(&self) -> &A {
        if let Some(marks) = &self.marks {
            marks.look();
        }
        &self.atomic
    }

    #[track_caller]
    fn written(&self) -> &A {
        if let Some(marks) = &self.marks {
            marks.write();
        }
        &self.atomic
    }
}

impl<A: Default> Default for Watched<A> {
    fn default() -> Self {
        Self::of(A::default())
    }
}

macro_rules! watched {
    ($(#[$attribute:meta])* $name:ident$(<$parameter:ident>)?: $value:ty; $($operation:ident),*) => {
        $(#[$attribute])*
        pub type $name$(<$parameter>)? = Watched<inner::$name$(<$parameter>)?>;

        impl$(<$parameter>)? $name$(<$parameter>)? {
            /// Behaves as in `std`.
            #[track_caller]
            pub fn new(value: $value) -> Self {
                Self::of(inner::$name::new(value))
            }

            /// Behaves as in `std`.
            #[track_caller]
            pub fn load(&self, ordering: Ordering) -> $value {
                self.looked().load(ordering)
            }

            /// Behaves as in `std`.
            #[track_caller]
            pub fn store(&self, value: $value, ordering: Ordering) {
                self.written().store(value, ordering);
            }

            /// Behaves as in `std`.
            #[track_caller]
            pub fn swap(&self, value: $value, ordering: Ordering) -> $value {
                self.written().swap(value, ordering)
            }

            /// Behaves as in `std`.
            ///
            /// # Errors
            /// Returns the value that was there, if it was not `from`.
            #[track_caller]
            pub fn compare_exchange(
                &self,
                from: $value,
                to: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                self.written().compare_exchange(from, to, success, failure)
            }

            /// Behaves as in `std`.
            ///
            /// # Errors
            /// Returns the value that was there, if it was not `from`.
            #[track_caller]
            pub fn compare_exchange_weak(
                &self,
                from: $value,
                to: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                self.written().compare_exchange_weak(from, to, success, failure)
            }

            /// Behaves as in `std`.
            ///
            /// # Errors
            /// Returns the value that was there, if `update` returned `None`.
            #[track_caller]
            pub fn fetch_update(
                &self,
                set: Ordering,
                fetch: Ordering,
                mut update: impl FnMut($value) -> Option<$value>,
            ) -> Result<$value, $value> {
                let mut before = self.load(fetch);
                while let Some(next) = update(before) {
                    match self.compare_exchange_weak(before, next, set, fetch) {
                        Ok(before) => return Ok(before),
                        Err(changed) => before = changed,
                    }
                }
                Err(before)
            }

            $(
                /// Behaves as in `std`.
                #[track_caller]
                pub fn $operation(&self, value: $value, ordering: Ordering) -> $value {
                    self.written().$operation(value, ordering)
                }
            )*
        }
    };
}

watched!(
    /// The atomic of the same name in `std`.
    AtomicBool: bool; fetch_and, fetch_or, fetch_xor
);
watched!(
    /// The atomic of the same name in `std`.
    AtomicU8: u8; fetch_add, fetch_sub, fetch_and, fetch_or, fetch_max, fetch_min
);
watched!(
    /// The atomic of the same name in `std`.
    AtomicU16: u16; fetch_add, fetch_sub, fetch_and, fetch_or, fetch_max, fetch_min
);
watched!(
    /// The atomic of the same name in `std`.
    AtomicU32: u32; fetch_add, fetch_sub, fetch_and, fetch_or, fetch_max, fetch_min
);
watched!(
    /// The atomic of the same name in `std`.
    AtomicU64: u64; fetch_add, fetch_sub, fetch_and, fetch_or, fetch_max, fetch_min
);
watched!(
    /// The atomic of the same name in `std`.
    AtomicUsize: usize; fetch_add, fetch_sub, fetch_and, fetch_or, fetch_max, fetch_min
);
watched!(
    /// The atomic of the same name in `std`.
    AtomicPtr<T>: *mut T;
);

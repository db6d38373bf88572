//! loom's atomics, and on demand a model that misses no look at them.
//!
//! loom finds the orders worth trying from pairs of accesses to one atomic that depend on each other. But it
//! remembers only the last access to each. A thread that looks at an atomic before it writes it, as every loop
//! around a compare-and-swap does, hides with its own look the looks that other threads had before: loom then never
//! tries the write between two of these. A consumer that decides by its first look and acts by its second is
//! found right, whatever it does.
//!
//! So inside [`model::check_every_look`](crate::model::check_every_look) each atomic has a mark for each thread. A
//! look touches the mark of its own thread, a write those of all other threads that have looked. A mark is touched
//! by a read-modify-write: that makes the pair depend on each other, lets no mark be stale, and, being relaxed,
//! orders nothing that the atomic itself does not. The price is a longer execution and more of them; so it is for
//! the models that need it, with two threads or three and few operations.

use std::cell::Cell;
use std::sync::atomic::AtomicU32 as Seen;

use loom::sync::atomic::{self as inner, Ordering};

/// More than loom allows in one model.
const THREADS: usize = 8;

std::thread_local! {
    /// Whether atomics that are made now are watched. A model runs all its threads on one thread of the system.
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

/// What other threads' looks are hidden behind; only in a model that asked for it.
#[derive(Debug)]
struct Marks {
    marks: [inner::AtomicBool; THREADS],
    /// A bit for each thread that has looked. Not loom's: it says nothing to the model.
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

    /// This thread is about to look.
    #[track_caller]
    fn look(&self) {
        let own = own_number();
        // Ordering: Relaxed; it is there to depend on the others' touches, not to order anything.
        self.marks[own].fetch_or(true, Ordering::Relaxed);
        // Ordering: Relaxed; a model runs one thread at a time.
        self.seen.fetch_or(1 << own, Ordering::Relaxed);
    }

    /// This thread is about to write.
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

/// The number that loom gave to the current thread, from 0: it shows it in no other way.
fn own_number() -> usize {
    let shown = format!("{:?}", loom::thread::current().id());
    let digits: String = shown.chars().filter(char::is_ascii_digit).collect();
    let number = digits.parse().expect("loom shows a thread's number");
    assert!(number < THREADS, "thread {number} of a model");
    number
}

/// An atomic of loom's whose looks can be watched.
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
            /// As in `std`.
            #[track_caller]
            pub fn new(value: $value) -> Self {
                Self::of(inner::$name::new(value))
            }

            /// As in `std`.
            #[track_caller]
            pub fn load(&self, ordering: Ordering) -> $value {
                self.looked().load(ordering)
            }

            /// As in `std`.
            #[track_caller]
            pub fn store(&self, value: $value, ordering: Ordering) {
                self.written().store(value, ordering);
            }

            /// As in `std`.
            #[track_caller]
            pub fn swap(&self, value: $value, ordering: Ordering) -> $value {
                self.written().swap(value, ordering)
            }

            /// As in `std`.
            ///
            /// # Errors
            /// The value that was there, if it was not `from`.
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

            /// As in `std`.
            ///
            /// # Errors
            /// The value that was there, if it was not `from`.
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

            /// As in `std`.
            ///
            /// # Errors
            /// The value that was there, if `update` gave none.
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
                /// As in `std`.
                #[track_caller]
                pub fn $operation(&self, value: $value, ordering: Ordering) -> $value {
                    self.written().$operation(value, ordering)
                }
            )*
        }
    };
}

watched!(
    /// As in `std`.
    AtomicBool: bool; fetch_and, fetch_or, fetch_xor
);
watched!(
    /// As in `std`.
    AtomicU8: u8; fetch_add, fetch_sub, fetch_and, fetch_or, fetch_max, fetch_min
);
watched!(
    /// As in `std`.
    AtomicU16: u16; fetch_add, fetch_sub, fetch_and, fetch_or, fetch_max, fetch_min
);
watched!(
    /// As in `std`.
    AtomicU32: u32; fetch_add, fetch_sub, fetch_and, fetch_or, fetch_max, fetch_min
);
watched!(
    /// As in `std`.
    AtomicU64: u64; fetch_add, fetch_sub, fetch_and, fetch_or, fetch_max, fetch_min
);
watched!(
    /// As in `std`.
    AtomicUsize: usize; fetch_add, fetch_sub, fetch_and, fetch_or, fetch_max, fetch_min
);
watched!(
    /// As in `std`.
    AtomicPtr<T>: *mut T;
);

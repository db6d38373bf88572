//! The parkers and events that a thread can sleep on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::Thread;

use event_listener::{Event, Listener as _};
use stealyard_park::{EventCount, Parker, SpinConfig, Unparker};

use super::{Sleep, Wake};

/// `stealyard_park::Parker` without a spin, so that it sleeps at once.
pub(crate) struct Ours(Parker);

impl Sleep for Ours {
    const NAME: &'static str = "stealyard Parker";
    type Wake = Unparker;

    fn new() -> (Self, Unparker) {
        let parker = Parker::new();
        let unparker = parker.unparker();
        (Self(parker), unparker)
    }

    #[inline]
    fn sleep(&self) {
        self.0.park();
    }
}

/// `stealyard_park::Parker` with a spin as long as the learned cost of a wake.
pub(crate) struct Spinning(Parker);

impl Sleep for Spinning {
    const NAME: &'static str = "stealyard Parker, spinning";
    type Wake = Unparker;

    fn new() -> (Self, Unparker) {
        let parker = Parker::with_spin(SpinConfig::default());
        let unparker = parker.unparker();
        (Self(parker), unparker)
    }

    #[inline]
    fn sleep(&self) {
        self.0.park();
    }
}

impl Wake for Unparker {
    #[inline]
    fn wake(&self) {
        self.unpark();
    }
}

/// `std::thread::park`. It does not return without a reason on Linux. A workload would notice such
/// a return, and fail.
pub(crate) struct Std;

impl Sleep for Std {
    const NAME: &'static str = "std::thread::park";
    type Wake = Thread;

    fn new() -> (Self, Thread) {
        (Self, std::thread::current())
    }

    #[inline]
    fn sleep(&self) {
        std::thread::park();
    }
}

impl Wake for Thread {
    #[inline]
    fn wake(&self) {
        self.unpark();
    }
}

/// The crate `parking`.
pub(crate) struct Parking(parking::Parker);

impl Sleep for Parking {
    const NAME: &'static str = "parking";
    type Wake = parking::Unparker;

    fn new() -> (Self, parking::Unparker) {
        let parker = parking::Parker::new();
        let unparker = parker.unparker();
        (Self(parker), unparker)
    }

    #[inline]
    fn sleep(&self) {
        self.0.park();
    }
}

impl Wake for parking::Unparker {
    #[inline]
    fn wake(&self) {
        self.unpark();
    }
}

/// A flag, and an event that tells when to check it again.
pub(crate) struct Flagged<E> {
    called: AtomicBool,
    event: E,
}

impl<E> Flagged<E> {
    fn take(&self) -> bool {
        self.called.load(Ordering::Acquire) && {
            self.called.store(false, Ordering::Relaxed);
            true
        }
    }
}

/// `stealyard_park::EventCount` beside a flag.
pub(crate) struct OurEvent(Arc<Flagged<EventCount>>);

/// The end that sets the flag.
pub(crate) struct OurEventWake(Arc<Flagged<EventCount>>);

impl Sleep for OurEvent {
    const NAME: &'static str = "stealyard EventCount";
    type Wake = OurEventWake;

    fn new() -> (Self, OurEventWake) {
        let flagged = Arc::new(Flagged {
            called: AtomicBool::new(false),
            event: EventCount::new(),
        });
        (Self(Arc::clone(&flagged)), OurEventWake(flagged))
    }

    #[inline]
    fn sleep(&self) {
        while !self.0.take() {
            let waiting = self.0.event.prepare();
            if self.0.called.load(Ordering::Acquire) {
                waiting.cancel();
            } else {
                waiting.wait();
            }
        }
    }
}

impl Wake for OurEventWake {
    #[inline]
    fn wake(&self) {
        self.0.called.store(true, Ordering::Release);
        self.0.event.notify_one();
    }
}

/// `event_listener::Event` beside a flag.
pub(crate) struct Listening(Arc<Flagged<Event>>);

/// The end that sets the flag.
pub(crate) struct ListeningWake(Arc<Flagged<Event>>);

impl Sleep for Listening {
    const NAME: &'static str = "event-listener";
    type Wake = ListeningWake;

    fn new() -> (Self, ListeningWake) {
        let flagged = Arc::new(Flagged {
            called: AtomicBool::new(false),
            event: Event::new(),
        });
        (Self(Arc::clone(&flagged)), ListeningWake(flagged))
    }

    #[inline]
    fn sleep(&self) {
        while !self.0.take() {
            let listener = self.0.event.listen();
            if !self.0.called.load(Ordering::Acquire) {
                listener.wait();
            }
        }
    }
}

impl Wake for ListeningWake {
    #[inline]
    fn wake(&self) {
        self.0.called.store(true, Ordering::Release);
        self.0.event.notify(1);
    }
}

/// A word and the futex system call, made each time.
pub(crate) struct RawFutex(Arc<AtomicU32>);

/// The end that writes the word.
pub(crate) struct RawFutexWake(Arc<AtomicU32>);

impl Sleep for RawFutex {
    const NAME: &'static str = "raw futex (floor)";
    type Wake = RawFutexWake;

    fn new() -> (Self, RawFutexWake) {
        let word = Arc::new(AtomicU32::new(0));
        (Self(Arc::clone(&word)), RawFutexWake(word))
    }

    #[inline]
    fn sleep(&self) {
        while self.0.load(Ordering::Acquire) == 0 {
            futex(&self.0, libc::FUTEX_WAIT, 0);
        }
        self.0.store(0, Ordering::Relaxed);
    }
}

impl Wake for RawFutexWake {
    #[inline]
    fn wake(&self) {
        self.0.store(1, Ordering::Release);
        futex(&self.0, libc::FUTEX_WAKE, 1);
    }
}

fn futex(word: &AtomicU32, operation: libc::c_int, value: u32) {
    // SAFETY: 1. the word lives through the call; 2. without a timeout the kernel reads no other
    // memory.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            operation | libc::FUTEX_PRIVATE_FLAG,
            value,
            std::ptr::null::<libc::timespec>(),
        );
    }
}

/// A word that is read all the time: the cost of moving a cache line.
pub(crate) struct Staring(Arc<AtomicU32>);

/// The end that writes the word.
pub(crate) struct StaringWake(Arc<AtomicU32>);

impl Sleep for Staring {
    const NAME: &'static str = "a cache line (floor)";
    type Wake = StaringWake;

    fn new() -> (Self, StaringWake) {
        let word = Arc::new(AtomicU32::new(0));
        (Self(Arc::clone(&word)), StaringWake(word))
    }

    #[inline]
    fn sleep(&self) {
        while self.0.load(Ordering::Acquire) == 0 {
            std::hint::spin_loop();
        }
        self.0.store(0, Ordering::Relaxed);
    }
}

impl Wake for StaringWake {
    #[inline]
    fn wake(&self) {
        self.0.store(1, Ordering::Release);
    }
}

//! Items that know their identity, the ledger that is kept of them, and what the programs of the
//! audit share.

use std::any::Any;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use stealyard_deque::Word;

/// A record of which items were made, and how often each has ended: popped or stolen and then
/// dropped, or dropped by its queue.
pub(crate) struct Ledger {
    /// How often each item has ended.
    gone: Box<[AtomicU8]>,
    made: AtomicU32,
    /// How many items ended whose numbers were never made.
    strange: AtomicU64,
}

impl Ledger {
    /// Creates a ledger with room for `most` items.
    pub(crate) fn new(most: u32) -> Arc<Self> {
        Arc::new(Self {
            gone: (0..most).map(|_| AtomicU8::new(0)).collect(),
            made: AtomicU32::new(0),
            strange: AtomicU64::new(0),
        })
    }

    /// Returns the next item's number.
    pub(crate) fn next(&self) -> u32 {
        let number = self.made.fetch_add(1, Relaxed);
        assert!((number as usize) < self.gone.len(), "the ledger is full");
        number
    }

    /// Whether there is room for `more` items.
    pub(crate) fn has_room(&self, more: u32) -> bool {
        (self.made.load(Relaxed) + more) as usize <= self.gone.len()
    }

    fn note_gone(&self, number: u32) {
        match self.gone.get(number as usize) {
            Some(times) if number < self.made.load(Relaxed) => {
                times.fetch_add(1, Relaxed);
            }
            _ => {
                self.strange.fetch_add(1, Relaxed);
            }
        }
    }

    /// Returns how often this item has ended.
    pub(crate) fn times_gone(&self, number: u32) -> u8 {
        self.gone[number as usize].load(Relaxed)
    }

    /// Checks that every item that was made has ended once, and no other; the caller has joined all
    /// threads.
    pub(crate) fn close(&self, program: &str) {
        let made = self.made.load(Relaxed);
        let of = |times: fn(u8) -> bool| -> Vec<u32> {
            let all = (0..made).filter(|&number| times(self.times_gone(number)));
            all.take(10).collect()
        };
        let (lost, doubled) = (of(|times| times == 0), of(|times| times > 1));
        let strange = self.strange.load(Relaxed);
        assert!(
            lost.is_empty() && doubled.is_empty() && strange == 0,
            "{program}: of {made} items lost {lost:?}, handed out more than once {doubled:?} (the first ten of \
             each); {strange} came out that never went in"
        );
    }
}

/// An item that can go through a queue and be found in the ledger.
pub(crate) trait AuditItem: Word + 'static {
    /// The name of this kind in messages.
    const KIND: &'static str;

    /// Makes the next item of the ledger.
    fn make(ledger: &Arc<Ledger>) -> Self;

    /// Returns the item's number in the ledger.
    fn number(&self) -> u32;

    /// Ends the item, and records that in the ledger.
    fn settle(self, ledger: &Ledger);
}

/// A plain number: if it comes out twice, nothing else goes wrong, and the ledger can tell.
impl AuditItem for u32 {
    const KIND: &'static str = "plain";

    fn make(ledger: &Arc<Ledger>) -> Self {
        ledger.next()
    }

    fn number(&self) -> u32 {
        *self
    }

    fn settle(self, ledger: &Ledger) {
        ledger.note_gone(self);
    }
}

/// What an item's destructor does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    Nothing,
    /// Panics, unless its thread does already.
    Panics,
    /// Runs the reaction that [`with_reaction`] has set for its thread.
    Reacts,
}

/// An item that records in the ledger when it is dropped, and then does what it was made for.
pub(crate) struct Item {
    number: u32,
    /// The number's complement, by which an item whose memory was used again is noticed.
    check: u32,
    ledger: Arc<Ledger>,
    then: Then,
}

impl Item {
    pub(crate) fn new(ledger: &Arc<Ledger>, then: Then) -> Box<Self> {
        let number = ledger.next();
        Box::new(Self {
            number,
            check: !number,
            ledger: Arc::clone(ledger),
            then,
        })
    }
}

impl Drop for Item {
    fn drop(&mut self) {
        assert_eq!(self.check, !self.number, "this is no item any more");
        self.ledger.note_gone(self.number);
        match self.then {
            Then::Nothing => {}
            Then::Panics if std::thread::panicking() => {}
            Then::Panics => throw(),
            Then::Reacts => react(self.number),
        }
    }
}

impl AuditItem for Box<Item> {
    const KIND: &'static str = "boxed";

    fn make(ledger: &Arc<Ledger>) -> Self {
        Item::new(ledger, Then::Nothing)
    }

    fn number(&self) -> u32 {
        assert_eq!(self.check, !self.number, "this is no item any more");
        self.number
    }

    fn settle(self, _: &Ledger) {}
}

/// The payload of a panic that a program of the audit raises itself.
pub(crate) struct Thrown;

/// Panics with [`Thrown`], without a message.
pub(crate) fn throw() -> ! {
    resume_unwind(Box::new(Thrown))
}

/// Runs `program`. Returns whether it ended with a panic of [`Thrown`]; any other panic goes on.
pub(crate) fn throws(program: impl FnOnce()) -> bool {
    match catch_unwind(AssertUnwindSafe(program)) {
        Ok(()) => false,
        Err(payload) if payload.is::<Thrown>() => true,
        Err(payload) => resume_unwind(payload),
    }
}

/// Returns the message of a panic.
pub(crate) fn panic_message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().cloned();
    let fixed = payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned());
    text.or(fixed).unwrap_or_else(|| "no text".to_owned())
}

type Reaction = Rc<dyn Fn(u32)>;

thread_local! {
    static REACTION: RefCell<Option<Reaction>> = const { RefCell::new(None) };
}

/// Calls the reaction that [`with_reaction`] has set for this thread.
pub(crate) fn react(number: u32) {
    let reaction = REACTION.try_with(|reaction| reaction.borrow().clone());
    if let Ok(Some(reaction)) = reaction {
        reaction(number);
    }
}

/// Runs `program`. Meanwhile, destructors of items that react call `reaction` with their number.
pub(crate) fn with_reaction(reaction: impl Fn(u32) + 'static, program: impl FnOnce()) {
    struct Unset;
    impl Drop for Unset {
        fn drop(&mut self) {
            let before = REACTION.with(RefCell::take);
            drop(before);
        }
    }
    let before = REACTION.with(|slot| slot.replace(Some(Rc::new(reaction))));
    assert!(before.is_none(), "one reaction at a time");
    let _unset = Unset;
    program();
}

/// Sets its flag when it is dropped, also by a panic. Threads that wait for the flag would
/// otherwise wait for ever.
pub(crate) struct StopOnDrop<'signal>(pub(crate) &'signal AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// Ends the process with a message if it is not dropped in time, so that a hang is reported.
pub(crate) struct Watchdog {
    _alive: mpsc::Sender<()>,
}

impl Watchdog {
    pub(crate) fn new(program: &str) -> Self {
        let (alive, ended) = mpsc::channel::<()>();
        let program = program.to_owned();
        let limit = Duration::from_secs(scaled(600));
        std::thread::spawn(move || {
            if ended.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout) {
                eprintln!("{program} had not ended after {limit:?}");
                std::process::abort();
            }
        });
        Self { _alive: alive }
    }
}

/// Returns `count` times `STEALYARD_SOAK`.
pub(crate) fn scaled(count: u64) -> u64 {
    count * from_environment("STEALYARD_SOAK").unwrap_or(1)
}

/// Returns the number that random programs are made from.
pub(crate) fn seed() -> u64 {
    from_environment("STEALYARD_SEED").unwrap_or(0)
}

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Returns how to run a random test again.
pub(crate) fn again(test: &str) -> String {
    format!(
        "again with: STEALYARD_SEED={} cargo test -p stealyard-deque --test audit {test} -- --include-ignored",
        seed()
    )
}

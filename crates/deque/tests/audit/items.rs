//! Items that know who they are, the book that is kept of them, and what the programs of the audit share.

use std::any::Any;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use stealyard_deque::Word;

/// Which items were made, and how often each has gone: popped, stolen and dropped, or dropped by its queue.
pub(crate) struct Book {
    /// How often each went.
    gone: Box<[AtomicU8]>,
    made: AtomicU32,
    /// Numbers that nobody made.
    strange: AtomicU64,
}

impl Book {
    /// A book with room for `most` items.
    pub(crate) fn new(most: u32) -> Arc<Self> {
        Arc::new(Self {
            gone: (0..most).map(|_| AtomicU8::new(0)).collect(),
            made: AtomicU32::new(0),
            strange: AtomicU64::new(0),
        })
    }

    /// The next item's number.
    pub(crate) fn next(&self) -> u32 {
        let number = self.made.fetch_add(1, Relaxed);
        assert!((number as usize) < self.gone.len(), "the book is full");
        number
    }

    /// Whether there is room for so many more.
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

    /// How often this item went.
    pub(crate) fn times_gone(&self, number: u32) -> u8 {
        self.gone[number as usize].load(Relaxed)
    }

    /// Whether every item that was made has gone once, and no other; the caller has joined all threads.
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

/// What can go through a queue and be found in the book.
pub(crate) trait Thing: Word + 'static {
    /// What messages call this kind.
    const KIND: &'static str;

    /// The next item of the book.
    fn make(book: &Arc<Book>) -> Self;

    /// Its number in the book.
    fn number(&self) -> u32;

    /// Ends it, which the book is told.
    fn settle(self, book: &Book);
}

/// A plain number: if it comes out twice, nothing else goes wrong, and the book can tell.
impl Thing for u32 {
    const KIND: &'static str = "plain";

    fn make(book: &Arc<Book>) -> Self {
        book.next()
    }

    fn number(&self) -> u32 {
        *self
    }

    fn settle(self, book: &Book) {
        book.note_gone(self);
    }
}

/// What an item's destructor does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    Nothing,
    /// Panics, unless its thread does already.
    Panics,
    /// Runs what [`reacting`] has set for its thread.
    Reacts,
}

/// Tells the book when it is dropped, and then does what it was made for.
pub(crate) struct Item {
    number: u32,
    /// The number's complement: an item whose memory was used again is noticed.
    check: u32,
    book: Arc<Book>,
    then: Then,
}

impl Item {
    pub(crate) fn new(book: &Arc<Book>, then: Then) -> Box<Self> {
        let number = book.next();
        Box::new(Self {
            number,
            check: !number,
            book: Arc::clone(book),
            then,
        })
    }
}

impl Drop for Item {
    fn drop(&mut self) {
        assert_eq!(self.check, !self.number, "this is no item any more");
        self.book.note_gone(self.number);
        match self.then {
            Then::Nothing => {}
            Then::Panics if std::thread::panicking() => {}
            Then::Panics => throw(),
            Then::Reacts => react(self.number),
        }
    }
}

impl Thing for Box<Item> {
    const KIND: &'static str = "boxed";

    fn make(book: &Arc<Book>) -> Self {
        Item::new(book, Then::Nothing)
    }

    fn number(&self) -> u32 {
        assert_eq!(self.check, !self.number, "this is no item any more");
        self.number
    }

    fn settle(self, _: &Book) {}
}

/// What a panic of the programs' own carries.
pub(crate) struct Thrown;

/// Panics with [`Thrown`], and says nothing of it.
pub(crate) fn throw() -> ! {
    resume_unwind(Box::new(Thrown))
}

/// Runs `program`; whether it ended with a panic of [`Thrown`]. Any other panic goes on.
pub(crate) fn throws(program: impl FnOnce()) -> bool {
    match catch_unwind(AssertUnwindSafe(program)) {
        Ok(()) => false,
        Err(payload) if payload.is::<Thrown>() => true,
        Err(payload) => resume_unwind(payload),
    }
}

/// What a panic said.
pub(crate) fn said(payload: &(dyn Any + Send)) -> String {
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

/// Calls what [`reacting`] has set for this thread.
pub(crate) fn react(number: u32) {
    let reaction = REACTION.try_with(|reaction| reaction.borrow().clone());
    if let Ok(Some(reaction)) = reaction {
        reaction(number);
    }
}

/// While `program` runs, destructors of items that react call `reaction` with their number.
pub(crate) fn reacting(reaction: impl Fn(u32) + 'static, program: impl FnOnce()) {
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

/// Is set when this goes, also by a panic: what waits for it would wait for ever.
pub(crate) struct Stop<'signal>(pub(crate) &'signal AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// Ends the process, with a message, if it is not dropped in time: a hang must not look like patience.
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

/// `count`, times `STEALYARD_SOAK`.
pub(crate) fn scaled(count: u64) -> u64 {
    count * from_environment("STEALYARD_SOAK").unwrap_or(1)
}

/// The number that random programs are made from.
pub(crate) fn seed() -> u64 {
    from_environment("STEALYARD_SEED").unwrap_or(0)
}

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// How to run a random test again.
pub(crate) fn again(test: &str) -> String {
    format!(
        "again with: STEALYARD_SEED={} cargo test -p stealyard-deque --test audit {test} -- --include-ignored",
        seed()
    )
}

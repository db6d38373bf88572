//! The items that the suite pushes, and the ledger that is kept of them.

use core::fmt;
use core::ptr::NonNull;

use stealyard_sync::Arc;
use stealyard_sync::atomic::{AtomicU8, AtomicU64, Ordering};

use super::Violation;
use crate::word::Word;

const NEW: u8 = 0;
const GONE: u8 = 1;

/// An item with a number. Its [`Ledger`] learns when it is dropped, so that a lost, doubled or
/// leaked item is found.
pub struct Token(Box<Body>);

struct Body {
    number: u64,
    /// The number's complement. It is not atomic on purpose: a queue that hands an item over
    /// without ordering races here, which a sanitizer sees; and `number` sees a torn or stale
    /// value.
    check: u64,
    ledger: Arc<Ledger>,
}

impl Token {
    /// Creates the item with this number.
    ///
    /// # Panics
    /// If `number` is not below the ledger's count.
    #[must_use]
    pub fn new(number: u64, ledger: &Arc<Ledger>) -> Self {
        assert!(
            number < ledger.states.len() as u64,
            "token {number} of {}",
            ledger.states.len()
        );
        Self(Box::new(Body {
            number,
            check: !number,
            ledger: Arc::clone(ledger),
        }))
    }

    /// Returns the item's number.
    ///
    /// # Panics
    /// If the token's content is not what was written when it was made (`worker.rs`, P7).
    #[must_use]
    pub fn number(&self) -> u64 {
        assert_eq!(
            self.0.check, !self.0.number,
            "P7 is not kept: a token's content is not what its maker wrote"
        );
        self.0.number
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        let number = self.0.number as usize;
        // Ordering: Relaxed; the ledger is read after the threads were joined.
        let before = self.0.ledger.states[number].fetch_add(GONE, Ordering::Relaxed);
        if before != NEW {
            // Ordering: Relaxed; as above.
            self.0.ledger.doubled.fetch_add(1, Ordering::Relaxed);
        }
    }
}

// SAFETY:
// 1. The box is the whole value.
// 2. `into_word` of the box does not drop, and the token's own destructor is not run.
// 3. As for `Box`.
unsafe impl Word for Token {
    fn into_word(self) -> NonNull<()> {
        let token = core::mem::ManuallyDrop::new(self);
        // SAFETY: 1. the token is never used again, so the box is moved out once.
        let body = unsafe { core::ptr::read(&raw const token.0) };
        body.into_word()
    }

    unsafe fn from_word(word: NonNull<()>) -> Self {
        // SAFETY: 1. the word came from the box in `into_word`; 2. it is turned back once.
        Self(unsafe { Box::from_word(word) })
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({})", self.0.number)
    }
}

/// The ledger of a number of tokens: which of them have been dropped, and whether any was dropped
/// twice.
#[derive(Debug)]
pub struct Ledger {
    states: Box<[AtomicU8]>,
    doubled: AtomicU64,
}

impl Ledger {
    /// Creates a ledger for the tokens `0..count`.
    #[must_use]
    pub fn new(count: u64) -> Arc<Self> {
        Arc::new(Self {
            states: (0..count).map(|_| AtomicU8::new(NEW)).collect(),
            doubled: AtomicU64::new(0),
        })
    }

    /// Checks that each of the tokens `0..made` was dropped exactly once, and no other token was:
    /// `worker.rs`, P1 (no loss, no copy), at the end.
    ///
    /// # Errors
    /// Names the tokens that were lost or doubled.
    pub fn settle(&self, made: u64) -> Result<(), Violation> {
        // Ordering: Relaxed on all; the caller has joined the threads that dropped tokens.
        let doubled = self.doubled.load(Ordering::Relaxed);
        if doubled > 0 {
            return Err(Violation::new(
                "P1",
                format!("{doubled} items were handed out more than once"),
            ));
        }
        let lost: Vec<usize> = (0..made as usize)
            // Ordering: Relaxed; as above.
            .filter(|&number| self.states[number].load(Ordering::Relaxed) == NEW)
            .collect();
        if lost.is_empty() {
            return Ok(());
        }
        let some = &lost[..lost.len().min(10)];
        Err(Violation::new(
            "P1",
            format!(
                "{} of {made} items were lost, among them {some:?}",
                lost.len()
            ),
        ))
    }
}

#[cfg(all(test, not(stealyard_loom)))]
mod tests {
    //! Goal: the ledger finds what is lost and what is doubled. Method: losing and doubling tokens.

    use super::*;

    #[test]
    fn the_ledger_finds_a_leak_and_a_second_drop() {
        let ledger = Ledger::new(2);
        core::mem::forget(Token::new(0, &ledger));
        drop(Token::new(1, &ledger));
        assert!(ledger.settle(2).unwrap_err().what.contains("[0]"));

        drop(Token::new(1, &ledger)); // the same number again stands for the same item twice
        assert!(
            ledger
                .settle(2)
                .unwrap_err()
                .what
                .contains("more than once")
        );
    }
}

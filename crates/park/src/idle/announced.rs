//! What an announcement leaves in the announcer's hands.

/// Proof that items were announced: a light fence was passed after they were put where workers
/// look.
///
/// A protocol of the caller's own may rely on that fence: it puts something down, announces it, and
/// then looks at a word that another thread writes before a heavy fence. Let its second half take
/// this token by value, and it cannot be called without the first. Elsewhere let the token go:
/// `let _ = idle.announce(1);`.
#[derive(Debug)]
#[must_use = "what relies on the fence of an announcement takes the token; nothing does: `let _ =`"]
pub struct Announced {
    woken: usize,
}

impl Announced {
    /// Makes the proof. To be called behind the fence.
    #[inline(always)]
    pub(super) fn new(woken: usize) -> Self {
        Self { woken }
    }

    /// Returns how many sleepers the announcement woke.
    #[inline(always)]
    pub fn woken(&self) -> usize {
        self.woken
    }
}

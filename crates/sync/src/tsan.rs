//! Fences that ThreadSanitizer can follow.
//!
//! ThreadSanitizer tracks happens-before through atomic accesses only and knows nothing of fences,
//! so a hand-over by fences looks like a race to it. Under `--cfg stealyard_tsan` a fence is a
//! read-modify-write of one shared word instead. Each one synchronises with every earlier one,
//! which is at least as strong as the order that a fence gives to the accesses around it.

use core::sync::atomic::{AtomicUsize, Ordering};

static WORD: AtomicUsize = AtomicUsize::new(0);

/// Stands in for `core::sync::atomic::fence`.
pub fn fence(ordering: Ordering) {
    // Ordering: AcqRel or SeqCst whatever was asked for (never weaker), so that all fences are
    // totally ordered by the modification order of WORD; its partner is every other call.
    let at_least = match ordering {
        Ordering::SeqCst => Ordering::SeqCst,
        _ => Ordering::AcqRel,
    };
    WORD.fetch_add(0, at_least);
}

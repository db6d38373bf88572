//! A store–load barrier that costs its frequent side nothing.
//!
//! In a Dekker handshake both sides write their own flag, then read the other's, and each needs a
//! full fence in between, or both may miss the other. Where one side runs millions of times a second
//! and the other hardly ever, Linux lets the rare side pay for both: `membarrier` makes every core
//! that runs a thread of this process execute a full fence. The frequent side then needs only to
//! keep the *compiler* from reordering.
//!
//! # Operations
//! | operation | caller | progress  | cost, membarrier                     | cost, fences |
//! |-----------|--------|-----------|--------------------------------------|--------------|
//! | [`light`] | anyone | wait-free | a load and a branch                  | a full fence |
//! | [`heavy`] | anyone | wait-free | a system call; an interrupt for each core that runs this process | a full fence |
//! | [`mode`]  | anyone | wait-free | first call: two system calls; then a load | the same |
//!
//! # Invariants
//! - **A1** For any `light` and any `heavy`, one is before the other in a single total order, and
//!   what precedes the earlier one in its thread is visible to what follows the later one in its
//!   thread. (Two `light` calls give no order between each other.)
//! - **A2** The mode is decided once in a process and never changes. Until then `light` is a full
//!   fence, which is never weaker, so no call made before the decision is lost.
//!
//! Why A1 holds: with fences both sides are `fence(SeqCst)`, which are totally ordered. With
//! membarrier, the kernel runs a full barrier on every core between the call's start and its return
//! (a core that switched threads meanwhile has executed one too); a `light` is a point between two
//! instructions, and is before or after that barrier. Rust's memory model has no such operation:
//! this rests on the compiler fence keeping program order in the instructions and on the processor
//! executing the barrier; under loom and ThreadSanitizer both sides are plain full fences.
//!
//! # Choosing by hand
//! `STEALYARD_MEMBARRIER=off` in the environment selects fences, `=on` insists on membarrier and
//! panics where it is not to be had, `=auto` (or unset) takes it where the kernel allows it.
//!
//! # References
//! P1202R5, *Asymmetric fences*; `membarrier(2)`.

use core::sync::atomic::{AtomicU8, Ordering, compiler_fence};

use crate::imp::atomic::fence;

#[cfg(all(
    target_os = "linux",
    not(any(stealyard_loom, stealyard_shuttle, stealyard_tsan))
))]
#[path = "asymmetric/linux.rs"]
mod system;
#[cfg(not(all(
    target_os = "linux",
    not(any(stealyard_loom, stealyard_shuttle, stealyard_tsan))
)))]
#[path = "asymmetric/fallback.rs"]
mod system;

/// How the two sides order themselves against each other in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `light` is free, `heavy` is the `membarrier` system call.
    Membarrier,
    /// Both are full fences: membarrier is missing, forbidden, switched off, or modelled away.
    Fence,
}

const UNDECIDED: u8 = 0;
const MEMBARRIER: u8 = 1;
const FENCE: u8 = 2;

/// A plain atomic even under a model: it is written once, before anything it guards (A2).
static MODE: AtomicU8 = AtomicU8::new(UNDECIDED);

/// The frequent side: orders this thread's earlier stores before its later loads, as seen by any
/// thread that calls [`heavy`] (A1).
#[inline(always)]
pub fn light() {
    // Ordering: Relaxed; the mode is its own message, and not seeing it yet gives a full fence (A2).
    if MODE.load(Ordering::Relaxed) == MEMBARRIER {
        // Ordering: SeqCst on the compiler only (A1); its partner is `heavy`'s membarrier.
        compiler_fence(Ordering::SeqCst);
    } else {
        // Ordering: SeqCst (A1); its partner is `heavy`, a fence or a membarrier.
        fence(Ordering::SeqCst);
    }
}

/// The rare side: orders this thread's earlier stores before its later loads, as seen by any thread
/// that calls [`light`] (A1).
///
/// # Panics
/// If the kernel allowed membarrier when the mode was decided and refuses it now (a sandbox was
/// entered in between): going on would lose the ordering that `light` calls rely on. Set
/// `STEALYARD_MEMBARRIER=off` for such a program.
pub fn heavy() {
    match mode() {
        Mode::Membarrier => {
            if let Err(code) = system::barrier() {
                panic!(
                    "membarrier was allowed at start and fails now (os error {code}): if the \
                     program enters a sandbox, run it with STEALYARD_MEMBARRIER=off"
                );
            }
        }
        // Ordering: SeqCst (A1); its partner is `light`.
        Mode::Fence => fence(Ordering::SeqCst),
    }
}

/// The mode of this process; the first call decides it (A2).
///
/// # Panics
/// If `STEALYARD_MEMBARRIER` is neither `auto`, `on` nor `off`, or is `on` where the kernel does not
/// allow it.
pub fn mode() -> Mode {
    // Ordering: Relaxed; the byte is the whole message: registering with the kernel, which comes
    // before it in the deciding thread, holds for the whole process.
    match MODE.load(Ordering::Relaxed) {
        MEMBARRIER => Mode::Membarrier,
        FENCE => Mode::Fence,
        _ => decide(),
    }
}

#[cold]
fn decide() -> Mode {
    let wish = std::env::var("STEALYARD_MEMBARRIER").ok();
    let found = match choose(wish.as_deref(), system::register) {
        Ok(Mode::Membarrier) => MEMBARRIER,
        Ok(Mode::Fence) => FENCE,
        Err(message) => panic!("{message}"),
    };
    // Ordering: Relaxed; the first to decide wins, and the loser takes the winner's word (A2).
    let decided =
        match MODE.compare_exchange(UNDECIDED, found, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => found,
            Err(winner) => winner,
        };
    if decided == MEMBARRIER {
        Mode::Membarrier
    } else {
        Mode::Fence
    }
}

/// The decision itself, apart from where its inputs come from.
fn choose(wish: Option<&str>, register: fn() -> Result<(), i32>) -> Result<Mode, String> {
    match wish {
        Some("off") => Ok(Mode::Fence),
        Some("on") => register().map(|()| Mode::Membarrier).map_err(|code| {
            format!(
                "STEALYARD_MEMBARRIER=on, but the kernel refuses it (os error {code}): use auto"
            )
        }),
        None | Some("auto" | "") => Ok(register().map_or(Mode::Fence, |()| Mode::Membarrier)),
        Some(other) => Err(format!(
            "STEALYARD_MEMBARRIER={other:?} is not understood: use auto, on or off"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOWED: fn() -> Result<(), i32> = || Ok(());
    const REFUSED: fn() -> Result<(), i32> = || Err(38);

    #[test]
    fn the_choice_follows_the_wish_and_the_kernel() {
        assert_eq!(choose(None, ALLOWED), Ok(Mode::Membarrier));
        assert_eq!(choose(None, REFUSED), Ok(Mode::Fence));
        assert_eq!(choose(Some("auto"), REFUSED), Ok(Mode::Fence));
        assert_eq!(choose(Some("off"), ALLOWED), Ok(Mode::Fence));
        assert_eq!(choose(Some("on"), ALLOWED), Ok(Mode::Membarrier));
        assert!(
            choose(Some("on"), REFUSED)
                .unwrap_err()
                .contains("os error 38")
        );
        assert!(
            choose(Some("maybe"), ALLOWED)
                .unwrap_err()
                .contains("\"maybe\"")
        );
    }

    #[test]
    fn the_mode_never_changes() {
        light();
        let first = mode();
        heavy();
        light();
        assert_eq!(mode(), first);
    }
}

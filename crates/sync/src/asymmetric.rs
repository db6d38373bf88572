//! A store–load barrier that costs its frequent side nothing.
//!
//! In a Dekker handshake both sides write their own flag and then read the other's. Each needs a
//! full fence in between, or both may miss the other. Where one side runs millions of times a
//! second and the other hardly ever, Linux lets the rare side pay for both: `membarrier` makes
//! every core that runs a thread of this process execute a full fence. The frequent side then only
//! needs to keep the *compiler* from reordering.
//!
//! # Operations
//! Any thread may call them, and all are wait-free.
//!
//! | operation            | cost with membarrier  | cost with fences |
//! |----------------------|-----------------------|------------------|
//! | [`light`]            | a load and a branch   | a full fence     |
//! | [`heavy`]            | a system call         | a full fence     |
//! | [`mode`], first call | two system calls      | the same         |
//! | [`mode`], later      | a load                | the same         |
//!
//! The system call of `heavy` interrupts each core that runs a thread of this process.
//!
//! # Invariants
//! - **A1** *Light and heavy fences have one order.* For any `light` and any `heavy`, one is before
//!   the other in a single total order. What precedes the earlier one in its thread is visible to
//!   what follows the later one in its thread. (Two `light` calls have no order between each
//!   other.)
//! - **A2** *The mode never changes.* It is chosen once in a process. Until then `light` is a full
//!   fence, which is never weaker, so no call before the choice is lost.
//!
//! # Why A1 holds
//! - With fences both sides are `fence(SeqCst)`, which are totally ordered.
//! - With membarrier the kernel runs a full barrier on every core between the call's start and its
//!   return. A core that switched threads meanwhile has executed one too. A `light` is a point
//!   between two instructions, so it is before or after that barrier.
//!
//! Rust's memory model has no such operation. The argument rests on the compiler fence, which keeps
//! the program order in the instructions, and on the processor, which executes the barrier. Under
//! loom and ThreadSanitizer both sides are plain full fences.
//!
//! # Choosing by hand
//! The environment variable `STEALYARD_MEMBARRIER` chooses:
//! - `off` selects fences;
//! - `on` insists on membarrier, and panics where the kernel refuses it;
//! - `auto` (or unset) takes membarrier where the kernel allows it.
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

/// A plain atomic even in a model: it is written once, before anything that it guards (A2).
static MODE: AtomicU8 = AtomicU8::new(UNDECIDED);

/// Orders this thread's earlier stores before its later loads, as seen by any thread that calls
/// [`heavy`] (A1). This is the fence of the frequent side.
#[inline(always)]
pub fn light() {
    // Ordering: Relaxed; the mode publishes nothing else, and a thread that does not see it yet
    // passes a full fence (A2).
    if MODE.load(Ordering::Relaxed) == MEMBARRIER {
        // Ordering: SeqCst for the compiler only (A1); its partner is the membarrier of `heavy`.
        compiler_fence(Ordering::SeqCst);
    } else {
        // Ordering: SeqCst (A1); its partner is `heavy`, a fence or a membarrier.
        fence(Ordering::SeqCst);
    }
}

/// Orders this thread's earlier stores before its later loads, as seen by any thread that calls
/// [`light`] (A1). This is the fence of the rare side.
///
/// # Panics
/// Panics if the kernel allowed membarrier when the mode was chosen and refuses it now, because the
/// program entered a sandbox in between. Going on would lose the ordering that `light` calls rely
/// on. Set `STEALYARD_MEMBARRIER=off` for such a program.
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

/// Returns the mode of this process. The first call chooses it (A2).
///
/// # Panics
/// Panics if `STEALYARD_MEMBARRIER` is neither `auto`, `on` nor `off`, or is `on` where the kernel
/// does not allow it.
pub fn mode() -> Mode {
    // Ordering: Relaxed; the byte publishes nothing else. The registration with the kernel, which
    // comes before it in the choosing thread, holds for the whole process.
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
    // Ordering: Relaxed; the first thread to choose wins, and a later one takes its choice (A2).
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

/// Chooses the mode by the wish of the environment and the answer of the kernel.
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
    fn the_mode_follows_the_environment_and_the_kernel() {
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

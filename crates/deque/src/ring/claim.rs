//! The word that describes the owner's claim.
//!
//! ```text
//!  63                                                       9   8    7              0
//! +----------------------------------------------------------+---+------------------+
//! | end of the claim: the low 55 bits of a position | C | taken |
//! +----------------------------------------------------------+---+------------------+
//! ```
//! `C` says that a thief contests the claim. From then on, an item of the claim belongs to the
//! thread that sets its bit in `taken`, by R5 of `ring.rs` (one owner for a claimed item).
//!
//! Bit `i` of `taken` stands for the position `end - 1 - i`, so that the bits do not move while the
//! owner's cursor does. The owner takes from the top bits down, thieves from bit 0 up.

use core::fmt;

/// The most items that the owner claims at once. It returns one of them at once, so one bit of the
/// word is to spare.
pub(super) const MAX_CLAIM: u64 = 8;

const CONTESTED: u64 = 1 << MAX_CLAIM;
const TAKEN: u64 = CONTESTED - 1;
const END_SHIFT: u32 = MAX_CLAIM as u32 + 1;

const _: () = assert!(TAKEN.count_ones() as u64 == MAX_CLAIM);
const _: () = assert!(TAKEN & CONTESTED == 0 && CONTESTED < 1 << END_SHIFT);

/// Describes a claim; see the [module](self).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct ClaimWord(pub(super) u64);

impl ClaimWord {
    /// Creates a claim up to `end` that is not contested.
    #[inline]
    pub(super) fn fresh(end: u64) -> Self {
        Self(end << END_SHIFT)
    }

    pub(super) fn is_contested(self) -> bool {
        self.0 & CONTESTED != 0
    }

    /// Whether both describe the same claim (R6).
    pub(super) fn same_claim(self, other: Self) -> bool {
        self.0 >> END_SHIFT == other.0 >> END_SHIFT
    }

    /// Returns this claim, contested.
    #[must_use]
    pub(super) fn contested(self) -> Self {
        Self(self.0 | CONTESTED)
    }

    /// Returns the number of positions from `cursor` to the claim's end; zero if the cursor has
    /// passed it.
    pub(super) fn remaining(self, cursor: u64) -> u64 {
        let distance = Self::fresh(cursor).0;
        let remaining = (self.0 & !(CONTESTED | TAKEN)).wrapping_sub(distance) >> END_SHIFT;
        if remaining <= MAX_CLAIM { remaining } else { 0 }
    }

    /// Returns those bits, of the last `remaining` positions, that are not set.
    pub(super) fn untaken(self, remaining: u64) -> u64 {
        debug_assert!(
            remaining <= MAX_CLAIM,
            "{self:?} has no {remaining} positions"
        );
        !self.0 & ((1 << remaining) - 1)
    }

    /// Returns this word with those bits set.
    #[must_use]
    pub(super) fn with_bits(self, bits: u64) -> Self {
        debug_assert!(
            bits & !TAKEN == 0 && self.0 & bits == 0,
            "{self:?} {bits:#b}"
        );
        Self(self.0 | bits)
    }

    /// Returns this word with the bit set of the position that is `remaining` before the end;
    /// `None` if it was set already.
    pub(super) fn with_taken(self, remaining: u64) -> Option<Self> {
        debug_assert!(
            (1..=MAX_CLAIM).contains(&remaining),
            "{self:?} has no {remaining}"
        );
        let bit = 1 << (remaining - 1);
        (self.0 & bit == 0).then(|| self.with_bits(bit))
    }
}

impl fmt::Debug for ClaimWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "ClaimWord {{ end: {}, contested: {}, taken: {:#010b} }}",
            self.0 >> END_SHIFT,
            self.is_contested(),
            self.0 & TAKEN
        )
    }
}

#[cfg(test)]
mod tests {
    //! Goal: the arithmetic of the packed word, also where positions wrap (Q8). Method: cases by
    //! hand.

    use super::*;

    #[test]
    fn q8_the_remaining_count_is_right_across_the_wrap() {
        for end in [0, 1, 7, 8, u64::MAX, 1 << 55, (1 << 55) + 3] {
            let word = ClaimWord::fresh(end);
            for remaining in 0..=MAX_CLAIM {
                assert_eq!(
                    word.remaining(end.wrapping_sub(remaining)),
                    remaining,
                    "{word:?}"
                );
                assert_eq!(
                    word.contested().remaining(end.wrapping_sub(remaining)),
                    remaining
                );
            }
            assert_eq!(word.remaining(end.wrapping_sub(MAX_CLAIM + 1)), 0);
            assert_eq!(
                word.remaining(end.wrapping_add(1)),
                0,
                "the cursor has passed it"
            );
            assert_eq!(word.remaining(end.wrapping_add(1 << 40)), 0);
        }
    }

    #[test]
    fn each_bit_can_be_taken_once() {
        let word = ClaimWord::fresh(100).contested();
        let one = word.with_taken(3).unwrap();
        assert_eq!(one.untaken(3), 0b011);
        assert_eq!(one.untaken(4), 0b1011);
        assert!(one.with_taken(3).is_none());
        let all = one.with_bits(one.untaken(4));
        assert_eq!(all.untaken(4), 0);
        assert!(all.is_contested() && all.same_claim(word));
        assert!(!word.same_claim(ClaimWord::fresh(101)));
        assert!(format!("{all:?}").contains("0b00001111"), "{all:?}");
    }
}

//! The word that describes the owner's claim.
//!
//! ```text
//!  63                                                       9   8    7              0
//! +----------------------------------------------------------+---+------------------+
//! | end of the claim: the low 55 bits of a position          | C | taken            |
//! +----------------------------------------------------------+---+------------------+
//! ```
//! `C` says that a thief contests the claim: from then on an item of it belongs to whoever sets its bit
//! in `taken` (R5). Bit `i` of `taken` stands for the position `end - 1 - i`, so that the bits do not move
//! while the owner's cursor does. The owner takes from the top bits down, thieves from bit 0 up.

use core::fmt;

/// How many items the owner claims at once at most. One of them is returned at once, so one bit of the
/// word is to spare.
pub(super) const MAX_CLAIM: u64 = 8;

const CONTESTED: u64 = 1 << MAX_CLAIM;
const TAKEN: u64 = CONTESTED - 1;
const END_SHIFT: u32 = MAX_CLAIM as u32 + 1;

const _: () = assert!(TAKEN.count_ones() as u64 == MAX_CLAIM);
const _: () = assert!(TAKEN & CONTESTED == 0 && CONTESTED < 1 << END_SHIFT);

/// See the [module](self).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct ClaimWord(pub(super) u64);

impl ClaimWord {
    /// A claim up to `end` that nobody contests.
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

    /// This claim, contested.
    #[must_use]
    pub(super) fn contested(self) -> Self {
        Self(self.0 | CONTESTED)
    }

    /// How many positions there are from `cursor` to the claim's end; none if the cursor has passed it.
    pub(super) fn left(self, cursor: u64) -> u64 {
        let distance = Self::fresh(cursor).0;
        let left = (self.0 & !(CONTESTED | TAKEN)).wrapping_sub(distance) >> END_SHIFT;
        if left <= MAX_CLAIM { left } else { 0 }
    }

    /// The bits, of the last `left` positions, that nobody has set.
    pub(super) fn free(self, left: u64) -> u64 {
        debug_assert!(left <= MAX_CLAIM, "{self:?} has no {left} positions");
        !self.0 & ((1 << left) - 1)
    }

    /// This word with those bits set.
    #[must_use]
    pub(super) fn with_bits(self, bits: u64) -> Self {
        debug_assert!(
            bits & !TAKEN == 0 && self.0 & bits == 0,
            "{self:?} {bits:#b}"
        );
        Self(self.0 | bits)
    }

    /// This word with the bit of the position that is `left` before the end set; none if it was.
    pub(super) fn with_taken(self, left: u64) -> Option<Self> {
        debug_assert!((1..=MAX_CLAIM).contains(&left), "{self:?} has no {left}");
        let bit = 1 << (left - 1);
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
    //! Goal: the arithmetic of the packed word, also where positions wrap (Q8). Method: cases by hand.

    use super::*;

    #[test]
    fn q8_what_is_left_survives_the_wrap() {
        for end in [0, 1, 7, 8, u64::MAX, 1 << 55, (1 << 55) + 3] {
            let word = ClaimWord::fresh(end);
            for left in 0..=MAX_CLAIM {
                assert_eq!(word.left(end.wrapping_sub(left)), left, "{word:?}");
                assert_eq!(word.contested().left(end.wrapping_sub(left)), left);
            }
            assert_eq!(word.left(end.wrapping_sub(MAX_CLAIM + 1)), 0);
            assert_eq!(
                word.left(end.wrapping_add(1)),
                0,
                "the cursor has passed it"
            );
            assert_eq!(word.left(end.wrapping_add(1 << 40)), 0);
        }
    }

    #[test]
    fn bits_are_taken_once() {
        let word = ClaimWord::fresh(100).contested();
        let one = word.with_taken(3).unwrap();
        assert_eq!(one.free(3), 0b011);
        assert_eq!(one.free(4), 0b1011);
        assert!(one.with_taken(3).is_none());
        let all = one.with_bits(one.free(4));
        assert_eq!(all.free(4), 0);
        assert!(all.is_contested() && all.same_claim(word));
        assert!(!word.same_claim(ClaimWord::fresh(101)));
        assert!(format!("{all:?}").contains("0b00001111"), "{all:?}");
    }
}

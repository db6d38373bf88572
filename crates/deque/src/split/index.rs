//! The word that says which items thieves may take.
//!
//! ```text
//!  63                            32 31            16 15             0
//! +--------------------------------+----------------+----------------+
//! | tag | top | count |
//! +--------------------------------+----------------+----------------+
//! ```
//! `top` is the low half-word of the oldest item's position. `count` is the number of items, from
//! there on, that are shared. Three operations change the word:
//! - A steal adds to `top` and takes from `count`.
//! - A force raises `count`, and increments `tag`.
//! - The owner moves the split either way, and increments `tag`.
//!
//! # How wide the fields are, and why
//! A thief reads the word, copies slots, and claims them by exchanging the word that it read. The
//! copies are wrong if the word was changed and changed back meanwhile.
//!
//! While the tag stays the same, only steals change the word. Each adds to `top` what it takes from
//! `count`, which is at most 2^15, so `top` cannot wrap around and no word comes back. To be
//! deceived, a thief must therefore sleep through:
//! 1. a multiple of 2^32 operations that share or take back, each of them a compare-and-swap that
//!    the request of some thief brought about (2^32 of them take minutes at the least); and
//! 2. a multiple of 2^16 steals.
//!
//! And it must wake at the very instant when both numbers are exact.
//!
//! 16 bits each for `top` and `count` allow 2^15 slots, which is plenty for a queue whose overflow
//! leaves in a batch. With a tag of only 16 bits, a thief that lost its core for about ten
//! milliseconds could meet such a moment.
//!
//! A force has to increment the tag, too. An owner need not move the split for as long as forces
//! share its items one by one and thieves take them, and after 2^16 of these the same `top` and
//! `count` are back.
//!
//! Under loom, `top` and `count` have three bits each, so that a model can wrap them around.

use core::fmt;

const COUNT_BITS: u32 = if cfg!(stealyard_loom) { 3 } else { 16 };
const TOP_BITS: u32 = COUNT_BITS;
const TAG_SHIFT: u32 = COUNT_BITS + TOP_BITS;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;
const TOP_MASK: u64 = (1 << TOP_BITS) - 1;

/// The most slots: `top` must tell apart all positions from the oldest item to one past the newest.
pub(super) const MAX_CAPACITY: usize = 1 << (COUNT_BITS - 1);

const _: () = assert!(
    TAG_SHIFT + u32::BITS <= u64::BITS,
    "there is room for the tag"
);
const _: () = assert!(MAX_CAPACITY as u64 <= COUNT_MASK, "all slots can be shared");

/// The tag, the oldest position and the number of shared items, in one word; see the
/// [module](self).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Index(u64);

impl Index {
    pub(super) fn new(tag: u32, top: u64, count: u64) -> Self {
        debug_assert!(count <= MAX_CAPACITY as u64, "{count} shared items");
        Self(u64::from(tag) << TAG_SHIFT | (top & TOP_MASK) << COUNT_BITS | count)
    }

    pub(super) fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(super) fn bits(self) -> u64 {
        self.0
    }

    fn tag(self) -> u32 {
        (self.0 >> TAG_SHIFT) as u32
    }

    /// Returns the low bits of the oldest item's position, which are enough to find its slot.
    pub(super) fn top(self) -> u64 {
        self.0 >> COUNT_BITS & TOP_MASK
    }

    /// Returns the number of shared items.
    pub(super) fn count(self) -> u64 {
        self.0 & COUNT_MASK
    }

    /// Returns the oldest item's whole position, given a `position` that is not before it and less
    /// than one wrap-around of `top` after it.
    pub(super) fn top_before(self, position: u64) -> u64 {
        position - self.distance(position)
    }

    /// Returns the number of items from `top` to `bottom`, in a queue of `capacity` slots. It is
    /// zero where `bottom` is one before `top`, as it is for a moment in a pop that finds nothing.
    pub(super) fn items(self, bottom: u64, capacity: usize) -> u64 {
        let items = self.distance(bottom);
        if items <= capacity as u64 { items } else { 0 }
    }

    fn distance(self, position: u64) -> u64 {
        position.wrapping_sub(self.top()) & TOP_MASK
    }

    /// Returns the word after a steal of the `taken` oldest items.
    pub(super) fn stolen(self, taken: u64) -> Self {
        debug_assert!(taken <= self.count(), "{taken} of {self:?}");
        Self::new(self.tag(), self.top() + taken, self.count() - taken)
    }

    /// Returns the word after a force, which shared private items so that `count` are shared.
    pub(super) fn forced(self, count: u64) -> Self {
        debug_assert!(count > self.count(), "{count} is no more than {self:?}");
        self.moved(self.top(), count)
    }

    /// Returns the word after the owner moved the ends of the shared part.
    pub(super) fn moved(self, top: u64, count: u64) -> Self {
        Self::new(self.tag().wrapping_add(1), top, count)
    }
}

impl fmt::Debug for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (tag, top, count) = (self.tag(), self.top(), self.count());
        write!(f, "Index {{ tag: {tag}, top: {top}, count: {count} }}")
    }
}

#[cfg(all(test, not(any(stealyard_loom, stealyard_shuttle))))]
mod tests {
    //! Goal: no field of the word spills into another, also at its greatest value; and a word that
    //! shares or takes back is a new one (SP5 in `split.rs`). Method: the transitions at the edges
    //! of each field, written out.

    use super::{Index, MAX_CAPACITY};

    #[test]
    fn q8_a_steal_wraps_the_top_without_changing_the_tag() {
        let before = Index::new(7, u64::from(u16::MAX), 3);
        let after = before.stolen(2);
        assert_eq!((after.tag(), after.top(), after.count()), (7, 1, 1));
    }

    #[test]
    fn q8_the_tag_wraps_without_changing_other_fields() {
        let after = Index::new(u32::MAX, 5, 4).moved(5, 2);
        assert_eq!((after.tag(), after.top(), after.count()), (0, 5, 2));
    }

    #[test]
    fn q8_a_force_can_share_a_full_queue_and_counts_up_the_tag() {
        let all = MAX_CAPACITY as u64;
        let index = Index::new(1, 10, 0).forced(all);
        assert_eq!((index.tag(), index.top(), index.count()), (2, 10, all));
    }

    #[test]
    fn q8_whole_positions_survive_a_wrap_of_the_top() {
        for position in [1, 65_535, 65_536, 65_537, 1 << 40] {
            let index = Index::new(0, position, 0);
            for items in [0, 1, 300, MAX_CAPACITY as u64] {
                assert_eq!(index.top_before(position + items), position);
                assert_eq!(index.items(position + items, MAX_CAPACITY), items);
            }
            assert_eq!(index.items(position - 1, MAX_CAPACITY), 0);
        }
    }
}

//! A slab: 64 KiB that blocks of one size are carved from, or one block of any size.
//!
//! A slab lies at a multiple of its size, so a block's address tells its slab. Blocks are carved as
//! they are needed, so the pages behind them are touched only then.

use core::alloc::Layout;
use core::ptr::NonNull;
use std::alloc::{alloc, dealloc, handle_alloc_error};

use super::{Chain, SIZES};
use crate::task::header::Header;

const SLAB_BYTES: usize = 64 * 1024;
const SLAB: Layout = match Layout::from_size_align(SLAB_BYTES, SLAB_BYTES) {
    Ok(layout) => layout,
    Err(_) => panic!("a power of two"),
};
/// Where the first block of a slab lies: behind the header, at a multiple of the smallest size.
const FIRST: usize = size_of::<Slab>().next_multiple_of(SIZES[0]);

/// What a slab begins with. All of it is guarded by the pool's lock.
#[derive(Debug)]
pub(super) struct Slab {
    /// Where it is in the pool's list of slabs.
    position: usize,
    /// Its blocks that are free and in no chain.
    free: Chain,
    /// How many blocks were carved.
    carved: usize,
    /// The distance between blocks, and from the slab's start to the first.
    step: usize,
    first: usize,
    layout: Layout,
}

impl Slab {
    fn new(layout: Layout, step: usize, first: usize) -> NonNull<Self> {
        // SAFETY: 1. the layout is never empty.
        let memory = unsafe { alloc(layout) };
        let Some(slab) = NonNull::new(memory.cast::<Self>()) else {
            handle_alloc_error(layout)
        };
        let header = Self {
            position: 0,
            free: Chain::EMPTY,
            carved: 0,
            step,
            first,
            layout,
        };
        // SAFETY: 1. new memory, large enough and aligned for the header.
        unsafe { slab.write(header) };
        slab
    }

    /// Allocates a slab for blocks of one of the sizes.
    pub(super) fn small() -> NonNull<Self> {
        Self::new(SLAB, 0, FIRST)
    }

    fn large_offset(layout: Layout) -> usize {
        size_of::<Self>().next_multiple_of(layout.align().max(align_of::<Header>()))
    }

    /// Allocates a slab for one block of `layout`, and carves it.
    pub(super) fn large(layout: Layout) -> (NonNull<Self>, NonNull<Header>) {
        let first = Self::large_offset(layout);
        let align = layout.align().max(align_of::<Self>());
        let Some(Ok(whole)) = first
            .checked_add(layout.size())
            .map(|size| Layout::from_size_align(size, align))
        else {
            handle_alloc_error(layout)
        };
        let slab = Self::new(whole, layout.size(), first);
        // SAFETY: 1. just made, with room for one block.
        let mut chain = unsafe { Self::carve(slab, layout.size(), 1) };
        let block = chain.pop().expect("a new slab has room for one block");
        (slab, block)
    }

    /// Returns the slab of a large block.
    ///
    /// # Safety
    /// 1. `block` came from `large` with this `layout`.
    pub(super) unsafe fn of_large(block: NonNull<Header>, layout: Layout) -> NonNull<Self> {
        // SAFETY: 1. the slab begins that much before its block (1).
        unsafe { block.byte_sub(Self::large_offset(layout)) }.cast()
    }

    /// Returns the slab of a block of one of the sizes.
    pub(super) fn of_small(block: NonNull<Header>) -> NonNull<Self> {
        block.cast::<Self>().map_addr(|address| {
            // A slab is never at address 0, and its blocks lie behind its first bytes.
            address
                .get()
                .wrapping_sub(address.get() % SLAB_BYTES)
                .try_into()
                .unwrap_or(address)
        })
    }

    /// Carves up to `max` blocks of `size`. Returns an empty chain if there is no room for one.
    ///
    /// # Safety
    /// 1. `slab` is valid, always carved with the same `size`, and the caller holds the pool's
    ///    lock.
    pub(super) unsafe fn carve(slab: NonNull<Self>, size: usize, max: usize) -> Chain {
        // SAFETY: 1. valid and guarded by the lock (1); no block lies in the header.
        let header = unsafe { &mut *slab.as_ptr() };
        header.step = size;
        let room = (header.layout.size() - header.first) / size - header.carved;
        let mut chain = Chain::EMPTY;
        // From the last to the first, so that the chain begins with the lowest address.
        let count = room.min(max);
        for offset in (0..count).rev() {
            let at = header.first + (header.carved + offset) * size;
            // SAFETY: 1. in range: `at + size` is at most the slab's size.
            let block = unsafe { slab.byte_add(at) }.cast::<Header>();
            // SAFETY: 1. no thread uses memory that is not carved; blocks are aligned for a header.
            unsafe { block.write(Header::vacant()) };
            // SAFETY: 1. free, and ours.
            unsafe { chain.push(block) };
        }
        header.carved += count;
        chain
    }

    /// Returns all blocks carved so far.
    ///
    /// # Safety
    /// 1. `slab` is valid, and the caller holds the pool's lock while it uses the iterator.
    pub(super) unsafe fn blocks(slab: NonNull<Self>) -> impl Iterator<Item = NonNull<Header>> {
        // SAFETY: 1. valid and guarded by the lock (1).
        let header = unsafe { slab.as_ref() };
        let (first, step) = (header.first, header.step);
        (0..header.carved).map(move |block| {
            // SAFETY: 1. carved blocks lie in the slab.
            unsafe { slab.byte_add(first + block * step) }.cast()
        })
    }

    /// Puts a free block into its slab. Returns how many it has now.
    ///
    /// # Safety
    /// 1. `slab` is valid and the block's, and the caller holds the pool's lock.
    /// 2. `block` is free, and the caller owns it.
    pub(super) unsafe fn give(slab: NonNull<Self>, block: NonNull<Header>) -> usize {
        // SAFETY: 1. valid and guarded by the lock (1).
        let header = unsafe { &mut *slab.as_ptr() };
        // SAFETY: 1. as the caller promises (2).
        unsafe { header.free.push(block) };
        header.free.len
    }

    /// Takes all its free blocks.
    ///
    /// # Safety
    /// 1. `slab` is valid, and the caller holds the pool's lock.
    pub(super) unsafe fn take_free(slab: NonNull<Self>) -> Chain {
        // SAFETY: 1. valid and guarded by the lock (1).
        let header = unsafe { &mut *slab.as_ptr() };
        core::mem::replace(&mut header.free, Chain::EMPTY)
    }

    /// Returns how many free blocks it has.
    ///
    /// # Safety
    /// 1. `slab` is valid, and the caller holds the pool's lock.
    pub(super) unsafe fn free_len(slab: NonNull<Self>) -> usize {
        // SAFETY: 1. valid and guarded by the lock (1).
        unsafe { slab.as_ref() }.free.len
    }

    /// Whether all blocks carved from it are in it.
    ///
    /// # Safety
    /// 1. `slab` is valid, and the caller holds the pool's lock.
    pub(super) unsafe fn is_whole(slab: NonNull<Self>) -> bool {
        // SAFETY: 1. valid and guarded by the lock (1).
        let header = unsafe { slab.as_ref() };
        header.free.len == header.carved
    }

    /// Returns its size in bytes.
    ///
    /// # Safety
    /// 1. `slab` is valid, and the caller holds the pool's lock.
    pub(super) unsafe fn bytes(slab: NonNull<Self>) -> usize {
        // SAFETY: 1. valid and guarded by the lock (1).
        unsafe { slab.as_ref() }.layout.size()
    }

    /// Returns where it is in the pool's list.
    ///
    /// # Safety
    /// 1. `slab` is valid, and the caller holds the pool's lock.
    pub(super) unsafe fn position(slab: NonNull<Self>) -> usize {
        // SAFETY: 1. valid and guarded by the lock (1).
        unsafe { slab.as_ref() }.position
    }

    /// Notes where it is in the pool's list.
    ///
    /// # Safety
    /// 1. `slab` is valid, and the caller holds the pool's lock.
    pub(super) unsafe fn set_position(slab: NonNull<Self>, position: usize) {
        // SAFETY: 1. valid and guarded by the lock (1).
        unsafe { &mut *slab.as_ptr() }.position = position;
    }

    /// Frees the memory.
    ///
    /// # Safety
    /// 1. `slab` is valid, in no list, and no block of it is in use.
    pub(super) unsafe fn release(slab: NonNull<Self>) {
        // SAFETY: 1. no other thread knows the slab (1).
        for block in unsafe { Self::blocks(slab) } {
            // SAFETY: 1. carved blocks have valid headers (M4), and this one is not in use (1).
            unsafe { block.drop_in_place() };
        }
        // SAFETY: 1. valid (1).
        let layout = unsafe { slab.as_ref() }.layout;
        // SAFETY: 1. allocated in `new` with this layout, and not used again (1).
        unsafe { dealloc(slab.as_ptr().cast(), layout) };
    }
}

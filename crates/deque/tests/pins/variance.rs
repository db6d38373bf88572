//! Every handle is invariant in its items' type: otherwise a shared handle could take a short-lived
//! item where a long-lived one is popped. Two functions a type: one lengthens, one shortens.

use stealyard_deque::{
    ChaseLev, ChaseLevStealer, Fifo, Lifo, Ring, RingStealer, Slot, Split, SplitStealer, Steal,
};

type Long = &'static String;
type Short<'short> = &'short String;

fn chase_lev_lifo_lengthened<'short>(
    handle: ChaseLev<Short<'short>, Lifo>,
) -> ChaseLev<Long, Lifo> {
    handle
}

fn chase_lev_lifo_shortened<'all, 'short>(
    handle: &'all ChaseLev<Long, Lifo>,
) -> &'all ChaseLev<Short<'short>, Lifo> {
    handle
}

fn chase_lev_fifo_lengthened<'short>(
    handle: ChaseLev<Short<'short>, Fifo>,
) -> ChaseLev<Long, Fifo> {
    handle
}

fn chase_lev_fifo_shortened<'all, 'short>(
    handle: &'all ChaseLev<Long, Fifo>,
) -> &'all ChaseLev<Short<'short>, Fifo> {
    handle
}

fn chase_lev_lifo_stealer_lengthened<'short>(
    handle: ChaseLevStealer<Short<'short>, Lifo>,
) -> ChaseLevStealer<Long, Lifo> {
    handle
}

fn chase_lev_lifo_stealer_shortened<'all, 'short>(
    handle: &'all ChaseLevStealer<Long, Lifo>,
) -> &'all ChaseLevStealer<Short<'short>, Lifo> {
    handle
}

fn chase_lev_fifo_stealer_lengthened<'short>(
    handle: ChaseLevStealer<Short<'short>, Fifo>,
) -> ChaseLevStealer<Long, Fifo> {
    handle
}

fn chase_lev_fifo_stealer_shortened<'all, 'short>(
    handle: &'all ChaseLevStealer<Long, Fifo>,
) -> &'all ChaseLevStealer<Short<'short>, Fifo> {
    handle
}

fn ring_lengthened<'short>(handle: Ring<Short<'short>>) -> Ring<Long> {
    handle
}

fn ring_shortened<'all, 'short>(handle: &'all Ring<Long>) -> &'all Ring<Short<'short>> {
    handle
}

fn ring_stealer_lengthened<'short>(handle: RingStealer<Short<'short>>) -> RingStealer<Long> {
    handle
}

fn ring_stealer_shortened<'all, 'short>(
    handle: &'all RingStealer<Long>,
) -> &'all RingStealer<Short<'short>> {
    handle
}

fn split_lengthened<'short>(handle: Split<Short<'short>>) -> Split<Long> {
    handle
}

fn split_shortened<'all, 'short>(handle: &'all Split<Long>) -> &'all Split<Short<'short>> {
    handle
}

fn split_stealer_lengthened<'short>(handle: SplitStealer<Short<'short>>) -> SplitStealer<Long> {
    handle
}

fn split_stealer_shortened<'all, 'short>(
    handle: &'all SplitStealer<Long>,
) -> &'all SplitStealer<Short<'short>> {
    handle
}

fn slot_lengthened<'short>(handle: Slot<Short<'short>>) -> Slot<Long> {
    handle
}

fn slot_shortened<'all, 'short>(handle: &'all Slot<Long>) -> &'all Slot<Short<'short>> {
    handle
}

/// An outcome may be shortened, as its item may, but not lengthened.
fn outcome_lengthened<'short>(outcome: Steal<Short<'short>>) -> Steal<Long> {
    outcome
}

fn main() {}

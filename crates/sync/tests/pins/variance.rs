//! Pins: the cell is invariant in its content. Each function must be refused.

use stealyard_sync::cell::UnsafeCell;

fn unsafe_cell_shorter<'a>(cell: UnsafeCell<&'static str>) -> UnsafeCell<&'a str> {
    cell
}

fn unsafe_cell_longer<'a>(cell: UnsafeCell<&'a str>) -> UnsafeCell<&'static str> {
    cell
}

fn main() {}

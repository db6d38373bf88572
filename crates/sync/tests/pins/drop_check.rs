//! Pins: the cell does not outlive what the destructor of its content reads. Each function must be refused.

use stealyard_sync::cell::UnsafeCell;

/// Reads in its destructor.
struct Reads<'a>(&'a String);

impl Drop for Reads<'_> {
    fn drop(&mut self) {
        println!("{}", self.0);
    }
}

fn unsafe_cell() {
    let (_cell, text);
    text = String::new();
    _cell = UnsafeCell::new(Reads(&text));
}

fn main() {}

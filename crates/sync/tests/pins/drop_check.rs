//! Pins: the cell does not outlive what its content reads when dropped. Each function is refused.

use stealyard_sync::cell::UnsafeCell;

/// A value that reads what it borrows in its destructor.
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

//! Goal: what may cross threads, panics and moves, and what may not (Q6, Q19). Method: a table of
//! every public type, decided at compile time.

use std::cell::{Cell, RefCell};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::ptr::NonNull;
use std::rc::Rc;

use stealyard_injector::{Chain, LanesError, Linked, Locked, Segmented, Sharded, Stack};

/// The answer for a type that does not have the trait.
///
/// The name has an underscore because one of the two constants is never read.
trait Otherwise {
    const _HAS: bool = false;
}

impl<T: ?Sized> Otherwise for T {}

/// Whether the type has the trait: the inherent constant wins where its bound holds.
macro_rules! has {
    ($type:ty: $bound:path) => {{
        struct Ask<T: ?Sized>(core::marker::PhantomData<T>);
        impl<T: ?Sized + $bound> Ask<T> {
            const _HAS: bool = true;
        }
        <Ask<$type>>::_HAS
    }};
}

/// Checks `Send`, `Sync`, `UnwindSafe`, `RefUnwindSafe` and `Unpin` of a type, in this order.
macro_rules! row {
    ($type:ty: $send:literal $sync:literal $unwind:literal $ref_unwind:literal $unpin:literal) => {
        const {
    assert!(has!($type: Send) == $send, "Send");
    assert!(has!($type: Sync) == $sync, "Sync");
    assert!(has!($type: UnwindSafe) == $unwind, "UnwindSafe");
    assert!(has!($type: RefUnwindSafe) == $ref_unwind, "RefUnwindSafe");
    assert!(has!($type: Unpin) == $unpin, "Unpin");
        }
    };
}

/// A task that carries its own link. It is neither `Sync` nor safe to use after a panic.
struct Task(Box<Node>);

struct Node(Cell<*mut Self>);

// SAFETY: 1. a node has one owner at a time.
unsafe impl Send for Task {}

// SAFETY:
// 1. The pointer is the box's.
// 2. The link is a field that only the stack touches.
// 3. Nothing panics.
unsafe impl Linked for Task {
    type Node = Node;

    fn into_node(self) -> NonNull<Node> {
        NonNull::from(Box::leak(self.0))
    }

    unsafe fn from_node(node: NonNull<Node>) -> Self {
        // SAFETY: 1. the pointer came from `into_node`, and comes back once.
        Self(unsafe { Box::from_raw(node.as_ptr()) })
    }

    unsafe fn link(node: NonNull<Node>) -> NonNull<*mut Node> {
        // SAFETY: 1. the node is valid.
        let node = unsafe { node.as_ref() };
        NonNull::new(node.0.as_ptr()).expect("a field of a node")
    }
}

/// An item type that is neither `Send` nor `Sync`.
type Here = Rc<u8>;
/// An item type that is `Send`, but neither `Sync` nor safe to use after a panic.
type Moves = RefCell<u8>;

#[test]
fn q6_q19_every_type_has_the_automatic_traits_of_the_table() {
    // In order:                       Send  Sync  UnwindSafe RefUnwindSafe Unpin
    row!(Locked<u8>:                  true  true  true  true  true);
    row!(Locked<Moves>:               true  true  true  true  true);
    row!(Locked<Here>:                false false true  true  true);
    row!(Segmented<u8>:               true  true  true  true  true);
    row!(Segmented<Moves>:            true  true  true  true  true);
    row!(Segmented<Here>:             false false true  true  true);
    row!(Stack<Task>:                 true  true  true  true  true);
    // A chain yields items to its holder, as a vector's iterator does.
    row!(Chain<Task>:                 true  false false false true);
    row!(Sharded<u8, Locked<u8>>:     true  true  true  true  true);
    row!(Sharded<Moves, Segmented<Moves>>: true true true true true);
    row!(Sharded<Here, Locked<Here>>: false false true  true  true);
    row!(Sharded<u8, Moves>:          true  false true  false true);
    row!(LanesError:                  true  true  true  true  true);
}

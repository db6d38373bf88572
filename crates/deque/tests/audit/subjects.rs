//! Every queue of this crate in the forms that the audit uses: small, at limits, and near where
//! positions wrap.

use std::sync::Arc;

use stealyard_deque::{ChaseLev, Discipline, Fifo, Lifo, Ring, Split, Steal, Stealer, Worker};

use crate::items::{AuditItem, Ledger};

/// A queue that the programs of the audit run on.
pub(crate) trait Subject:
    Worker<Item: AuditItem, Stealer: Send + Sync> + std::fmt::Debug + 'static
{
    /// Returns its forms: the name of each in messages, and how it is made.
    fn forms() -> Vec<Form<Self>>;

    /// Returns the same queue with another limit, or another size of claims, where it has such a
    /// thing.
    fn changed(self, to: usize) -> Self {
        let _ = to;
        self
    }

    /// Shares what is private, where the queue has such a call.
    fn force(stealer: &Self::Stealer) -> Option<Steal<usize>> {
        let _ = stealer;
        None
    }
}

/// The name of a queue's form, and how to make it.
pub(crate) struct Form<W> {
    pub(crate) name: String,
    make: Box<dyn Fn() -> W + Send + Sync>,
}

impl<W: Worker<Item: AuditItem>> Form<W> {
    fn new(name: String, make: impl Fn() -> W + Send + Sync + 'static) -> Self {
        Self {
            name: format!("{name}, {} items", W::Item::KIND),
            make: Box::new(make),
        }
    }

    pub(crate) fn make(&self) -> W {
        (self.make)()
    }
}

/// The limits of `ChaseLev`: around one, around a power of two, around the first buffer's size; and
/// none.
const LIMITS: [Option<usize>; 8] = [
    Some(1),
    Some(2),
    Some(4),
    Some(3),
    Some(5),
    Some(64),
    Some(65),
    None,
];

impl<T: AuditItem, D: Discipline> Subject for ChaseLev<T, D> {
    fn forms() -> Vec<Form<Self>> {
        let order = format!("{:?}", D::ORDER);
        let mut forms = Vec::new();
        for limit in LIMITS {
            let name = format!("ChaseLev {order} with limit {limit:?}");
            forms.push(Form::new(name, move || {
                let queue = Self::default();
                limit.map_or_else(Self::default, |limit| queue.with_limit(limit))
            }));
        }
        for limit in [Some(3), None] {
            let name = format!("ChaseLev {order} of 2 slots that wraps, with limit {limit:?}");
            forms.push(Form::new(name, move || {
                let queue = Self::starting_at(2, u64::MAX - 50);
                match limit {
                    Some(limit) => queue.with_limit(limit),
                    None => queue,
                }
            }));
        }
        forms
    }

    fn changed(self, to: usize) -> Self {
        // No form with a limit becomes one without: a `capacity` promises that.
        self.with_limit(to)
    }
}

impl<T: AuditItem> Subject for Ring<T> {
    fn forms() -> Vec<Form<Self>> {
        let mut forms = Vec::new();
        for capacity in [2, 4, 16, 256] {
            for claim in [1, 3, 8] {
                let name = format!("Ring of {capacity} that claims {claim}");
                forms.push(Form::new(name, move || {
                    let ring = Self::with_capacity(capacity).expect("a power of two");
                    ring.claiming(claim)
                }));
            }
        }
        forms.push(Form::new("Ring of 4 that wraps".to_owned(), || {
            Self::starting_at(4, u64::MAX - 50).claiming(8)
        }));
        forms
    }

    fn changed(self, to: usize) -> Self {
        self.claiming(to)
    }
}

impl<T: AuditItem> Subject for Split<T> {
    fn forms() -> Vec<Form<Self>> {
        let mut forms = Vec::new();
        for capacity in [2, 4, 16, 256] {
            let name = format!("Split of {capacity}");
            forms.push(Form::new(name, move || {
                Self::with_capacity(capacity).expect("a power of two")
            }));
        }
        forms.push(Form::new("Split of 4 that wraps".to_owned(), || {
            Self::starting_at(4, u32::MAX - 5, (1 << 16) - 50)
        }));
        forms
    }

    fn force(stealer: &Self::Stealer) -> Option<Steal<usize>> {
        Some(stealer.force())
    }
}

/// Makes the call of that number, of all calls that there are. Items that come out are settled.
pub(crate) fn any_call<W: Subject>(queue: &W, other: &W, ledger: &Arc<Ledger>, call: u32) {
    let stealer = queue.stealer();
    let settle = |item: W::Item| item.settle(ledger);
    let make = || W::Item::make(ledger);
    match call % 8 {
        0 => drop(queue.push(make()).map_err(settle)),
        1 => queue.push_or_overflow(make(), settle),
        2 => drop(queue.pop().map(settle)),
        3 => drop(stealer.steal().success().map(settle)),
        4 => drop(stealer.steal_batch(other, 2)),
        5 => drop(stealer.steal_batch_and_pop(other, 3).map(settle)),
        6 => drop(stealer.force_steal(other, 4).map(settle)),
        _ => drop(other.stealer().steal_batch(queue, 4)),
    }
    let _: Option<Steal<usize>> = W::force(&stealer);
}

/// Runs a program, which is generic over the queue, on every queue of the crate with items of one
/// kind.
macro_rules! on_every_queue {
    ($item:ty, $program:ident($($argument:expr),*)) => {{
        $program::<stealyard_deque::ChaseLev<$item, stealyard_deque::Lifo>>($($argument),*);
        $program::<stealyard_deque::ChaseLev<$item, stealyard_deque::Fifo>>($($argument),*);
        $program::<stealyard_deque::Ring<$item>>($($argument),*);
        $program::<stealyard_deque::Split<$item>>($($argument),*);
    }};
}
pub(crate) use on_every_queue;

/// The two disciplines, so that a test that names them by hand stays short.
pub(crate) type LastIn<T> = ChaseLev<T, Lifo>;
pub(crate) type FirstIn<T> = ChaseLev<T, Fifo>;

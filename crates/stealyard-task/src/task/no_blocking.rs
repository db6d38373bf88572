//! Whether a call may block the thread that makes it, and what to say if not.
//!
//! Two things decide: what code the thread is inside of, and what the thread owes to others, its
//! duty.
//!
//! | inside of          | no duty     | a worker    | in a call | in a call, on a worker |
//! |--------------------|-------------|-------------|-----------|------------------------|
//! | nothing            | may block   | must not    | may block | must not               |
//! | a task             | must not    | must not    | may block | must not               |
//! | a hook             | must not    | must not    | must not  | must not               |
//! | any other code     | may block   | must not    | may block | must not               |

use super::running::{self, Code, Duty, Inside};

/// A place where a thread must not block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoBlocking {
    /// Inside a task.
    Task,
    /// Inside a blocking call that a worker runs.
    CallOnWorker,
    /// Inside other code of the user's.
    Code(Code),
    /// On a worker's thread, inside of nothing that is known.
    Worker,
}

impl NoBlocking {
    /// Returns where this thread is, if it must not block there.
    pub fn here() -> Option<Self> {
        let duty = running::duty();
        let worker = matches!(duty, Duty::Worker | Duty::CallOnWorker);
        match running::inside() {
            Inside::Nothing => worker.then_some(Self::Worker),
            Inside::Task => match duty {
                Duty::CallOnWorker => Some(Self::CallOnWorker),
                // Without a duty it is a task that is run by hand.
                Duty::Worker | Duty::None => Some(Self::Task),
                Duty::Call => None,
            },
            Inside::Code(code @ (Code::Destructor | Code::Policy | Code::Subscriber)) => {
                worker.then_some(Self::Code(code))
            }
            Inside::Code(hook) => Some(Self::Code(hook)),
        }
    }

    /// Returns what to say of `call`, which was called here. `wait` says how to wait for the same
    /// thing in a task.
    #[cold]
    pub fn message(self, call: &str, wait: &str) -> String {
        let instead = match self {
            Self::Task => format!("{wait}, or call it inside `spawn_blocking`"),
            Self::CallOnWorker => {
                format!(
                    "{wait} in a task, or allow for more threads (`ulimit -u`, pids.max, memory)"
                )
            }
            Self::Code(Code::Destructor) => format!(
                "a destructor cannot wait: {wait} before the end, in the task, or spawn a task that does, or drop what \
                 it would wait for"
            ),
            Self::Code(_) | Self::Worker => {
                format!(
                    "code that the scheduler calls must not wait: spawn a task, and {wait} there"
                )
            }
        };
        let place = self.place(call);
        format!(
            "{call} was called {place}, where it would block a thread that others rely on: {instead}"
        )
    }

    fn place(self, call: &str) -> &'static str {
        match self {
            // In one of its own scheduler it does not block.
            Self::Task if call == "install" => "inside a task of another scheduler",
            Self::Task => "inside a task",
            Self::CallOnWorker => {
                "inside a blocking call that a worker runs, because no thread could be started for it"
            }
            Self::Worker => "on a worker's thread, outside of any task",
            Self::Code(Code::Destructor) => {
                "in a destructor on a worker's thread, which drops a task that was cancelled or what no handle took"
            }
            Self::Code(Code::Policy) => "inside a steal policy",
            Self::Code(Code::OnStart) => "inside the hook on_worker_start",
            Self::Code(Code::OnStop) => "inside the hook on_worker_stop",
            Self::Code(Code::OnPark) => "inside the hook on_park",
            Self::Code(Code::OnUnpark) => "inside the hook on_unpark",
            Self::Code(Code::OnPanic) => "inside the hook on_task_panic",
            Self::Code(Code::Subscriber) => "inside a subscriber of events",
        }
    }
}

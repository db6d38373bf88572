//! Process trees: a program with all that it starts, which are waited for and ended together.
//!
//! Each tree is a process group of its own, so that one signal reaches all of it. Such a group no
//! longer hears the terminal's Ctrl-C; xtask hears it and ends the trees that run.

use std::io::Result;
use std::process::{ChildStdout, Command, ExitStatus};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError, Weak};
use std::time::{Duration, Instant};

use process_wrap::std::{ChildWrapper, CommandWrap, ProcessGroup};

/// A program that was started, and all that it starts.
#[derive(Debug)]
pub(crate) struct Tree {
    child: Arc<Shared>,
    group: u32,
}

/// The handle on a tree: the thread that waits shares it with the one that hears Ctrl-C.
type Shared = Mutex<Box<dyn ChildWrapper>>;

/// The trees that were started; those that are gone are forgotten at the next start.
static STARTED: Mutex<Vec<Weak<Shared>>> = Mutex::new(Vec::new());

/// Between two looks whether a tree has ended.
const LOOK: Duration = Duration::from_millis(20);

impl Tree {
    /// Starts `command` as a tree of its own.
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        end_all_on_interrupt();
        let program = command.get_program().to_owned();
        let mut wrap = CommandWrap::from(std::mem::replace(command, Command::new(program)));
        let spawned = wrap.wrap(ProcessGroup::leader()).spawn();
        *command = wrap.into_command();
        let child = spawned?;
        let group = child.id();
        let child = Arc::new(Mutex::new(child));
        let mut started = locked(&STARTED);
        started.retain(|tree| tree.strong_count() > 0);
        started.push(Arc::downgrade(&child));
        Ok(Self { child, group })
    }

    /// Returns the program's output, if it was piped; the first call takes it.
    pub(crate) fn stdout(&self) -> Option<ChildStdout> {
        locked(&self.child).stdout().take()
    }

    /// Waits for the program to end. Returns how it ended; none if it still runs after `limit`.
    pub(crate) fn wait(&self, limit: Duration) -> Result<Option<ExitStatus>> {
        let start = Instant::now();
        loop {
            if let Some(status) = locked(&self.child).try_wait()? {
                return Ok(Some(status));
            }
            if start.elapsed() >= limit {
                return Ok(None);
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Ends the program and all that it started.
    pub(crate) fn end(&self) -> Result<()> {
        locked(&self.child).kill()
    }

    /// Returns the processes of this tree, each with its command line, as far as `ps` knows.
    pub(crate) fn members(&self) -> Vec<String> {
        let listed = Command::new("ps")
            .args(["-A", "-o", "pgid=,pid=,args="])
            .output();
        let listed = listed.map(|output| output.stdout).unwrap_or_default();
        let group = self.group.to_string();
        String::from_utf8_lossy(&listed)
            .lines()
            .filter_map(|line| line.trim().split_once(' '))
            .filter(|(of, _)| *of == group)
            .map(|(_, process)| process.trim().to_owned())
            .collect()
    }
}

impl Drop for Tree {
    /// A tree that is given up, by a panic or an error, does not run on.
    fn drop(&mut self) {
        let mut child = locked(&self.child);
        if matches!(child.try_wait(), Ok(None)) {
            let _ = child.kill();
        }
    }
}

/// Ends every tree, and then xtask, when the terminal or the system asks for it.
fn end_all_on_interrupt() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let heard = ctrlc::set_handler(|| {
            for tree in locked(&STARTED).iter().filter_map(Weak::upgrade) {
                let _ = locked(&tree).start_kill();
            }
            std::process::exit(130);
        });
        if let Err(error) = heard {
            eprintln!("xtask: Ctrl-C will not end what it starts: {error}");
        }
    });
}

/// Takes a lock. A panic while it was held leaves nothing half done in what it guards.
fn locked<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether the process still runs. The one that inherits the dead takes its time to bury them.
    fn runs(process: &str) -> bool {
        !process.ends_with("<defunct>")
    }

    fn shell(script: &str) -> Command {
        let mut shell = Command::new("sh");
        shell.args(["-c", script]);
        shell
    }

    #[test]
    fn a_tree_is_ended_down_to_its_leaves() {
        let mut command = shell("sh -c 'sleep 4321 & wait' & wait");
        let tree = Tree::start(&mut command).unwrap();
        while !tree
            .members()
            .iter()
            .any(|process| process.ends_with("sleep 4321"))
        {
            std::thread::sleep(LOOK);
        }
        assert_eq!(tree.wait(Duration::ZERO).unwrap(), None, "it still runs");
        tree.end().unwrap();
        while tree.members().iter().any(|process| runs(process)) {
            std::thread::sleep(LOOK);
        }
    }

    #[test]
    fn a_process_that_outlives_its_parent_is_ended_too() {
        let tree = Tree::start(&mut shell("sleep 4322 &")).unwrap();
        let status = tree
            .wait(Duration::MAX)
            .unwrap()
            .expect("it was waited for");
        assert!(status.success());
        assert!(
            tree.members()
                .iter()
                .any(|process| process.ends_with("sleep 4322"))
        );
        tree.end().unwrap();
        while tree.members().iter().any(|process| runs(process)) {
            std::thread::sleep(LOOK);
        }
    }

    #[test]
    fn a_tree_that_is_given_up_does_not_run_on() {
        let tree = Tree::start(&mut shell("sleep 4323 & wait")).unwrap();
        let (group, child) = (tree.group, Arc::clone(&tree.child));
        drop(tree);
        let looking = Tree { child, group };
        while looking.members().iter().any(|process| runs(process)) {
            std::thread::sleep(LOOK);
        }
    }

    #[test]
    fn a_program_is_waited_for_and_its_output_is_there() {
        let mut command = shell("echo said; exit 3");
        let tree = Tree::start(command.stdout(std::process::Stdio::piped())).unwrap();
        let status = tree
            .wait(Duration::MAX)
            .unwrap()
            .expect("it was waited for");
        assert_eq!(status.code(), Some(3));
        let said = std::io::read_to_string(tree.stdout().expect("its output is piped"));
        assert_eq!(said.unwrap(), "said\n");
        assert_eq!(command.get_args().count(), 2, "the command is as it was");
    }
}

//! The Go runtime, in a process of its own: `go/peer.go`, compiled when there is a Go to do it.
//!
//! The program times itself, so that what passes between the processes costs nobody anything; it waits, and takes
//! no CPU, while others have their turn.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;

use crate::harness::{Run, Subject};

/// How tables call it.
const NAME: &str = "go";

/// Go's version, or why it is not measured.
pub(crate) fn version() -> String {
    let said = Command::new("go").arg("version").output();
    match (said, program()) {
        (Ok(said), Ok(_)) => String::from_utf8_lossy(&said.stdout)
            .trim()
            .trim_start_matches("go version ")
            .to_owned(),
        (_, Err(why)) => format!("not measured: {why}"),
        (Err(error), Ok(_)) => format!("unknown: {error}"),
    }
}

/// A subject that runs a workload of `go/peer.go`; none without Go.
pub(crate) fn subject(workload: &'static str, workers: usize) -> Option<Subject> {
    program().as_ref().ok()?;
    let mut peer = Peer::start(workers);
    Some(Subject {
        name: NAME,
        run: Box::new(move |repetitions| peer.ask(workload, repetitions)),
    })
}

/// A subject that takes a reading, each time in a new process, with `size` for its repetitions.
pub(crate) fn gauge(reading: &'static str, workers: usize, size: u64) -> Option<Subject> {
    program().as_ref().ok()?;
    Some(Subject {
        name: NAME,
        run: Box::new(move |_| Peer::start(workers).ask(reading, size)),
    })
}

/// The compiled program, or why there is none.
fn program() -> &'static Result<PathBuf, String> {
    static PROGRAM: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let folder = here.join("../target/bench");
        let program = folder.join("go-peer");
        let output = Command::new("go")
            .arg("build")
            .arg("-o")
            .arg(&program)
            .arg(here.join("go/peer.go"))
            // Nothing is fetched, and nothing is left outside `target`.
            .envs([("GOTOOLCHAIN", "local"), ("GO111MODULE", "off")])
            .env("GOCACHE", folder.join("go-cache"))
            .output()
            .map_err(|error| format!("cannot run `go`: {error}; Debian has it as golang-go"))?;
        if output.status.success() {
            Ok(program)
        } else {
            Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
        }
    })
}

/// A running program.
struct Peer {
    child: Child,
    /// Taken when it is to end.
    questions: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Peer {
    fn start(workers: usize) -> Self {
        let program = program().as_ref().expect("asked before");
        let mut child = Command::new(program)
            .env("GOMAXPROCS", workers.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("what was just compiled starts");
        let questions = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().expect("it is piped"));
        Self {
            child,
            questions,
            answers,
        }
    }

    fn ask(&mut self, workload: &str, repetitions: u64) -> Run {
        let questions = self.questions.as_mut().expect("it has not ended");
        writeln!(questions, "{workload} {repetitions}").expect("it reads");
        let mut answer = String::new();
        self.answers.read_line(&mut answer).expect("it answers");
        parse(&answer).unwrap_or_else(|| panic!("the Go program said {answer:?} to {workload}"))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.questions.take());
        let _ = self.child.wait();
    }
}

/// A run, from `amount operations`.
fn parse(answer: &str) -> Option<Run> {
    let (amount, operations) = answer.trim().split_once(' ')?;
    Some(Run {
        amount: amount.parse().ok().filter(|amount| *amount > 0.0)?,
        operations: operations.parse().ok().filter(|count| *count > 0)?,
    })
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn an_answer_is_an_amount_and_a_count() {
        let run = parse("1234.500000 1000\n").unwrap();
        assert_eq!((run.amount, run.operations), (1234.5, 1000));
        for wrong in ["", "12", "0 5", "-1 5", "5 0", "5 many", "panic: x y"] {
            assert!(parse(wrong).is_none(), "{wrong:?}");
        }
    }
}

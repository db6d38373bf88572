//! Peers of other languages, each in a process of its own: Go (`go/peer.go`) and oneTBB
//! (`tbb/peer.cpp`). They are compiled if their compilers are installed.
//!
//! The program times itself, so that the communication between the processes is not measured. It
//! waits without taking CPU time while others have their turn. It reads lines with the name of a
//! workload and the number of repetitions, and answers each with a line: the time taken, and the
//! number of operations. Its environment has the number of workers.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;

use crate::harness::{Run, Subject};

/// A peer of another language.
pub(crate) struct Foreign {
    /// The name in tables.
    pub(crate) name: &'static str,
    /// The compiler, and the Debian packages that have it.
    compiler: &'static str,
    packages: &'static str,
    /// Its source, in `benches`.
    source: &'static str,
    /// Arguments of the compiler before `-o PROGRAM SOURCE`, and after.
    before: &'static [&'static str],
    after: &'static [&'static str],
    /// Variables of the compiler's environment.
    environment: &'static [(&'static str, &'static str)],
    /// The variable that gives the number of workers to the program.
    workers: &'static str,
    /// The compiled program, or why there is none.
    program: OnceLock<Result<PathBuf, String>>,
}

pub(crate) static GO: Foreign = Foreign {
    name: "go",
    compiler: "go",
    packages: "golang-go",
    source: "go/peer.go",
    before: &["build"],
    after: &[],
    // The build fetches nothing from the network.
    environment: &[("GOTOOLCHAIN", "local"), ("GO111MODULE", "off")],
    workers: "GOMAXPROCS",
    program: OnceLock::new(),
};

pub(crate) static TBB: Foreign = Foreign {
    name: "oneTBB",
    compiler: "g++",
    packages: "g++ and libtbb-dev",
    source: "tbb/peer.cpp",
    before: &["-std=c++20", "-O3", "-march=native", "-Wall", "-Wextra"],
    after: &["-ltbb", "-pthread"],
    environment: &[],
    workers: "TBB_PEER_WORKERS",
    program: OnceLock::new(),
};

impl Foreign {
    /// Returns the version, or the reason why the peer is not measured.
    pub(crate) fn version(&self) -> String {
        let program = match self.program() {
            Ok(program) => program,
            Err(why) => return format!("not measured: {why}"),
        };
        match Command::new(program).arg("--version").output() {
            Ok(said) => String::from_utf8_lossy(&said.stdout).trim().to_owned(),
            Err(error) => format!("unknown: {error}"),
        }
    }

    /// Returns a subject that runs one of its workloads, or `None` if it cannot be compiled here.
    pub(crate) fn subject(
        &'static self,
        workload: &'static str,
        workers: usize,
    ) -> Option<Subject> {
        self.program().ok()?;
        let mut peer = Peer::start(self, workers);
        Some(Subject {
            name: self.name,
            run: Box::new(move |repetitions| peer.ask(workload, repetitions)),
        })
    }

    /// Returns a subject that takes a reading, each time in a new process, with `size` repetitions.
    pub(crate) fn gauge(
        &'static self,
        reading: &'static str,
        workers: usize,
        size: u64,
    ) -> Option<Subject> {
        self.program().ok()?;
        Some(Subject {
            name: self.name,
            run: Box::new(move |_| Peer::start(self, workers).ask(reading, size)),
        })
    }

    fn program(&self) -> Result<&Path, &str> {
        let program = self.program.get_or_init(|| self.compile());
        program.as_deref().map_err(String::as_str)
    }

    fn compile(&self) -> Result<PathBuf, String> {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let folder = here.join("../target/bench");
        std::fs::create_dir_all(&folder)
            .map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
        let program = folder.join(format!("{}-peer", self.name));
        let output = Command::new(self.compiler)
            .args(self.before)
            .arg("-o")
            .arg(&program)
            .arg(here.join(self.source))
            .args(self.after)
            .envs(self.environment.iter().copied())
            // Go's caches, so that nothing is left outside `target`.
            .env("GOCACHE", folder.join("go-cache"))
            .output()
            .map_err(|error| {
                let Self {
                    compiler, packages, ..
                } = self;
                format!("cannot run `{compiler}`: {error}; Debian has what it takes as {packages}")
            })?;
        if output.status.success() {
            return Ok(program);
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let first = said.lines().find(|line| !line.trim().is_empty());
        let first = first.unwrap_or("the compiler says nothing");
        Err(format!("{first}; it takes Debian's {}", self.packages))
    }
}

/// A running program.
struct Peer {
    name: &'static str,
    child: Child,
    /// Taken when the program should end.
    questions: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Peer {
    fn start(foreign: &Foreign, workers: usize) -> Self {
        let program = foreign.program().expect("asked before");
        let mut child = Command::new(program)
            .env(foreign.workers, workers.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("what was just compiled starts");
        let questions = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().expect("it is piped"));
        Self {
            name: foreign.name,
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
        parse(&answer)
            .unwrap_or_else(|| panic!("{}'s program said {answer:?} to {workload}", self.name))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.questions.take());
        let _ = self.child.wait();
    }
}

/// Reads a run from a line `amount operations`.
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

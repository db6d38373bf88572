//! Counts the words of every text file under a folder, in parallel: each directory and each file is
//! a task, each task counts into a map that no other task uses meanwhile, and the maps are merged
//! at the end.
//!
//! `cargo run --release -p stealyard --example wordcount -- FOLDER [--top N] [--check]`
//!
//! A word is a run of letters, digits and underscores. Files that cannot be read, or are not UTF-8,
//! are reported on standard error and do not stop the count. `--check` counts again on one thread,
//! without the scheduler, and fails unless both agree.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "an example prints"
)]

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use stealyard::{JoinHandle, Scheduler};

/// What was found; the problems are in no particular order.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    counts: HashMap<String, u64>,
    files: u64,
    bytes: u64,
    problems: Vec<String>,
}

impl Tally {
    fn add_text(&mut self, text: &str) {
        self.files += 1;
        self.bytes += text.len() as u64;
        let is_part = |letter: char| letter.is_alphanumeric() || letter == '_';
        for word in text
            .split(|letter| !is_part(letter))
            .filter(|word| !word.is_empty())
        {
            match self.counts.get_mut(word) {
                Some(count) => *count += 1,
                None => drop(self.counts.insert(word.to_owned(), 1)),
            }
        }
    }

    fn add_file(&mut self, path: &Path) {
        match fs::read(path).map(String::from_utf8) {
            Ok(Ok(text)) => self.add_text(&text),
            Ok(Err(error)) => {
                let at = error.utf8_error().valid_up_to();
                self.problems
                    .push(format!("{}: not UTF-8 at byte {at}", path.display()));
            }
            Err(error) => self.problem(path, &error),
        }
    }

    fn problem(&mut self, path: &Path, error: &io::Error) {
        self.problems.push(format!("{}: {error}", path.display()));
    }

    fn merge(&mut self, mut other: Self) {
        // The smaller map moves into the larger one.
        if other.counts.len() > self.counts.len() {
            std::mem::swap(&mut self.counts, &mut other.counts);
        }
        for (word, count) in other.counts {
            *self.counts.entry(word).or_default() += count;
        }
        self.files += other.files;
        self.bytes += other.bytes;
        self.problems.extend(other.problems);
    }
}

/// The folders and files in a folder; symbolic links are not followed, so that no loop is walked.
fn list(path: &Path, tally: &mut Tally) -> (Vec<PathBuf>, Vec<PathBuf>) {
    let (mut folders, mut files) = (Vec::new(), Vec::new());
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) => {
            tally.problem(path, &error);
            return (folders, files);
        }
    };
    for entry in entries {
        match entry.and_then(|entry| Ok((entry.path(), entry.file_type()?))) {
            Ok((path, kind)) if kind.is_dir() => folders.push(path),
            Ok((path, kind)) if kind.is_file() => files.push(path),
            Ok(_) => {}
            Err(error) => tally.problem(path, &error),
        }
    }
    (folders, files)
}

/// One tally for each worker.
struct Tallies(Vec<Mutex<Tally>>);

impl Tallies {
    /// Calls `count` with a tally that no other task uses now. There are as many as workers, and a
    /// task holds one only while it runs, so one is free.
    fn with<R>(&self, count: impl FnOnce(&mut Tally) -> R) -> R {
        loop {
            if let Some(mut tally) = self.0.iter().find_map(|tally| tally.try_lock().ok()) {
                return count(&mut tally);
            }
            std::thread::yield_now(); // another task has just taken the one that was free
        }
    }
}

/// The task of a folder: a task for everything in it, then it waits for them.
fn count_folder(path: PathBuf, tallies: Arc<Tallies>) -> JoinHandle<()> {
    stealyard::spawn(async move {
        let (folders, files) = tallies.with(|tally| list(&path, tally));
        let mut tasks: Vec<JoinHandle<()>> = folders
            .into_iter()
            .map(|folder| count_folder(folder, Arc::clone(&tallies)))
            .collect();
        tasks.extend(files.into_iter().map(|file| {
            let tallies = Arc::clone(&tallies);
            stealyard::spawn(async move { tallies.with(|tally| tally.add_file(&file)) })
        }));
        for task in tasks {
            if let Err(error) = task.await {
                error.resume();
            }
        }
    })
}

fn in_parallel(scheduler: &Scheduler, folder: &Path) -> Result<Tally, stealyard::JoinError> {
    let tallies = (0..scheduler.parallelism()).map(|_| Mutex::default());
    let tallies = Arc::new(Tallies(tallies.collect()));
    let (root, shared) = (folder.to_owned(), Arc::clone(&tallies));
    scheduler.block_on(async move { count_folder(root, shared).await })?;
    let mut total = Tally::default();
    for tally in &tallies.0 {
        let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
        total.merge(std::mem::take(&mut *tally));
    }
    Ok(total)
}

fn one_by_one(folder: &Path) -> Tally {
    let mut tally = Tally::default();
    let mut waiting = vec![folder.to_owned()];
    while let Some(folder) = waiting.pop() {
        let (folders, files) = list(&folder, &mut tally);
        waiting.extend(folders);
        for file in files {
            tally.add_file(&file);
        }
    }
    tally
}

struct Arguments {
    folder: PathBuf,
    top: usize,
    check: bool,
}

fn arguments() -> Result<Arguments, String> {
    let (mut folder, mut top, mut check) = (None, 20, false);
    let mut given = std::env::args_os().skip(1);
    while let Some(argument) = given.next() {
        match argument.to_str() {
            Some("--check") => check = true,
            Some("--top") => {
                let number = given
                    .next()
                    .and_then(|number| number.to_str()?.parse().ok());
                top = number.ok_or("--top wants a number")?;
            }
            Some(other) if other.starts_with("--") => {
                return Err(format!("unknown option {other}"));
            }
            _ if folder.is_none() => folder = Some(PathBuf::from(argument)),
            _ => return Err("one folder at a time".to_owned()),
        }
    }
    let folder = folder.ok_or("which folder?")?;
    Ok(Arguments { folder, top, check })
}

fn report(tally: &Tally, top: usize) {
    let mut words: Vec<(&String, &u64)> = tally.counts.iter().collect();
    words.sort_by_key(|&(word, count)| (std::cmp::Reverse(count), word));
    for (word, count) in words.into_iter().take(top) {
        println!("{count:>10}  {word}");
    }
    for problem in &tally.problems {
        eprintln!("skipped {problem}");
    }
}

fn check(mut tally: Tally, folder: &Path) -> Result<(), String> {
    let began = Instant::now();
    let mut sequential = one_by_one(folder);
    println!("one thread took {:.2?}", began.elapsed());
    tally.problems.sort_unstable();
    sequential.problems.sort_unstable();
    if tally != sequential {
        return Err("the counts differ".to_owned());
    }
    println!("both counts are equal");
    Ok(())
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let scheduler = Scheduler::new()?;
    let began = Instant::now();
    let tally = in_parallel(&scheduler, &arguments.folder)?;
    let took = began.elapsed();
    report(&tally, arguments.top);
    println!(
        "{} files, {} bytes, {} different words, {} skipped; {} workers took {took:.2?}",
        tally.files,
        tally.bytes,
        tally.counts.len(),
        tally.problems.len(),
        scheduler.parallelism()
    );
    if arguments.check {
        check(tally, &arguments.folder)?;
    }
    Ok(())
}

fn main() -> ExitCode {
    let outcome = match arguments() {
        Ok(arguments) => run(&arguments),
        Err(error) => Err(format!("{error}\nusage: wordcount FOLDER [--top N] [--check]").into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

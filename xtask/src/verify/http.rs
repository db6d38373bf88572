//! The example `http` under the load of wrk, on loopback: a run with an error of either side fails.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use crate::run::{self, Outcome};

/// How long the server waits for the load, which takes less, and how long that lasts.
const SERVER_SECONDS: &str = "15";
const LOAD_SECONDS: &str = "10s";

pub(super) fn load() -> Outcome {
    // Its `--version` ends with an error, as of many programs.
    if Command::new("wrk").arg("--version").output().is_err() {
        println!("=== http: SKIPPED: no wrk here (Debian: wrk)");
        return Ok(());
    }
    let mut server = run::cargo();
    server.args(["run", "--release", "--package", "stealyard"]);
    server.args(["--features", "hyper", "--example", "http", "--"]);
    server.args(["127.0.0.1:0", "--seconds", SERVER_SECONDS]);
    println!("\n=== http: {}", run::shown(&server));
    let mut server = server
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("http: the server cannot be started: {error}"))?;
    let mut said = BufReader::new(server.stdout.take().expect("it is piped")).lines();
    // "http://127.0.0.1:PORT/ on N workers"
    let first = said.next().and_then(Result::ok).unwrap_or_default();
    let Some(url) = first
        .split(' ')
        .next()
        .filter(|url| url.starts_with("http://"))
    else {
        return Err(format!(
            "http: the server said {first:?} instead of its address"
        ));
    };
    let loaded = Command::new("wrk")
        .args([
            "--threads",
            "2",
            "--connections",
            "64",
            "--duration",
            LOAD_SECONDS,
            url,
        ])
        .output()
        .map_err(|error| format!("http: wrk cannot be started: {error}"))?;
    let report = String::from_utf8_lossy(&loaded.stdout).into_owned();
    print!("{report}");
    for line in said.map_while(Result::ok) {
        println!("{line}");
    }
    let ended = server.wait().map_err(|error| format!("http: {error}"))?;
    match complaint(&report) {
        _ if !loaded.status.success() => Err(format!("http: wrk failed: {}", loaded.status)),
        Some(line) => Err(format!("http: wrk says {line:?}")),
        None if ended.success() => Ok(()),
        None => Err(format!("http: the server counted errors: {ended}")),
    }
}

/// Returns what wrk has to say of errors, or that it did nothing.
fn complaint(report: &str) -> Option<String> {
    let errors = ["Socket errors", "Non-2xx"];
    let bad = |line: &&str| errors.iter().any(|error| line.contains(error));
    if let Some(line) = report.lines().find(bad) {
        return Some(line.trim().to_owned());
    }
    let requests = report.lines().find(|line| line.contains(" requests in "));
    let count = requests.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok());
    match count {
        Some(1..) => None,
        _ => Some("no requests".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::complaint;

    #[test]
    fn errors_and_idleness_are_heard() {
        let good = "  2 threads and 64 connections\n  602896 requests in 10.10s, 71.87MB read\n";
        assert_eq!(complaint(good), None);
        let errors = format!("{good}  Socket errors: connect 0, read 3, write 0, timeout 0\n");
        assert!(complaint(&errors).is_some_and(|line| line.contains("read 3")));
        assert!(complaint(&format!("{good}  Non-2xx or 3xx responses: 5\n")).is_some());
        assert!(complaint("  0 requests in 10.10s, 0.00B read\n").is_some());
        assert!(complaint("").is_some());
    }
}

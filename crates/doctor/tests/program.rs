//! Goal: every argument has its answer, on the standard output, and a failure its exit status.
//! Method: the program itself, on this machine and on described ones.

use std::process::{Command, Output};

fn doctor(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stealyard-doctor"));
    command
        .args(arguments)
        .output()
        .expect("the program was built")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

const MACHINE: &str = "pack:2 [numa] l3:1 core:2 pu:2";

#[test]
fn arguments_and_their_answers() {
    for (arguments, said) in [
        (vec!["--synthetic", MACHINE], "Machine (described as"),
        (
            vec!["--synthetic", MACHINE, "--placement", "spread"],
            "bound to CPU 4, node 1",
        ),
        (
            vec!["--synthetic", MACHINE, "--explain", "compact"],
            "Levels here, from the outside in",
        ),
        (
            vec!["--synthetic", MACHINE, "--json"],
            "{\"allowed\":\"0-7\"",
        ),
        (vec!["--help"], "--explain <PLACEMENT>"),
    ] {
        let output = doctor(&arguments);
        let text = text(&output);
        assert!(
            output.status.success() && text.contains(said),
            "{arguments:?}:\n{text}"
        );
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_process_and_a_probe_on_this_machine() {
    let this = std::process::id().to_string();
    let output = doctor(&["--pid", &this]);
    let shown = text(&output);
    assert!(
        output.status.success() && shown.contains(&format!("Process {this}")),
        "{shown}"
    );
    let output = doctor(&["--probe", "--placement", "compact", "--workers", "1"]);
    let shown = text(&output);
    assert!(
        output.status.success() && shown.contains("a thread there has CPU"),
        "{shown}"
    );
}

#[test]
fn a_drawing_is_written() {
    let file = std::env::temp_dir().join(format!("stealyard-doctor-{}.svg", std::process::id()));
    let output = doctor(&["--synthetic", MACHINE, "--svg", &file.display().to_string()]);
    let drawing = std::fs::read_to_string(&file).expect("it was written");
    std::fs::remove_file(&file).expect("it is there");
    assert!(
        output.status.success() && drawing.starts_with("<svg"),
        "{}",
        text(&output)
    );
}

#[test]
fn failures_have_a_status_and_a_reason() {
    for (arguments, said) in [
        (
            vec!["--synthetic", "warp:2"],
            "synthetic topology, at byte 0",
        ),
        (
            vec!["--sysfs", "/nonexistent"],
            "/nonexistent/sys/devices/system/cpu/online: there is no such file",
        ),
        (
            vec![
                "--synthetic",
                MACHINE,
                "--placement",
                "one-per-core",
                "--workers",
                "5",
            ],
            "there are 4",
        ),
        (
            vec!["--pid", "4294967295"],
            "process 4294967295 cannot be read",
        ),
        (
            vec!["--synthetic", MACHINE, "--probe"],
            "--probe binds threads of this machine",
        ),
    ] {
        let output = doctor(&arguments);
        let text = text(&output);
        assert!(
            !output.status.success() && text.contains(said),
            "{arguments:?}:\n{text}"
        );
    }
}

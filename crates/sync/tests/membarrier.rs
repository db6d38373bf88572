//! Goal: the environment and the kernel choose the mode of the asymmetric fence, and a refusal is
//! never silent where the user insisted.
//!
//! Method: the mode is chosen once in a process, so each case runs in a child: this test program,
//! started again with one ignored test selected. A seccomp filter makes the kernel forbid
//! membarrier, as container sandboxes do.
#![cfg(all(target_os = "linux", not(stealyard_loom), not(stealyard_shuttle)))]

use std::process::{Command, Output};

use stealyard_sync::asymmetric::{self, Mode};

fn child(case: &str, wish: Option<&str>) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", case, "--ignored", "--nocapture"])
        .env_remove("STEALYARD_MEMBARRIER");
    if let Some(wish) = wish {
        command.env("STEALYARD_MEMBARRIER", wish);
    }
    command.output().unwrap()
}

fn assert_mode(output: &Output, expected: Mode) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    assert!(
        text.contains(&format!("mode {expected:?}")),
        "wanted {expected:?}: {text}"
    );
}

#[test]
fn off_selects_fences() {
    assert_mode(&child("case_as_it_is", Some("off")), Mode::Fence);
}

#[test]
fn a_forbidden_system_call_selects_fences() {
    assert_mode(&child("case_forbidden", None), Mode::Fence);
    assert_mode(&child("case_forbidden", Some("auto")), Mode::Fence);
}

#[test]
fn insisting_on_a_forbidden_membarrier_is_an_error_that_says_so() {
    let output = child("case_forbidden", Some("on"));
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(
        text.contains("STEALYARD_MEMBARRIER=on, but the kernel refuses it"),
        "{text}"
    );
}

#[test]
fn an_unknown_value_is_an_error_that_names_it() {
    let output = child("case_as_it_is", Some("perhaps"));
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(
        text.contains("STEALYARD_MEMBARRIER=\"perhaps\" is not understood"),
        "{text}"
    );
}

#[test]
fn a_sandbox_entered_later_ends_the_program_and_not_the_ordering() {
    if asymmetric::mode() == Mode::Fence {
        eprintln!("skipped: membarrier is not available here");
        return;
    }
    let output = child("case_forbidden_later", None);
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(
        text.contains("membarrier was allowed at start and fails now"),
        "{text}"
    );
}

#[test]
#[ignore = "a child of the tests above"]
fn case_as_it_is() {
    eprintln!("mode {:?}", asymmetric::mode());
    asymmetric::light();
    asymmetric::heavy();
}

#[test]
#[ignore = "a child of the tests above"]
fn case_forbidden() {
    forbid_membarrier();
    case_as_it_is();
}

#[test]
#[ignore = "a child of the tests above"]
fn case_forbidden_later() {
    case_as_it_is();
    forbid_membarrier();
    asymmetric::heavy();
}

/// Makes membarrier fail with EPERM in this thread from here on.
fn forbid_membarrier() {
    // Classic BPF: load the number of the system call, compare it, answer.
    const LOAD_WORD: u16 = 0x20;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let mut filter = [
        step(LOAD_WORD, 0, 0, 0),
        step(
            JUMP_IF_EQUAL,
            0,
            1,
            u32::try_from(libc::SYS_membarrier).unwrap(),
        ),
        step(
            RETURN,
            0,
            0,
            libc::SECCOMP_RET_ERRNO | libc::EPERM.cast_unsigned(),
        ),
        step(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog {
        len: u16::try_from(filter.len()).unwrap(),
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: 1. prctl takes integers here and touches no memory of ours.
    let granted = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    assert_eq!(
        granted,
        0,
        "no_new_privs: {}",
        std::io::Error::last_os_error()
    );
    // SAFETY: 1. `program` and the filter that it points to live until the call returns, and the
    // call copies them.
    let installed = unsafe {
        libc::prctl(
            libc::PR_SET_SECCOMP,
            libc::SECCOMP_MODE_FILTER,
            &raw const program,
        )
    };
    assert_eq!(installed, 0, "seccomp: {}", std::io::Error::last_os_error());
}

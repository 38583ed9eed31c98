//! Which platforms there are, and what `forkvm doctor` says of this machine.

use forkvm_tests::host::{self, HostKind, platforms};
use forkvm_tests::{Platform, Vm, forkvm};
use serde_json::Value;
use std::process::{Command, Output};

fn run(words: &[&str]) -> Output {
    Command::new(forkvm())
        .args(words)
        .output()
        .expect("forkvm can be run")
}

#[test]
fn doctor_says_that_forkvm_can_run_here_and_how() {
    if platforms().is_empty() {
        return;
    }
    let doctor = run(&["doctor"]);
    let text = String::from_utf8_lossy(&doctor.stdout);
    assert_eq!(doctor.status.code(), Some(0), "{text}");
    let kind = match host::kind() {
        HostKind::Hardware => "hardware",
        HostKind::SoftwareAssisted => "software-assisted",
    };
    assert!(text.contains(kind) && text.contains("can run"), "{text}");
}

#[test]
fn doctors_json_agrees_with_its_words() {
    if platforms().is_empty() {
        return;
    }
    let doctor = run(&["doctor", "--json"]);
    assert_eq!(doctor.status.code(), Some(0));
    let findings: Value = serde_json::from_slice(&doctor.stdout).expect("one JSON object");
    assert_eq!(findings["ok"], true, "{findings}");
    assert_eq!(
        findings["obstacles"],
        Value::Array(Vec::new()),
        "{findings}"
    );
    let expected = match host::kind() {
        HostKind::Hardware => "ring0",
        HostKind::SoftwareAssisted => "monitor",
    };
    assert_eq!(findings["platform"], expected, "{findings}");
}

#[test]
fn without_a_choice_the_best_platform_is_taken() {
    let Some(best) = platforms().first() else {
        return;
    };
    let finished = run(&["run", "--json", "hello"]);
    let summary: Value = serde_json::from_slice(&finished.stdout).expect("one JSON object");
    assert_eq!(summary["platform"], best.name(), "{summary}");
}

#[test]
fn a_chosen_platform_is_the_one_used() {
    for platform in platforms() {
        let finished = run(&["run", "--json", "--platform", platform.name(), "hello"]);
        let summary: Value = serde_json::from_slice(&finished.stdout).expect("one JSON object");
        assert_eq!(summary["platform"], platform.name(), "{summary}");
    }
}

#[test]
fn ring0_is_refused_with_a_sentence_where_ring_0_is_emulated() {
    if platforms().is_empty() || host::kind() == HostKind::Hardware {
        return;
    }
    let refused = Vm::new(Platform::Ring0).run("hello", &[""; 0]);
    assert_eq!(
        (refused.status, refused.text().as_str()),
        (125, ""),
        "{refused}"
    );
    assert!(refused.errors().contains("software-assisted"), "{refused}");
    assert!(!refused.errors().contains("panic"), "{refused}");
}

#[test]
fn an_unknown_platform_is_125() {
    let finished = run(&["run", "--platform", "ring7", "hello"]);
    assert_eq!(finished.status.code(), Some(125));
}

#[test]
fn help_and_version_are_for_standard_output() {
    for words in [
        &["--help"][..],
        &["--version"],
        &["run", "--help"],
        &["doctor", "--help"],
    ] {
        let help = run(words);
        assert_eq!(help.status.code(), Some(0), "{words:?}");
        assert!(
            !help.stdout.is_empty() && help.stderr.is_empty(),
            "{words:?}"
        );
    }
}

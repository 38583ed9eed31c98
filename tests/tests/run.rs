//! `forkvm run`: arguments, environment, standard input, output and error, exit status.

use forkvm_tests::{Comparison, on_each_platform, program};
use std::io::{BufRead, BufReader, Read, Write};
use std::process::Stdio;

#[test]
fn arguments_reach_the_program() {
    let finished = Comparison::of(
        "exec",
        &["show", "x", "", "two words", "-m", "--", "--help"],
    )
    .check();
    assert!(finished.text().contains("argv[7] = --help\n"), "{finished}");
}

#[test]
fn a_double_dash_behind_the_program_only_separates() {
    on_each_platform(|vm| {
        let finished = vm.run(program("exec"), &["--", "show", "--", "x"]);
        assert!(
            finished
                .text()
                .contains("argv[1] = show\nargv[2] = --\nargv[3] = x\nargv[4] = NULL\n"),
            "{finished}"
        );
    });
}

#[test]
fn the_environment_is_path_and_what_e_says() {
    on_each_platform(|vm| {
        let finished = vm
            .options(["-e", "A=1", "-e", "EMPTY=", "-e", "A=2"])
            .run(program("exec"), &["show"]);
        let text = finished.text();
        let mut variables: Vec<&str> = text
            .lines()
            .filter(|line| line.starts_with("envp"))
            .filter_map(|line| line.split_once(" = "))
            .map(|(_, value)| value)
            .collect();
        variables.sort_unstable();
        assert_eq!(variables, ["A=2", "EMPTY=", "PATH=/bin"], "{finished}");
    });
}

#[test]
fn the_first_argument_is_the_program_as_it_was_named() {
    on_each_platform(|vm| {
        let path = program("exec");
        let finished = vm.run(&path, &["show"]);
        assert!(
            finished
                .text()
                .starts_with(&format!("argv[0] = {}\n", path.display())),
            "{finished}"
        );
    });
}

#[test]
fn every_exit_status_is_passed_on() {
    on_each_platform(|vm| {
        for status in ["0", "1", "2", "7", "124", "125", "126", "127", "128", "255"] {
            let finished = vm.run(program("rust-std"), &["exit", status]);
            assert_eq!(finished.status.to_string(), status, "{finished}");
        }
    });
}

#[test]
fn death_by_a_signal_is_128_and_its_number() {
    on_each_platform(|vm| {
        assert_eq!(
            vm.run(program("signals"), &["died_by_a_signal_itself"])
                .status,
            128 + 15
        );
        assert_eq!(
            vm.run(program("signals"), &["fault_of_its_own"]).status,
            128 + 11
        );
    });
}

#[test]
fn standard_output_and_error_are_kept_apart() {
    Comparison::of("stream", &["both"]).check();
}

#[test]
fn large_output_arrives_whole() {
    let finished = Comparison::of("stream", &["large"]).check();
    assert_eq!(finished.stdout.len(), 8 << 20);
}

#[test]
fn binary_data_passes_unchanged_in_both_directions() {
    let bytes: Vec<u8> = (0..100_000_u32)
        .flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect();
    let finished = Comparison::of("stream", &["copy"]).input(&bytes).check();
    assert!(finished.stdout == bytes);
}

#[test]
fn an_empty_input_is_the_end_of_file_at_once() {
    Comparison::of("stream", &["copy"]).check();
}

#[test]
fn input_that_nobody_reads_is_left_alone() {
    Comparison::of("stream", &["ignore"])
        .input(&vec![b'x'; 1 << 20])
        .check();
}

#[test]
fn a_child_reads_what_its_parent_has_left() {
    Comparison::of("stream", &["share"])
        .input(b"first line\nsecond line\nthird line\n")
        .check();
}

#[test]
fn standard_descriptors_are_no_terminal_here() {
    Comparison::of("stream", &["kinds"]).check();
}

#[test]
fn a_closed_output_kills_the_writer_as_a_broken_pipe_does() {
    on_each_platform(|vm| {
        let mut command = vm.command(program("stream"), &["endless"]);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("forkvm starts");
        let mut first = [0; 8];
        child
            .stdout
            .take()
            .expect("stdout is a pipe")
            .read_exact(&mut first)
            .expect("the first line");
        assert_eq!(&first, b"endless\n");
        // The pipe is closed by now, as `| head -1` would.
        let status = child.wait().expect("forkvm ends");
        assert_eq!(status.code(), Some(128 + 13), "SIGPIPE");
    });
}

#[test]
fn output_of_a_program_that_goes_on_is_seen_at_once() {
    on_each_platform(|vm| {
        // The program answers each line before it gets the next one: nothing may wait in a buffer.
        let mut command = vm.command(program("stream"), &["converse"]);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("forkvm starts");
        let mut to = child.stdin.take().expect("stdin is a pipe");
        let mut from = child.stdout.take().expect("stdout is a pipe");
        for round in 0..10_u8 {
            to.write_all(&[b'a' + round, b'\n'])
                .expect("the program reads");
            let mut answer = [0; 2];
            from.read_exact(&mut answer).expect("the program answers");
            assert_eq!(answer, [b'A' + round, b'\n']);
        }
        drop(to);
        assert_eq!(child.wait().expect("forkvm ends").code(), Some(10));
    });
}

#[test]
fn output_of_a_program_that_computes_is_seen_while_it_does() {
    on_each_platform(|vm| {
        // It would compute for ever. What it wrote before must not wait for its end.
        let mut command = vm.options(["--timeout", "20"]).command("spin", &[""; 0]);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("forkvm starts");
        let mut line = String::new();
        let mut from = BufReader::new(child.stdout.take().expect("stdout is a pipe"));
        from.read_line(&mut line).expect("a pipe can be read");
        let still_runs = child
            .try_wait()
            .expect("a child can be asked for")
            .is_none();
        child.kill().expect("forkvm can be killed");
        child.wait().expect("and waited for");
        assert_eq!((line.as_str(), still_runs), ("pid 2 spins\n", true));
    });
}

#[test]
fn the_output_of_children_that_outlive_the_first_program_is_waited_for() {
    on_each_platform(|vm| {
        let finished = vm.run(program("stream"), &["leave_a_child"]);
        assert_eq!(
            (finished.status, finished.text().as_str()),
            (5, "parent\nchild\n"),
            "{finished}"
        );
    });
}

#[test]
fn json_is_the_only_thing_on_standard_output_when_asked_for() {
    on_each_platform(|vm| {
        let finished = vm.options(["--json"]).run("hello", &[""; 0]);
        let summary: serde_json::Value = serde_json::from_slice(&finished.stdout)
            .unwrap_or_else(|error| panic!("{error}: {finished}"));
        assert_eq!(summary["status"], 0);
        assert!(
            finished.errors().contains("hello from ring 3\n"),
            "{finished}"
        );
    });
}

//! What is not a program, programs that ask for too much, and programs that misbehave: always an exit status
//! and a sentence, never a panic.

use forkvm_tests::elf::{BASE, Elf, INTERP, LOAD, Segment, TemporaryFile};
use forkvm_tests::host::platforms;
use forkvm_tests::{Comparison, Finished, Vm, on_each_platform, program};
use std::path::Path;

const NONE: [&str; 0] = [];

/// One line on standard error, with nothing of our own failures in it.
fn assert_sentence(finished: &Finished, status: i32) {
    let errors = finished.errors();
    assert_eq!(
        (finished.status, finished.text().as_str()),
        (status, ""),
        "{finished}"
    );
    assert_eq!(errors.lines().count(), 1, "one sentence: {finished}");
    assert!(
        errors.starts_with("forkvm: ") && errors.len() > 30,
        "{finished}"
    );
    assert!(
        !errors.contains("panicked") && !errors.contains("os error"),
        "{finished}"
    );
}

/// For what is refused before there is a VM: once is enough.
fn on_any_platform(test: impl FnOnce(Vm)) {
    if let Some(&platform) = platforms().first() {
        test(Vm::new(platform));
    }
}

fn refused(vm: &Vm, path: &Path) -> Finished {
    let finished = vm.run(path, &NONE);
    assert_sentence(&finished, 126);
    finished
}

fn assert_refused(elf: &Elf, word: &str) {
    on_any_platform(|vm| {
        let finished = refused(&vm, elf.write().path());
        assert!(
            finished.errors().contains(word),
            "the sentence should say {word:?}: {finished}"
        );
    });
}

// --- files that are no programs

#[test]
fn the_program_that_the_bad_ones_are_made_from_is_good() {
    let file = Elf::good().write();
    let finished = Comparison::of_path(file.path(), &[]).check();
    assert_eq!(finished.status, 7, "{finished}");
}

#[test]
fn a_missing_file_is_127() {
    on_any_platform(|vm| {
        for path in [
            "./no-such-program",
            "/no/such/folder/program",
            "/dev/null/x",
            "no-such-app",
            "",
        ] {
            assert_sentence(&vm.run(path, &NONE), 127);
        }
    });
}

#[test]
fn folders_and_devices_are_126() {
    on_any_platform(|vm| {
        refused(&vm, Path::new("/"));
        refused(&vm, Path::new("/dev/null"));
    });
}

#[test]
fn a_file_without_execute_permission_is_126() {
    let file = TemporaryFile::with_mode(&Elf::good().bytes(), 0o644);
    on_any_platform(|vm| assert!(refused(&vm, file.path()).errors().contains("executable")));
}

#[test]
fn files_of_other_kinds_are_126() {
    for contents in [
        &b""[..],
        b"\n",
        b"just text\n",
        b"\x7fELF",
        b"\x7fEL",
        b"MZ\x90\0",
        &[0; 4096],
        &[0xff; 4096],
    ] {
        let file = TemporaryFile::executable(contents);
        on_any_platform(|vm| drop(refused(&vm, file.path())));
    }
}

#[test]
fn a_script_whose_interpreter_is_not_in_the_guest_is_126() {
    let file = TemporaryFile::executable(b"#!/usr/bin/no-such-interpreter\n");
    on_any_platform(|vm| {
        assert!(
            refused(&vm, file.path())
                .errors()
                .contains("no-such-interpreter")
        )
    });
}

#[test]
fn a_program_cut_off_anywhere_is_126() {
    let whole = Elf::good().bytes();
    let headers = 64 + 4 * 56;
    on_any_platform(|vm| {
        for length in (0..headers).step_by(8).chain(headers..whole.len()) {
            refused(&vm, TemporaryFile::executable(&whole[..length]).path());
        }
    });
}

#[test]
fn programs_for_other_machines_are_126() {
    assert_refused(
        &Elf {
            class: 1,
            ..Elf::good()
        },
        "32-bit",
    );
    assert_refused(
        &Elf {
            machine: 3,
            ..Elf::good()
        },
        "machine",
    );
    assert_refused(
        &Elf {
            machine: 183,
            ..Elf::good()
        },
        "machine",
    );
    assert_refused(
        &Elf {
            machine: 243,
            ..Elf::good()
        },
        "machine",
    );
    assert_refused(
        &Elf {
            class: 9,
            ..Elf::good()
        },
        "",
    );
    assert_refused(
        &Elf {
            data: 2,
            ..Elf::good()
        },
        "",
    );
}

#[test]
fn object_files_and_core_files_are_126() {
    for kind in [0, 1, 4, 0xffff] {
        assert_refused(
            &Elf {
                kind,
                ..Elf::good()
            },
            "not a program",
        );
    }
}

#[test]
fn dynamic_programs_are_126_and_name_their_interpreter() {
    let mut elf = Elf::with_segment(Segment {
        kind: INTERP,
        flags: 4,
        offset: 0,
        address: 0,
        file_size: 28,
        memory_size: 28,
        align: 1,
    });
    elf.segments[1].offset = 64 + 4 * 56 + elf.contents.len() as u64;
    elf.contents.extend(b"/lib64/ld-linux-x86-64.so.2\0");
    assert_refused(&elf, "/lib64/ld-linux-x86-64.so.2");
}

// --- segments that cannot be

/// A second segment at this address, of this size.
fn segment(address: u64, memory_size: u64) -> Segment {
    Segment {
        kind: LOAD,
        flags: 6,
        offset: 0,
        address,
        file_size: 0,
        memory_size,
        align: 0x1000,
    }
}

#[test]
fn segments_in_the_kernels_half_are_126() {
    for address in [
        0xffff_8000_0000_0000,
        0xffff_ffff_8000_0000,
        0xffff_ffff_ffff_f000,
        0x8000_0000_0000,
        0x7fff_ffff_f000,
    ] {
        assert_refused(&Elf::with_segment(segment(address, 0x1000)), "");
    }
}

#[test]
fn segments_that_reach_beyond_user_space_are_126() {
    for memory_size in [
        1 << 47,
        1 << 63,
        u64::MAX,
        u64::MAX - BASE,
        0x7fff_ffff_f000,
    ] {
        assert_refused(
            &Elf::with_segment(segment(BASE + 0x10_0000, memory_size)),
            "",
        );
    }
}

#[test]
fn overlapping_segments_are_126() {
    assert_refused(&Elf::with_segment(segment(BASE, 0x1000)), "");
    let mut elf = Elf::with_segment(segment(BASE + 0x1000, 0x3000));
    elf.segments.push(segment(BASE + 0x2000, 0x3000));
    assert_refused(&elf, "");
}

#[test]
fn segments_that_need_more_of_the_file_than_there_is_are_126() {
    for (offset, file_size) in [
        (0, 0x10_0000),
        (0x10_0000, 0x1000),
        (u64::MAX - 0xfff, 0x1000),
        (0, u64::MAX),
    ] {
        let wrong = Segment {
            offset,
            file_size,
            memory_size: file_size,
            ..segment(BASE + 0x10_0000, 0)
        };
        assert_refused(&Elf::with_segment(wrong), "");
    }
}

#[test]
fn segments_larger_in_the_file_than_in_memory_are_126() {
    assert_refused(
        &Elf::with_segment(Segment {
            file_size: 200,
            ..segment(BASE + 0x10_0000, 100)
        }),
        "",
    );
}

#[test]
fn segments_at_an_address_that_does_not_fit_their_offset_are_126() {
    assert_refused(
        &Elf::with_segment(Segment {
            offset: 8,
            file_size: 8,
            ..segment(BASE + 0x10_0000, 100)
        }),
        "",
    );
}

#[test]
fn program_headers_that_are_not_there_are_126() {
    assert_refused(
        &Elf {
            header_count: Some(0),
            ..Elf::good()
        },
        "",
    );
    assert_refused(
        &Elf {
            header_count: Some(0xffff),
            ..Elf::good()
        },
        "",
    );
    assert_refused(
        &Elf {
            header_size: 32,
            ..Elf::good()
        },
        "",
    );
    assert_refused(
        &Elf {
            header_offset: 1 << 20,
            ..Elf::good()
        },
        "",
    );
    assert_refused(
        &Elf {
            header_offset: u64::MAX,
            ..Elf::good()
        },
        "",
    );
    assert_refused(
        &Elf {
            segments: Vec::new(),
            ..Elf::good()
        },
        "",
    );
}

#[test]
fn an_entry_point_that_leads_nowhere_is_sigsegv_as_on_linux() {
    for entry in [0x10, BASE + 0x100_0000, 0x7fff_ffff_e000] {
        let file = Elf {
            entry,
            ..Elf::good()
        }
        .write();
        assert_eq!(Comparison::of_path(file.path(), &[]).check().status, 139);
    }
}

#[test]
fn headers_with_random_bytes_never_make_forkvm_fail() {
    let good = Elf::good().bytes();
    let mut seed = 20_u64;
    let mut random = |below: usize| {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).expect("31 bits") % below
    };
    for _ in 0..40 {
        let mut bytes = good.clone();
        for _ in 0..=random(3) {
            let at = 4 + random(64 + 56 - 4);
            bytes[at] = random(256).to_le_bytes()[0];
        }
        let file = TemporaryFile::executable(&bytes);
        on_each_platform(|vm| {
            let finished = vm.options(["--timeout", "20"]).run(file.path(), &NONE);
            let ended_well = [7, 126, 132, 135, 139].contains(&finished.status);
            assert!(
                ended_well && !finished.errors().contains("panicked"),
                "{:?}: {finished}",
                &bytes[..120]
            );
        });
    }
}

// --- too little memory

#[test]
fn a_memory_size_that_makes_no_sense_is_125() {
    on_any_platform(|vm| {
        for size in ["0", "1K", "x", "-1", "64MB!", "99999999999999999999G", ""] {
            let finished = vm.clone().options(["-m", size]).run("hello", &NONE);
            assert_eq!(
                (finished.status, finished.text().as_str()),
                (125, ""),
                "{size}: {finished}"
            );
            assert!(
                !finished.errors().is_empty() && !finished.errors().contains("panicked"),
                "{size}: {finished}"
            );
        }
    });
}

#[test]
fn a_program_larger_than_the_memory_is_refused_or_killed_and_said_so() {
    let large = Segment {
        kind: LOAD,
        flags: 6,
        offset: 0,
        address: 0x1000_0000,
        file_size: 0,
        memory_size: 1 << 40,
        align: 0x1000,
    };
    let file = Elf::with_segment(large).write();
    on_each_platform(|vm| {
        let finished = vm.options(["-m", "16M"]).run(file.path(), &NONE);
        // Memory is given out as it is touched, so the program may as well run.
        assert!([7, 126, 137].contains(&finished.status), "{finished}");
    });
}

/// Runs a case of `hostile` in a small VM.
fn hostile(vm: &Vm, case: &str) -> Finished {
    let finished = vm
        .clone()
        .options(["-m", "32M"])
        .run(program("hostile"), &[case]);
    assert!(
        finished.status != 125 && !finished.errors().contains("panicked"),
        "{finished}"
    );
    finished
}

#[test]
fn a_program_that_eats_all_memory_is_told_or_killed_and_that_is_said() {
    on_each_platform(|vm| {
        let finished = hostile(&vm, "memory");
        assert!([50, 137].contains(&finished.status), "{finished}");
        if finished.status == 137 {
            assert!(
                finished.errors().to_lowercase().contains("memory"),
                "{finished}"
            );
        }
    });
}

#[test]
fn a_child_that_eats_all_memory_leaves_its_parent_whole() {
    on_each_platform(|vm| {
        let finished = hostile(&vm, "memory_by_a_child");
        let expected = "child: ended because memory did\n".repeat(3)
            + "a child that asks for little: exited with 0 (0)\n";
        assert_eq!(
            (finished.status, finished.text()),
            (0, expected),
            "{finished}"
        );
    });
}

#[test]
fn copies_that_do_not_fit_end_somebody_but_not_the_kernel() {
    on_each_platform(|vm| {
        let finished = vm
            .options(["-m", "32M", "--exit-with-first", "--timeout", "30"])
            .run(program("hostile"), &["memory_by_copies"]);
        assert!([0, 137].contains(&finished.status), "{finished}");
    });
}

#[test]
fn page_tables_that_do_not_fit_end_the_program_but_not_the_kernel() {
    on_each_platform(|vm| assert_eq!(hostile(&vm, "page_tables").status, 137));
}

#[test]
fn mappings_have_an_end() {
    on_each_platform(|vm| {
        let finished = hostile(&vm, "mappings");
        let expected =
            "more than a thousand: 1, then: Cannot allocate memory\nchild: exited with 3 (0x300)\n";
        assert_eq!(
            (finished.status, finished.text().as_str()),
            (0, expected),
            "{finished}"
        );
    });
}

#[test]
fn pipes_have_an_end() {
    on_each_platform(|vm| {
        let status = hostile(&vm, "pipes").status;
        assert!([0, 137].contains(&status), "{status}");
    });
}

#[test]
fn processes_have_an_end() {
    on_each_platform(|vm| {
        let finished = hostile(&vm, "processes");
        let text = finished.text();
        assert!(
            text.starts_with("more than a hundred: 1, then: "),
            "{finished}"
        );
        assert!(
            text.ends_with("made = 0\none more: exited with 1 (0x100)\n"),
            "{finished}"
        );
    });
}

#[test]
fn zombies_count_as_processes_until_they_are_reaped() {
    on_each_platform(|vm| {
        let finished = hostile(&vm, "zombies");
        assert!(finished.text().ends_with("made = 0\n"), "{finished}");
    });
}

#[test]
fn the_kernels_memory_is_out_of_reach() {
    Comparison::of("hostile", &["reads_all_over_the_kernel"]).check();
}

// --- programs that do not end

#[test]
fn an_endless_loop_ends_at_the_timeout_with_124() {
    on_each_platform(|vm| {
        for case in ["loop", "system_call_loop"] {
            let finished = vm
                .clone()
                .options(["--timeout", "1"])
                .run(program("hostile"), &[case]);
            assert_eq!(finished.status, 124, "{finished}");
        }
    });
}

#[test]
fn a_program_that_waits_for_ever_ends_at_the_timeout_with_124() {
    on_each_platform(|vm| {
        let finished = vm.options(["--timeout", "1"]).run("spin", &["2"]);
        assert_eq!(finished.status, 124, "{finished}");
        assert_eq!(
            finished.text().lines().count(),
            3,
            "what was written before is not lost: {finished}"
        );
    });
}

#[test]
fn a_fork_bomb_ends_with_the_vm() {
    on_each_platform(|vm| {
        let finished = vm
            .options(["--timeout", "3"])
            .run(program("hostile"), &["fork_bomb"]);
        assert_eq!(finished.status, 124, "{finished}");
    });
}

// --- the command line

#[test]
fn bad_options_of_run_are_125() {
    on_any_platform(|vm| {
        for options in [
            &["--no-such-option"][..],
            &["--timeout", "soon"],
            &["--timeout", "-1"],
            &["--memory"],
        ] {
            let finished = vm
                .clone()
                .options(options.iter().copied())
                .run("hello", &NONE);
            assert_eq!(
                (finished.status, finished.text().as_str()),
                (125, ""),
                "{options:?}: {finished}"
            );
        }
    });
}

#[test]
fn unknown_system_calls_are_named_once_with_v() {
    on_each_platform(|vm| {
        let finished = vm
            .options(["-v"])
            .run(program("identity"), &["unknown_system_calls"]);
        assert_eq!(finished.errors().matches("9999").count(), 1, "{finished}");
    });
}

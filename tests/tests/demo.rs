//! The main job: forkdemo shows fork from beginning to end, and the host shows the page frames.

use forkvm_tests::{Vm, on_each_platform};
use std::collections::HashMap;

/// The demo's output, its own lines and the host's in the order they were written.
fn demo(vm: Vm) -> String {
    let finished = vm.merged().run("guest-apps/forkdemo", &[""; 0]);
    assert_eq!(finished.status, 0, "{finished}");
    finished.text()
}

/// One numbered step of the output.
fn step(text: &str, number: u32) -> Vec<&str> {
    let title = format!("{number}. ");
    let lines: Vec<&str> = text
        .lines()
        .skip_while(|line| !line.starts_with(&title))
        .skip(1)
        .collect();
    assert!(!lines.is_empty(), "there is no step {number} in:\n{text}");
    lines
        .into_iter()
        .take_while(|line| !line.is_empty())
        .collect()
}

/// What the host said of the variable: pid, address, frame, and the rest of the line.
#[derive(Debug, PartialEq, Eq)]
struct Sighting {
    pid: u32,
    address: String,
    frame: String,
    rights: String,
}

/// `host: pid 2  0x208000 -> frame 0x4aa000  R-- COW  2 references`
fn sightings(lines: &[&str]) -> Vec<Sighting> {
    let host_lines = lines
        .iter()
        .filter_map(|line| line.trim_start().strip_prefix("host: pid "));
    host_lines
        .map(|line| {
            let mut words = line.split_whitespace().map(str::to_owned);
            let mut next = || words.next().unwrap_or_else(|| panic!("too short: {line}"));
            let (pid, address, arrow, frame_word, frame) = (next(), next(), next(), next(), next());
            assert_eq!(
                (arrow.as_str(), frame_word.as_str()),
                ("->", "frame"),
                "{line}"
            );
            let rights = words.collect::<Vec<_>>().join(" ");
            Sighting {
                pid: pid.parse().expect("a pid"),
                address,
                frame,
                rights,
            }
        })
        .collect()
}

#[test]
fn forkdemo_tells_the_whole_story_in_order() {
    on_each_platform(|vm| {
        let text = demo(vm);
        let own: String = text
            .lines()
            .filter(|line| !line.trim_start().starts_with("host: "))
            .flat_map(|line| [line, "\n"])
            .collect();
        let address = own
            .split("the variable at ")
            .nth(1)
            .and_then(|rest| rest.split(' ').next())
            .expect("an address");
        let listing = step(&own, 4)
            .iter()
            .filter(|line| !line.starts_with(' '))
            .fold(String::new(), |list, name| list + name + "\n");
        let expected = EXPECTED
            .replace("ADDRESS", address)
            .replace("LISTING\n", &listing);
        assert_eq!(own, expected);
    });
}

#[test]
fn every_line_of_forkdemo_fits_on_a_screen() {
    on_each_platform(|vm| {
        let text = demo(vm);
        assert!(text.lines().all(|line| line.len() <= 100), "{text}");
    });
}

#[test]
fn ls_lists_the_embedded_programs() {
    on_each_platform(|vm| {
        let text = demo(vm);
        for name in ["cat", "echo", "forkdemo", "hello", "ls"] {
            assert!(step(&text, 4).contains(&name), "{name} is not in:\n{text}");
        }
    });
}

#[test]
fn fork_shares_the_variables_frame_read_only_between_parent_and_child() {
    on_each_platform(|vm| {
        let text = demo(vm);
        let (before, after) = (sightings(&step(&text, 1)), sightings(&step(&text, 3)));
        assert_eq!((before.len(), after.len()), (1, 5), "{text}");
        assert!(
            before[0].rights.starts_with("RW"),
            "the parent's own page is writable: {before:?}"
        );
        assert_ne!(
            after[0].pid, after[1].pid,
            "first the parent's, then the child's"
        );
        for shared in &after[..2] {
            assert_eq!(shared.address, before[0].address, "one virtual address");
            assert_eq!(shared.frame, before[0].frame, "one frame");
            assert!(
                shared.rights.starts_with("R-"),
                "nobody may write now: {shared:?}"
            );
            assert!(
                shared.rights.contains("COW") && shared.rights.contains("2 references"),
                "{shared:?}"
            );
        }
    });
}

#[test]
fn the_childs_write_moves_it_to_a_frame_of_its_own() {
    on_each_platform(|vm| {
        let text = demo(vm);
        let after = sightings(&step(&text, 3));
        let (parent, written, kept) = (&after[0], &after[2], &after[3]);
        assert_eq!(written.pid, after[1].pid);
        assert_eq!(written.address, parent.address);
        assert_ne!(
            written.frame, parent.frame,
            "the write copied the page:\n{text}"
        );
        assert!(written.rights.starts_with("RW"), "{written:?}");
        assert_eq!(
            (kept.pid, &kept.frame),
            (parent.pid, &parent.frame),
            "the parent's page stayed where it was"
        );
        assert!(kept.rights.contains("1 reference"), "{kept:?}");
    });
}

#[test]
fn the_last_owner_writes_without_a_copy() {
    on_each_platform(|vm| {
        let text = demo(vm);
        let after = sightings(&step(&text, 3));
        assert_eq!(after[4].frame, after[3].frame, "{text}");
        assert!(after[4].rights.starts_with("RW"), "{text}");
    });
}

#[test]
fn both_returns_of_fork_name_the_same_two_processes() {
    on_each_platform(|vm| {
        let text = demo(vm);
        let words: HashMap<&str, &str> = step(&text, 2)
            .iter()
            .filter_map(|line| line.trim().split_once("] "))
            .map(|(pid, words)| (words, pid))
            .collect();
        assert_eq!(
            words.get("fork returned 0: I am the child, my parent is 2"),
            Some(&"[pid 3"),
            "{text}"
        );
        assert_eq!(
            words.get("fork returned 3: I am the parent, 3 is my child"),
            Some(&"[pid 2"),
            "{text}"
        );
    });
}

#[test]
fn apps_are_found_by_name_and_by_folder() {
    on_each_platform(|vm| {
        for word in [
            "hello",
            "guest-apps/hello",
            "guest-apps/hello/",
            "./guest-apps/hello",
        ] {
            let finished = vm.run(word, &[""; 0]);
            assert_eq!(
                (finished.status, finished.text().as_str()),
                (0, "hello from ring 3\n"),
                "{word}: {finished}"
            );
        }
    });
}

#[test]
fn the_other_apps_do_what_they_say() {
    on_each_platform(|vm| {
        let text = |app: &str, arguments: &[&str], input: &[u8]| {
            let finished = vm.clone().input(input).run(app, arguments);
            (finished.status, finished.text())
        };
        assert_eq!(text("true", &[], b""), (0, String::new()));
        assert_eq!(text("false", &[], b""), (1, String::new()));
        assert_eq!(
            text("echo", &["a", "", "b c"], b""),
            (0, "a  b c\n".to_owned())
        );
        assert_eq!(text("echo", &["-n", "x"], b""), (0, "x".to_owned()));
        assert_eq!(text("cat", &[], b"through\n"), (0, "through\n".to_owned()));
        assert_eq!(
            text("cowstress", &["100"], b""),
            (
                0,
                "100 pages: each side saw its own values only\n".to_owned()
            )
        );
        let (status, orphan) = text("orphan", &[], b"");
        assert_eq!(status, 0);
        assert!(
            orphan.ends_with("pid 4: my parent has ended, now it is 1\n"),
            "{orphan}"
        );
        let (status, zombie) = text("zombie", &[], b"\n");
        assert_eq!(status, 0);
        assert!(
            zombie.contains("pid 3 is a zombie child of pid 2")
                && zombie.ends_with("reaped: exit status 3\n")
        );
        let (status, listing) = text("ls", &["-la", "/dev/null", "/bin/hello"], b"");
        assert_eq!(status, 0, "{listing}");
        assert!(listing.starts_with("crw-rw-rw-"), "{listing}");
        assert!(
            listing
                .lines()
                .nth(1)
                .is_some_and(|line| line.starts_with("-r") && line.ends_with("/bin/hello")),
            "{listing}"
        );
        assert_eq!(text("ls", &["/nowhere"], b"").0, 1);
        assert_eq!(text("cat", &["/nowhere"], b"").0, 1);
    });
}

const EXPECTED: &str = "\
forkdemo: what fork() does, in seven steps.
Each line says which process wrote it. Lines with `host:` come from outside the virtual
machine: the VMM looks up the address in that process's page tables.

1. One process, one variable
   [pid 2] my parent is pid 1
   [pid 2] the variable at ADDRESS holds 100

2. One call of fork, two returns
   [pid 2] calls fork
   [pid 2] fork returned 3: I am the parent, 3 is my child
   [pid 3] fork returned 0: I am the child, my parent is 2

3. One variable at one address, two values
   [pid 2] the variable at ADDRESS holds 100
   [pid 3] the variable at ADDRESS holds 100
   [pid 3] writes 200
   [pid 3] the variable at ADDRESS holds 200
   The child's write copied the page; the parent's stayed as it was:
   [pid 2] the variable at ADDRESS holds 100
   [pid 2] writes 300: the frame is mine alone by now, nothing is copied
   [pid 2] the variable at ADDRESS holds 300

4. The child becomes another program
   [pid 3] calls execve: same process, same pid, new memory
   [pid 3] ls: argv[0] = \"ls\"
   [pid 3] ls: argv[1] = \"/bin\"
   [pid 3] ls: envp[0] = \"SHOW_EXEC=1\"
   [pid 3] ls: envp[1] = \"GREETING=hello from before execve\"
LISTING

5. What wait returns
   [pid 2] wait: 3 ended, status word 0x0000: WIFEXITED, WEXITSTATUS = 0
   [pid 4] exits with 7
   [pid 2] wait: 4 ended, status word 0x0700: WIFEXITED, WEXITSTATUS = 7
   [pid 5] waits for something that never comes
   [pid 2] sends SIGKILL to 5
   [pid 2] wait: 5 ended, status word 0x0009: WIFSIGNALED, WTERMSIG = 9

6. A child whose parent ends first
   [pid 7] my parent is 6
   [pid 6] exits, before its child
   [pid 2] wait: 6 has ended, its child lives on
   [pid 7] my parent is 1 now: init adopts orphans

7. A zombie: ended, but not yet waited for
   [pid 8] exits with 3
   [pid 2] waitid(WNOWAIT): 8 has exited with 3, and stays a zombie
   [pid 2] kill(8, 0) succeeds: a zombie still has its pid
   [pid 2] wait reaped 8
   [pid 2] kill(8, 0) fails: No such process

That was fork: one call, two returns, shared pages until one side writes, and a parent
who waits. `forkvm run --help` says how to run your own static programs.
";

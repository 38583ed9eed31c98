//! path_resolution(7), name by name.

use super::*;
use crate::fs::path::{Last, NAME_MAX, PATH_MAX};

fn resolve(fs: &FileSystem, cwd: &str, path: &str) -> Result<alloc::string::String, Errno> {
    let cwd = fs.resolve(Inode::ROOT, cwd.as_bytes(), true)?;
    fs.resolve(cwd, path.as_bytes(), true)
        .map(|inode| text(fs, inode))
}

fn text(fs: &FileSystem, inode: Inode) -> alloc::string::String {
    alloc::string::String::from_utf8(fs.path_of(inode)).expect("test names are UTF-8")
}

#[test]
fn names_dots_and_slashes() {
    let (fs, _) = file_system();
    for (cwd, path, end) in [
        ("/", "/", "/"),
        ("/", "///", "/"),
        ("/etc", ".", "/etc"),
        ("/etc", "..", "/"),
        ("/", "../../..", "/"),
        ("/etc", "deep/file", "/etc/deep/file"),
        ("/etc", "/bin//./hello", "/bin/hello"),
        ("/etc/deep", "../../bin/hello", "/bin/hello"),
        ("/", "etc/deep/", "/etc/deep"),
        ("/", "bin/sh", "/bin/hello"),
        ("/", "etc/link", "/etc/deep"),
        ("/", "etc/link/file", "/etc/deep/file"),
        ("/", "etc/link/..", "/etc"),
        ("/", "etc/up/hello", "/bin/hello"),
        ("/", "etc/root", "/"),
        ("/", "etc/root/bin/sh", "/bin/hello"),
    ] {
        assert_eq!(
            resolve(&fs, cwd, path).as_deref(),
            Ok(end),
            "{path} from {cwd}"
        );
    }
}

#[test]
fn errors_are_those_of_the_manual() {
    let (fs, _) = file_system();
    for (path, error) in [
        ("", Errno::ENOENT),
        ("/nothing", Errno::ENOENT),
        ("/nothing/more", Errno::ENOENT),
        ("/bin/hello/", Errno::ENOTDIR),
        ("/bin/hello/.", Errno::ENOTDIR),
        ("/bin/hello/..", Errno::ENOTDIR),
        ("/bin/sh/x", Errno::ENOTDIR),
        ("/etc/loop", Errno::ELOOP),
        ("/etc/loop/x", Errno::ELOOP),
        ("/etc/dangling", Errno::ENOENT),
        ("/etc/dangling/x", Errno::ENOENT),
        ("/proc/self", Errno::ENOENT),
    ] {
        assert_eq!(resolve(&fs, "/", path), Err(error), "{path}");
    }
    let file = fs
        .resolve(Inode::ROOT, b"/bin/hello", true)
        .expect("it exists");
    assert_eq!(fs.resolve(file, b"x", true), Err(Errno::ENOTDIR));
}

#[test]
fn names_and_paths_have_a_longest() {
    let (fs, _) = file_system();
    let at_limit = [b'n'; NAME_MAX];
    assert_eq!(fs.resolve(Inode::ROOT, &at_limit, true), Err(Errno::ENOENT));
    assert_eq!(
        fs.resolve(Inode::ROOT, &[b'n'; NAME_MAX + 1], true),
        Err(Errno::ENAMETOOLONG)
    );
    assert_eq!(
        fs.resolve(Inode::ROOT, &[b'/'; PATH_MAX - 1], true),
        Ok(Inode::ROOT)
    );
    assert_eq!(
        fs.resolve(Inode::ROOT, &[b'/'; PATH_MAX], true),
        Err(Errno::ENAMETOOLONG)
    );
}

#[test]
fn a_last_link_is_followed_only_if_asked_or_if_a_slash_demands_it() {
    let (fs, _) = file_system();
    let end = |path: &[u8]| {
        fs.resolve(Inode::ROOT, path, false)
            .map(|inode| text(&fs, inode))
    };
    assert_eq!(end(b"/etc/link").as_deref(), Ok("/etc/link"));
    assert_eq!(end(b"/etc/link/").as_deref(), Ok("/etc/deep"));
    assert_eq!(end(b"/etc/up/sh").as_deref(), Ok("/bin/sh"));
    assert_eq!(end(b"/etc/loop").as_deref(), Ok("/etc/loop"));
}

#[test]
fn forty_links_are_followed_and_no_more() {
    let mut tree = alloc::vec![("/l0", Node::File(b""))];
    for number in 1..=41 {
        let target = std::format!("l{}", number - 1).leak();
        tree.push((std::format!("/l{number}").leak(), Node::Link(target)));
    }
    let (boot, window) = boot(&tree);
    let fs = FileSystem::new(&boot, window);
    assert!(fs.resolve(Inode::ROOT, b"/l40", true).is_ok());
    assert_eq!(fs.resolve(Inode::ROOT, b"/l41", true), Err(Errno::ELOOP));
}

#[test]
fn a_walk_tells_where_a_missing_name_would_go() {
    let (fs, _) = file_system();
    let processes = TwoProcesses(Inode::ROOT);
    let view = Viewpoint {
        start: Inode::ROOT,
        root: Inode::ROOT,
        last_link: LastLink::Follow,
        processes: &processes,
    };
    let walk = fs
        .walk(&view, b"/etc/link/new/")
        .expect("the directory exists");
    assert_eq!(text(&fs, walk.directory), "/etc/deep");
    assert_eq!(
        (walk.last, walk.inode, walk.trailing_slash),
        (Last::Name(b"new"), None, true)
    );
    // A dangling link names what would be created.
    let walk = fs
        .walk(&view, b"/etc/dangling")
        .expect("the directory exists");
    assert_eq!(
        (text(&fs, walk.directory).as_str(), walk.last, walk.inode),
        ("/etc", Last::Name(b"nowhere"), None)
    );
    let keep = Viewpoint {
        last_link: LastLink::Keep,
        ..view
    };
    let walk = fs
        .walk(&keep, b"/etc/dangling/")
        .expect("the directory exists");
    assert_eq!(
        (walk.last, walk.inode.is_some(), walk.trailing_slash),
        (Last::Name(b"dangling"), true, true)
    );
    assert_eq!(
        fs.walk(&view, b"/etc/..").map(|walk| walk.last),
        Ok(Last::DotDot)
    );
    assert_eq!(fs.walk(&view, b"/").map(|walk| walk.last), Ok(Last::Root));
}

#[test]
fn proc_shows_processes() {
    let (fs, _) = file_system();
    let program = fs
        .resolve(Inode::ROOT, b"/bin/hello", true)
        .expect("it exists");
    let processes = TwoProcesses(program);
    let find = |path: &[u8], last_link| {
        fs.walk(
            &Viewpoint {
                start: Inode::ROOT,
                root: Inode::ROOT,
                last_link,
                processes: &processes,
            },
            path,
        )?
        .existing(&fs)
    };
    assert_eq!(find(b"/proc/self/exe", LastLink::Follow), Ok(program));
    assert_eq!(find(b"/proc/7/exe", LastLink::Follow), Ok(program));
    assert_eq!(
        find(b"/proc/self/exe/", LastLink::Follow),
        Err(Errno::ENOTDIR)
    );
    assert_eq!(find(b"/proc/9/exe", LastLink::Follow), Err(Errno::ENOENT));
    assert_eq!(find(b"/proc/8", LastLink::Follow), Err(Errno::ENOENT));
    assert_eq!(find(b"/proc/07", LastLink::Follow), Err(Errno::ENOENT));
    assert_eq!(
        find(b"/proc/self/..", LastLink::Follow)
            .map(|inode| text(&fs, inode))
            .as_deref(),
        Ok("/proc")
    );
    assert_eq!(find(b"/proc/..", LastLink::Follow), Ok(Inode::ROOT));
    let link = |path: &[u8]| fs.read_link(find(path, LastLink::FollowBeforeSlash)?, &processes);
    assert_eq!(link(b"/proc/self").as_deref(), Ok(&b"7"[..]));
    assert_eq!(link(b"/proc/self/exe").as_deref(), Ok(&b"/bin/hello"[..]));
    assert_eq!(link(b"/etc/up").as_deref(), Ok(&b"../bin"[..]));
    assert_eq!(link(b"/etc"), Err(Errno::EINVAL));
}

#[test]
fn nonsense_in_the_index_reads_as_nothing() {
    let (boot, mut window) = boot(TREE);
    // Every entry claims to be a directory of a billion children far away, with a name far away.
    let bad = ImageEntry {
        mode: mode::S_IFDIR,
        data: u64::MAX - 5,
        size: 1 << 30,
        name_start: u32::MAX,
        name_len: 255,
        parent: 1,
        ..ImageEntry::default()
    };
    store(&mut window, INDEX, [bad; 20].as_bytes());
    let mut fs = FileSystem::new(&boot, window);
    assert_eq!(fs.resolve(Inode::ROOT, b"/bin", true), Err(Errno::ENOENT));
    assert_eq!(
        fs.program(Inode::Image(u32::MAX))
            .map(|program| program.size),
        Ok(0)
    );
    assert!(fs.path_of(Inode::Image(1)).len() > 1);
}

//! cowstress [PAGES]: parent and child write to all pages they share since a fork, in opposite directions, and each
//! checks that it sees its own values only. PAGES is 256 unless given, 4096 at most.
#![no_std]
#![no_main]

use core::cell::UnsafeCell;
use rt::syscall::{Errno, Fork, exit, fork, wait};
use rt::{Program, eprintln, println};

rt::entry!(main);

const MAX_PAGES: usize = 4096;

#[repr(C, align(4096))]
struct Page([u64; 512]);

/// The pages both sides write to.
struct Arena(UnsafeCell<[Page; MAX_PAGES]>);

// SAFETY: an app has one thread.
unsafe impl Sync for Arena {}

static ARENA: Arena = Arena(UnsafeCell::new([const { Page([0; 512]) }; MAX_PAGES]));

fn main(program: &Program) -> u8 {
    let pages = match program.arguments().nth(1) {
        None => 256,
        Some(count) => count
            .to_str()
            .ok()
            .and_then(|count| count.parse().ok())
            .unwrap_or(0),
    };
    if !(1..=MAX_PAGES).contains(&pages) {
        eprintln!("usage: cowstress [PAGES], 1 to {MAX_PAGES}");
        return 2;
    }
    // SAFETY: the only reference to the arena.
    let arena = unsafe { &mut (&mut *ARENA.0.get())[..pages] };
    match stress(arena) {
        Ok(true) => {
            println!("{pages} pages: each side saw its own values only");
            0
        }
        Ok(false) => 1,
        Err(error) => {
            eprintln!("cowstress: {error}");
            1
        }
    }
}

fn stress(arena: &mut [Page]) -> Result<bool, Errno> {
    write(arena.iter_mut().enumerate(), 1);
    Ok(match fork()? {
        Fork::Child => {
            let count = arena.len();
            write(
                arena
                    .iter_mut()
                    .rev()
                    .enumerate()
                    .map(|(index, page)| (count - 1 - index, page)),
                3,
            );
            exit(u8::from(!check("child", arena, 3)));
        }
        Fork::Parent(child) => {
            write(arena.iter_mut().enumerate(), 2);
            let own = check("parent", arena, 2);
            wait(child)?.exited() == Some(0) && own
        }
    })
}

/// Changes each page's first and last word; between them stays what the pages had before.
fn write<'a>(pages: impl Iterator<Item = (usize, &'a mut Page)>, writer: u64) {
    for (index, page) in pages {
        page.0[0] = value(index, writer);
        page.0[511] = value(index, writer);
    }
}

fn check(who: &str, arena: &[Page], writer: u64) -> bool {
    let wrong = arena
        .iter()
        .enumerate()
        .find(|(index, page)| [page.0[0], page.0[511]] != [value(*index, writer); 2]);
    if let Some((index, page)) = wrong {
        eprintln!(
            "cowstress: the {who} finds {:#x} in page {index}",
            page.0[0]
        );
    }
    wrong.is_none()
}

fn value(page: usize, writer: u64) -> u64 {
    writer << 32 | page as u64
}

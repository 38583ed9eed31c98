//! Steps 1 to 4: one process becomes two, their memory parts, the child becomes another program.

use crate::exec::become_ls;
use crate::turns::Turns;
use crate::variable::VARIABLE;
use crate::{ends, run_child};
use rt::println;
use rt::syscall::{Errno, Fork, fork, getpid, getppid};

/// Step 1.
pub(crate) fn one_process() -> Result<(), Errno> {
    println!();
    println!("1. One process, one variable");
    println!("   [pid {}] my parent is pid {}", getpid(), getppid());
    VARIABLE.write(100);
    VARIABLE.show()
}

/// Step 2, in the parent and in the child it makes here; each goes on with its own side of the rest.
pub(crate) fn two_returns() -> Result<(), Errno> {
    let (parent, child) = Turns::pair()?;
    println!();
    println!("2. One call of fork, two returns");
    println!("   [pid {}] calls fork", getpid());
    match fork()? {
        Fork::Parent(pid) => {
            child.close()?;
            println!(
                "   [pid {}] fork returned {pid}: I am the parent, {pid} is my child",
                getpid()
            );
            as_parent(pid, &parent)
        }
        Fork::Child => run_child(|| {
            parent.close()?;
            child.take()?;
            println!(
                "   [pid {}] fork returned 0: I am the child, my parent is {}",
                getpid(),
                getppid()
            );
            as_child(&child)
        }),
    }
}

fn as_parent(child: i32, turns: &Turns) -> Result<(), Errno> {
    turns.give()?;
    turns.take()?;
    println!();
    println!("3. One variable at one address, two values");
    VARIABLE.show()?;
    turns.give()?;
    turns.take()?;
    println!("   The child's write copied the page; the parent's stayed as it was:");
    VARIABLE.show()?;
    println!(
        "   [pid {}] writes 300: the frame is mine alone by now, nothing is copied",
        getpid()
    );
    VARIABLE.write(300);
    VARIABLE.show()?;

    println!();
    println!("4. The child becomes another program");
    turns.give()?;
    ends::status_of_ls(child)
}

fn as_child(turns: &Turns) -> Result<u8, Errno> {
    turns.give()?;
    turns.take()?;
    VARIABLE.show()?;
    println!("   [pid {}] writes 200", getpid());
    VARIABLE.write(200);
    VARIABLE.show()?;
    turns.give()?;
    turns.take()?;
    Err(become_ls())
}

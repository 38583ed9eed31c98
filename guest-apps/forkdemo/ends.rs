//! Steps 5 to 7: how processes end, and who is left to care.

use crate::run_child;
use crate::turns::Turns;
use rt::println;
use rt::syscall::{
    ESRCH, Errno, Fork, SIGKILL, WEXITED, WNOWAIT, WaitStatus, fork, getpid, getppid, kill, wait,
    waitid,
};

/// Step 5 begins: ls, which the child of step 2 has become.
pub(crate) fn status_of_ls(child: i32) -> Result<(), Errno> {
    let status = wait(child)?;
    println!();
    println!("5. What wait returns");
    show_status(child, status);
    Ok(())
}

/// Step 5: a child that exits with a number, and one that a signal ends.
pub(crate) fn statuses() -> Result<(), Errno> {
    let Fork::Parent(child) = fork()? else {
        run_child(|| {
            println!("   [pid {}] exits with 7", getpid());
            Ok(7)
        });
    };
    show_status(child, wait(child)?);

    let (parent, other) = Turns::pair()?;
    let Fork::Parent(child) = fork()? else {
        run_child(|| {
            parent.close()?;
            println!("   [pid {}] waits for something that never comes", getpid());
            other.give()?;
            other.take()?;
            Ok(0)
        });
    };
    parent.take()?;
    println!("   [pid {}] sends SIGKILL to {child}", getpid());
    kill(child, SIGKILL)?;
    show_status(child, wait(child)?);
    parent.close()?;
    other.close()
}

fn show_status(child: i32, status: WaitStatus) {
    let word = status.0;
    let pid = getpid();
    if let Some(code) = status.exited() {
        println!(
            "   [pid {pid}] wait: {child} ended, status word {word:#06x}: WIFEXITED, WEXITSTATUS = {code}"
        );
    }
    if let Some(signal) = status.killed() {
        println!(
            "   [pid {pid}] wait: {child} ended, status word {word:#06x}: WIFSIGNALED, WTERMSIG = {signal}"
        );
    }
}

/// Step 6.
pub(crate) fn orphan() -> Result<(), Errno> {
    println!();
    println!("6. A child whose parent ends first");
    let (parent, orphan) = Turns::pair()?;
    let Fork::Parent(middle) = fork()? else {
        run_child(|| make_an_orphan(parent, &orphan));
    };
    orphan.close()?;
    wait(middle)?;
    println!(
        "   [pid {}] wait: {middle} has ended, its child lives on",
        getpid()
    );
    parent.give()?;
    parent.wait_for_end()?;
    parent.close()
}

/// The process between. Its child speaks first, and again when the first process, having reaped this one, says so.
fn make_an_orphan(first: Turns, orphan: &Turns) -> Result<u8, Errno> {
    let (middle, child) = Turns::pair()?;
    let Fork::Parent(_) = fork()? else {
        run_child(|| {
            first.close()?;
            middle.close()?;
            println!("   [pid {}] my parent is {}", getpid(), getppid());
            child.give()?;
            orphan.take()?;
            println!(
                "   [pid {}] my parent is {} now: init adopts orphans",
                getpid(),
                getppid()
            );
            Ok(0)
        });
    };
    middle.take()?;
    println!("   [pid {}] exits, before its child", getpid());
    Ok(0)
}

/// Step 7.
pub(crate) fn zombie() -> Result<(), Errno> {
    println!();
    println!("7. A zombie: ended, but not yet waited for");
    let Fork::Parent(child) = fork()? else {
        run_child(|| {
            println!("   [pid {}] exits with 3", getpid());
            Ok(3)
        });
    };
    let pid = getpid();
    let info = waitid(child, WEXITED | WNOWAIT)?;
    println!(
        "   [pid {pid}] waitid(WNOWAIT): {} has exited with {}, and stays a zombie",
        info.pid, info.status
    );
    kill(child, 0)?;
    println!("   [pid {pid}] kill({child}, 0) succeeds: a zombie still has its pid");
    wait(child)?;
    println!("   [pid {pid}] wait reaped {child}");
    match kill(child, 0) {
        Err(error) if error == ESRCH => {
            println!("   [pid {pid}] kill({child}, 0) fails: {error}");
            Ok(())
        }
        Err(error) => Err(error),
        Ok(()) => {
            println!("   [pid {pid}] kill({child}, 0) still succeeds, which is wrong");
            Err(Errno(17))
        }
    }
}

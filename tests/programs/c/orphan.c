/* What becomes of children whose parent ends first. */
#include "case.h"
#include <sys/prctl.h>

/* Who adopts orphans: pid 1, unless the caller says that this machine has a nearer one (a service manager). */
static pid_t reaper(void)
{
	const char *named = getenv("FORKVM_TEST_REAPER");
	return named ? atoi(named) : 1;
}

/* Makes an orphan that runs `body` once its parent has been reaped; returns when the orphan has ended. */
static void with_orphan(void (*body)(pid_t old_parent))
{
	gate gone, done;
	gate_make(gone);
	gate_make(done);
	pid_t middle = CHILD({
		pid_t old_parent = getpid();
		CHILD({
			close(done[0]);
			gate_pass(gone);
			body(old_parent);
		});
		_exit(1);
	});
	close(done[1]);
	reap("middle", middle);
	gate_open(gone);
	char byte;
	SHOW(read(done[0], &byte, 1));
}

static void show_parent(pid_t old_parent)
{
	SHOW(getppid() == reaper());
	SHOW(getppid() == old_parent);
}

CASE(is_adopted_by_init)
{
	with_orphan(show_parent);
	RESULT(wait(NULL));
}

static void print_parent(pid_t old_parent)
{
	char number[16];
	(void)old_parent;
	write(STDERR_FILENO, number, snprintf(number, sizeof number, "%d\n", getppid()));
}

/* For the test harness: how it learns what to put into FORKVM_TEST_REAPER. */
CASE(show_reaper)
{
	with_orphan(print_parent);
}

static void fork_and_wait(pid_t old_parent)
{
	(void)old_parent;
	pid_t self = getpid();
	reap("the orphan's child", CHILD({
		SHOW(getppid() == self);
		_exit(4);
	}));
}

CASE(has_children_of_its_own)
{
	with_orphan(fork_and_wait);
}

static pid_t group, session;

static void show_group(pid_t old_parent)
{
	(void)old_parent;
	SHOW(getpgrp() == group);
	SHOW(getsid(0) == session);
}

CASE(stays_in_its_group_and_session)
{
	group = getpgrp();
	session = getsid(0);
	with_orphan(show_group);
}

static pid_t subreaper;

static void show_subreaper(pid_t old_parent)
{
	(void)old_parent;
	SHOW(getppid() == subreaper);
	_exit(5);
}

CASE(is_adopted_by_a_subreaper)
{
	int set = 0;
	MUST(prctl(PR_SET_CHILD_SUBREAPER, 1));
	MUST(prctl(PR_GET_CHILD_SUBREAPER, &set));
	SHOW(set);
	subreaper = getpid();
	with_orphan(show_subreaper);
	int status;
	SHOW(wait(&status) > 0);
	show_status("orphan", status);
	RESULT(wait(NULL));
}

CASE(subreaper_is_not_inherited_by_fork)
{
	MUST(prctl(PR_SET_CHILD_SUBREAPER, 1));
	reap("child", CHILD({
		int set = 7;
		MUST(prctl(PR_GET_CHILD_SUBREAPER, &set));
		SHOW(set);
	}));
}

CASE(zombies_are_handed_over_too)
{
	/* The middle process leaves a zombie behind; the subreaper finds it. */
	MUST(prctl(PR_SET_CHILD_SUBREAPER, 1));
	int status;
	pid_t middle = CHILD({
		pid_t zombie = CHILD(_exit(6));
		siginfo_t info;
		waitid(P_PID, zombie, &info, WEXITED | WNOWAIT);
	});
	reap("middle", middle);
	SHOW(wait(&status) > 0);
	show_status("handed over", status);
	RESULT(wait(NULL));
}

CASE(three_generations_end_from_the_top)
{
	gate done, adopted, gone;
	gate_make(done);
	gate_make(adopted);
	gate_make(gone);
	reap("first", CHILD({
		pid_t first = getpid();
		CHILD({
			pid_t second = getpid();
			CHILD({
				gate_pass(adopted);
				while (getppid() == second)
					sched_yield();
				say("third: adopted by the reaper: %d\n", getppid() == reaper());
				gate_open(done);
			});
			gate_pass(gone);
			say("second: its parent is gone: %d\n", getppid() != first);
			say("second: adopted by the reaper: %d\n", getppid() == reaper());
			gate_open(adopted);
		});
	}));
	gate_open(gone);
	gate_pass(done);
}

CASE(init_reaps_what_it_adopts)
{
	/* Once an orphan has been reaped by init, its pid leads nowhere. */
	int fds[2];
	MUST(pipe(fds));
	reap("middle", CHILD({
		pid_t orphan = CHILD(close(fds[0]));
		MUST(write(fds[1], &orphan, sizeof orphan));
	}));
	close(fds[1]);
	pid_t orphan, end;
	SHOW(read(fds[0], &orphan, sizeof orphan) == sizeof orphan);
	SHOW(read(fds[0], &end, 1));
	while (kill(orphan, 0) == 0)
		sched_yield();
	RESULT(kill(orphan, 0));
}

CASE(parent_death_signal)
{
	gate gone, done, ready;
	gate_make(gone);
	gate_make(done);
	gate_make(ready);
	reap("middle", CHILD({
		CHILD({
			close(done[0]);
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			gate_open(ready);
			for (;;)
				pause();
		});
		gate_pass(ready);
	}));
	close(done[1]);
	char byte;
	SHOW(read(done[0], &byte, 1));
}

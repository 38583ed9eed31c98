/* Who a process is: pids, groups, sessions, names, and calls that tell little but must be there. */
#include "case.h"
#include <sys/prctl.h>
#include <sys/utsname.h>

CASE(ids)
{
	SHOW(getpid() == gettid());
	SHOW(getpid() > 1);
	SHOW(getpgid(0) == getpgrp());
	SHOW(getpgid(getpid()) == getpgrp());
	SHOW(getsid(getpid()) == getsid(0));
	RESULT(getpgid(999999));
	RESULT(getsid(999999));
	SHOW(syscall(SYS_set_tid_address, NULL) == getpid());
}

CASE(new_session)
{
	reap("child", CHILD({
		SHOW(setsid() == getpid());
		SHOW(getsid(0) == getpid());
		SHOW(getpgrp() == getpid());
		RESULT(setsid());
		RESULT(setpgid(0, 0));
	}));
}

CASE(group_leader_cannot_start_a_session)
{
	reap("child", CHILD({
		RESULT(setpgid(0, 0));
		RESULT(setsid());
		reap("its child", CHILD(SHOW(setsid() == getpid())));
	}));
}

CASE(groups)
{
	gate hold, ready;
	gate_make(hold);
	gate_make(ready);
	pid_t child = CHILD({
		gate_open(ready);
		gate_pass(hold);
	});
	gate_pass(ready);
	SHOW(getpgid(child) == getpgrp());
	RESULT(setpgid(child, child));
	SHOW(getpgid(child) == child);
	RESULT(setpgid(child, getpgrp()));
	SHOW(getpgid(child) == getpgrp());
	RESULT(setpgid(child, 999999));
	RESULT(setpgid(child, -1));
	RESULT(setpgid(999999, 0));
	RESULT(setpgid(getppid(), 0));
	gate_open(hold);
	reap("child", child);
	RESULT(setpgid(child, child));
}

CASE(group_of_a_child_that_has_executed)
{
	char *arguments[] = { "identity", "wait_for_the_gate", NULL };
	gate hold, ready;
	gate_make(hold);
	gate_make(ready);
	char variable[40];
	snprintf(variable, sizeof variable, "GATES=%d %d", hold[0], ready[1]);
	char *environment[] = { variable, NULL };
	pid_t child = CHILD(execve("/proc/self/exe", arguments, environment));
	gate_pass(ready);
	RESULT(setpgid(child, child));
	gate_open(hold);
	reap("child", child);
}

CASE(wait_for_the_gate)
{
	gate hold = { -1, -1 }, ready = { -1, -1 };
	sscanf(getenv("GATES"), "%d %d", &hold[0], &ready[1]);
	gate_open(ready);
	gate_pass(hold);
}

CASE(system_name)
{
	struct utsname name;
	MUST(uname(&name));
	say("%s %s\n", name.sysname, name.machine);
	SHOW(strlen(name.release) > 0);
}

CASE(random_bytes)
{
	unsigned char a[64] = { 0 }, b[64] = { 0 };
	RESULT(syscall(SYS_getrandom, a, sizeof a, 0));
	RESULT(syscall(SYS_getrandom, b, sizeof b, 1));
	SHOW(memcmp(a, b, sizeof a) != 0);
	RESULT(syscall(SYS_getrandom, a, sizeof a, 0x80));
	RESULT(syscall(SYS_getrandom, a, 0, 0));
}

CASE(random_bytes_differ_after_fork)
{
	unsigned char own[16], childs[16];
	int fds[2];
	MUST(pipe(fds));
	reap("child", CHILD({
		syscall(SYS_getrandom, own, sizeof own, 0);
		write(fds[1], own, sizeof own);
	}));
	MUST(read(fds[0], childs, sizeof childs));
	syscall(SYS_getrandom, own, sizeof own, 0);
	SHOW(memcmp(own, childs, sizeof own) != 0);
}

CASE(unknown_system_calls)
{
	RESULT(syscall(9999));
	RESULT(syscall(-1));
	RESULT(syscall(1000));
	RESULT(syscall(0x40000000 + 39));
	RESULT(syscall(1ul << 32 | 9999));
	RESULT(syscall(SYS_create_module));
	RESULT(syscall(SYS_nfsservctl));
	SHOW(getpid() > 0);
}

CASE(process_attributes)
{
	char name[16];
	RESULT(prctl(PR_SET_NAME, "short"));
	RESULT(prctl(PR_GET_NAME, name));
	say("%s\n", name);
	RESULT(prctl(PR_SET_NAME, 8));
	RESULT(prctl(PR_GET_NAME, 8));
	RESULT(prctl(987654));
	RESULT(prctl(PR_GET_CHILD_SUBREAPER, 8));
}

CASE(yielding)
{
	for (int i = 0; i < 1000; i++)
		MUST(sched_yield());
	RESULT(sched_yield());
}

CASE(a_spinning_child_does_not_hold_up_its_parent)
{
	pid_t child = CHILD(for (;;) __asm__ volatile(""));
	for (int i = 0; i < 20; i++)
		sched_yield();
	RESULT(kill(child, SIGKILL));
	reap("child", child);
}

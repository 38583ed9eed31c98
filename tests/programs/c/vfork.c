/* vfork(2): the child borrows the parent's memory, and the parent waits until it gives it back. */
#include "case.h"
#include <spawn.h>

static volatile int shared;

CASE(child_writes_the_parents_memory)
{
	pid_t parent = getpid();
	volatile pid_t ppid_of_child = 0, pid_of_child = 0;
	pid_t child = vfork();
	if (child == 0) {
		shared = 42;
		ppid_of_child = (pid_t)syscall(SYS_getppid);
		pid_of_child = (pid_t)syscall(SYS_getpid);
		_exit(5);
	}
	SHOW(shared);
	SHOW(ppid_of_child == parent);
	SHOW(pid_of_child == child);
	reap("child", child);
}

CASE(parent_waits_for_exit)
{
	pid_t child = vfork();
	if (child == 0) {
		say("child first\n");
		for (volatile int i = 0; i < 1000000; i++)
			;
		syscall(SYS_sched_yield);
		say("child still first\n");
		_exit(0);
	}
	say("then the parent\n");
	reap("child", child);
}

CASE(parent_goes_on_when_the_child_is_killed)
{
	pid_t child = vfork();
	if (child == 0) {
		kill((pid_t)syscall(SYS_getpid), SIGKILL);
		_exit(0);
	}
	reap("child", child);
}

CASE(parent_goes_on_when_the_child_faults)
{
	pid_t child = vfork();
	if (child == 0) {
		*(volatile int *)8 = 1;
		_exit(0);
	}
	reap("child", child);
}

CASE(exec_gives_the_memory_back)
{
	char *arguments[] = { "vfork", "after_exec", NULL };
	gate go;
	gate_make(go);
	char fd[12];
	snprintf(fd, sizeof fd, "GATE=%d", go[0]);
	char *environment[] = { fd, NULL };
	pid_t child = vfork();
	if (child == 0) {
		shared = 7;
		execve("/proc/self/exe", arguments, environment);
		_exit(127);
	}
	/* The child, another program now, waits for us: so we no longer wait for it. */
	SHOW(shared);
	gate_open(go);
	reap("child", child);
	SHOW(shared);
}

CASE(after_exec)
{
	gate go = { atoi(getenv("GATE")), -1 };
	gate_pass(go);
	say("the new program has %d\n", shared);
	shared = 99;
	exit(6);
}

CASE(failed_exec_leaves_the_child_its_loan)
{
	char *arguments[] = { "x", NULL };
	pid_t child = vfork();
	if (child == 0) {
		execve("/no/such/program", arguments, NULL);
		shared = errno;
		_exit(1);
	}
	say("%s\n", strerror(shared));
	reap("child", child);
}

CASE(descriptors_are_the_childs_own)
{
	int fd = MUST(open("/dev/null", O_RDONLY));
	pid_t child = vfork();
	if (child == 0) {
		close(fd);
		_exit(0);
	}
	reap("child", child);
	RESULT(fcntl(fd, F_GETFD));
}

CASE(vfork_within_vfork)
{
	pid_t child = vfork();
	if (child == 0) {
		pid_t grandchild = vfork();
		if (grandchild == 0) {
			shared = 1;
			_exit(0);
		}
		shared = shared * 10 + 2;
		waitpid(grandchild, NULL, 0);
		_exit(0);
	}
	SHOW(shared * 10 + 3);
	reap("child", child);
}

CASE(stack_of_the_parent_survives)
{
	volatile char before[8192];
	memset((char *)before, 0x5a, sizeof before);
	pid_t child = vfork();
	if (child == 0)
		_exit(0);
	int same = 1;
	for (size_t i = 0; i < sizeof before; i++)
		same &= before[i] == 0x5a;
	SHOW(same);
	reap("child", child);
}

CASE(posix_spawn)
{
	char *arguments[] = { "vfork", "spawned", "with an argument", NULL };
	char *environment[] = { "A=b", NULL };
	pid_t child;
	int result = posix_spawn(&child, "/proc/self/exe", NULL, NULL, arguments, environment);
	reap("child", child);
	SHOW(result);
}

CASE(posix_spawn_of_a_missing_file)
{
	char *arguments[] = { "x", NULL };
	pid_t child;
	SHOW(posix_spawn(&child, "/no/such/program", NULL, NULL, arguments, NULL));
	RESULT(waitpid(-1, NULL, 0));
}

CASE(posix_spawn_with_file_actions)
{
	char *arguments[] = { "vfork", "spawned", NULL };
	char text[256] = "";
	int fds[2];
	pid_t child;
	MUST(pipe(fds));
	posix_spawn_file_actions_t actions;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, fds[1], 1);
	posix_spawn_file_actions_addclose(&actions, fds[0]);
	SHOW(posix_spawn(&child, "/proc/self/exe", &actions, NULL, arguments, environ));
	close(fds[1]);
	for (ssize_t count, at = 0; (count = read(fds[0], text + at, sizeof text - 1 - at)) > 0;)
		at += count;
	say("through the pipe: %s", text);
	reap("child", child);
}

CASE(spawned)
{
	say("spawned, A=%s\n", getenv("A") ? getenv("A") : "(unset)");
	exit(9);
}

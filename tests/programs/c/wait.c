/* wait4(2), waitpid(2) and waitid(2): whom they find, what they say, when they block. */
#include "case.h"

CASE(exit_codes)
{
	static const int codes[] = { 0, 1, 127, 128, 255, 256, 257, -1 };
	for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
		say("exit(%d): ", codes[i]);
		reap("child", CHILD(_exit(codes[i])));
	}
}

CASE(exit_and_exit_group)
{
	reap("exit", CHILD(syscall(SYS_exit, 3)));
	reap("exit_group", CHILD(syscall(SYS_exit_group, 4)));
	reap("return from main", CHILD(exit(5)));
}

CASE(no_hang)
{
	gate go;
	gate_make(go);
	int status = 77;
	pid_t child = CHILD({
		gate_pass(go);
		_exit(1);
	});
	RESULT(waitpid(child, &status, WNOHANG));
	SHOW(status);
	RESULT(waitpid(-1, NULL, WNOHANG));
	gate_open(go);
	reap("child", child);
	RESULT(waitpid(-1, NULL, WNOHANG));
}

CASE(without_children)
{
	RESULT(wait(NULL));
	RESULT(waitpid(-1, NULL, WNOHANG));
	RESULT(waitpid(0, NULL, 0));
	RESULT(waitpid(1, NULL, 0));
	RESULT(waitpid(getpid(), NULL, 0));
	RESULT(waitpid(-getpgrp(), NULL, 0));
	RESULT(waitpid(999999, NULL, 0));
	RESULT(waitpid(INT_MIN, NULL, 0));
	RESULT(waitpid(-1, NULL, 0x100));
	RESULT(waitpid(-1, NULL, WNOWAIT));
}

CASE(for_one_among_several)
{
	pid_t first = CHILD(_exit(1)), second = CHILD(_exit(2)), third = CHILD(_exit(3));
	reap("second", second);
	RESULT(waitpid(second, NULL, 0));
	reap("third", third);
	reap("first", first);
	RESULT(wait(NULL));
}

CASE(any_child_takes_each_once)
{
	int sum = 0, codes = 0, status;
	for (int i = 1; i <= 20; i++)
		sum += CHILD(_exit(i));
	for (int i = 1; i <= 20; i++) {
		sum -= MUST(wait(&status));
		codes += WEXITSTATUS(status);
	}
	SHOW(sum);
	SHOW(codes);
	RESULT(wait(NULL));
}

CASE(blocks_until_the_child_ends)
{
	gate go;
	gate_make(go);
	pid_t child = CHILD({
		gate_pass(go);
		say("child ends\n");
	});
	pid_t opener = CHILD({
		say("gate opens\n");
		gate_open(go);
	});
	reap("child", child);
	reap("opener", opener);
}

CASE(by_process_group)
{
	gate go;
	gate_make(go);
	pid_t own = CHILD(_exit(1));
	pid_t other = CHILD({
		setpgid(0, 0);
		gate_open(go);
		_exit(2);
	});
	gate_pass(go);
	RESULT(waitpid(-999999, NULL, 0));
	int status;
	SHOW(waitpid(-other, &status, 0) == other);
	show_status("other group", status);
	RESULT(waitpid(-other, NULL, 0));
	SHOW(waitpid(0, &status, 0) == own);
	show_status("own group", status);
	RESULT(waitpid(0, NULL, 0));
}

CASE(grandchildren_are_not_ours)
{
	gate done;
	int fds[2];
	gate_make(done);
	MUST(pipe(fds));
	pid_t child = CHILD({
		pid_t grandchild = CHILD(gate_pass(done));
		MUST(write(fds[1], &grandchild, sizeof grandchild));
		reap("grandchild", grandchild);
	});
	pid_t grandchild;
	MUST(read(fds[0], &grandchild, sizeof grandchild));
	RESULT(waitpid(grandchild, NULL, 0));
	gate_open(done);
	reap("child", child);
}

static void show_info(const char *what, const siginfo_t *info, pid_t child)
{
	say("%s: signo %d errno %d code %d status %d, pid is the child's: %d, uid is ours: %d\n", what, info->si_signo,
	    info->si_errno, info->si_code, info->si_status, info->si_pid == child, info->si_uid == getuid());
}

CASE(waitid_tells_more)
{
	siginfo_t info;
	pid_t exits = CHILD(_exit(42)), killed = CHILD(for (;;) pause());
	RESULT(waitid(P_PID, exits, &info, WEXITED));
	show_info("exit", &info, exits);
	kill(killed, SIGTERM);
	RESULT(waitid(P_PID, killed, &info, WEXITED));
	show_info("kill", &info, killed);
	RESULT(waitid(P_ALL, 0, &info, WEXITED));
}

CASE(zombie_can_be_looked_at)
{
	siginfo_t info;
	pid_t child = CHILD(_exit(3));
	for (int i = 0; i < 2; i++) {
		RESULT(waitid(P_PID, child, &info, WEXITED | WNOWAIT));
		show_info("still there", &info, child);
	}
	RESULT(kill(child, 0));
	RESULT(kill(child, SIGKILL));
	SHOW(getpgid(child) == getpgrp());
	reap("child", child);
	RESULT(kill(child, 0));
	RESULT(getpgid(child));
	RESULT(waitid(P_PID, child, &info, WEXITED | WNOWAIT));
}

CASE(waitid_without_hanging)
{
	siginfo_t info;
	gate go;
	gate_make(go);
	pid_t child = CHILD(gate_pass(go));
	memset(&info, 0x5a, sizeof info);
	RESULT(waitid(P_PID, child, &info, WEXITED | WNOHANG));
	SHOW(info.si_signo);
	SHOW(info.si_pid);
	gate_open(go);
	RESULT(waitid(P_PGID, getpgrp(), &info, WEXITED));
	show_info("group", &info, child);
}

CASE(waitid_group_zero_is_ours)
{
	siginfo_t info;
	pid_t child = CHILD(_exit(1));
	RESULT(waitid(P_PGID, 0, &info, WEXITED));
	show_info("group 0", &info, child);
}

CASE(waitid_refuses)
{
	siginfo_t info;
	RESULT(waitid(P_ALL, 0, &info, 0));
	RESULT(waitid(P_ALL, 0, &info, WNOHANG));
	RESULT(waitid(P_ALL, 0, &info, WEXITED | 0x100));
	RESULT(waitid(99, 0, &info, WEXITED));
	RESULT(waitid(P_PID, 0, &info, WEXITED));
	RESULT(waitid(P_PID, -5, &info, WEXITED));
	RESULT(waitid(P_PGID, -5, &info, WEXITED));
	RESULT(waitid(P_ALL, 0, &info, WEXITED));
	RESULT(waitid(P_ALL, 0, NULL, WEXITED));
}

CASE(raw_waitid_gives_usage)
{
	struct rusage usage;
	memset(&usage, 0xff, sizeof usage);
	pid_t child = CHILD(_exit(0));
	RESULT(syscall(SYS_waitid, P_PID, child, NULL, WEXITED, &usage));
	SHOW(usage.ru_utime.tv_sec);
	SHOW(usage.ru_maxrss > 0);
}

CASE(pointers)
{
	pid_t child = CHILD(_exit(1));
	RESULT(wait4(-1, (int *)8, 0, NULL));
	/* Linux reaps first and stores then. */
	RESULT(waitpid(child, NULL, 0));
	CHILD(_exit(1));
	RESULT(wait4(-1, NULL, 0, (struct rusage *)8));
	RESULT(waitpid(-1, NULL, 0));
	CHILD(_exit(1));
	SHOW(wait4(-1, NULL, 0, NULL) > 0);
}

CASE(usage_of_children_adds_up)
{
	struct rusage before, one, after;
	getrusage(RUSAGE_CHILDREN, &before);
	pid_t child = CHILD({
		struct rusage own;
		do
			getrusage(RUSAGE_SELF, &own);
		while (own.ru_utime.tv_sec == 0 && own.ru_utime.tv_usec + own.ru_stime.tv_usec < 20000);
	});
	SHOW(wait4(child, NULL, 0, &one) == child);
	getrusage(RUSAGE_CHILDREN, &after);
	SHOW(before.ru_utime.tv_sec + before.ru_utime.tv_usec);
	SHOW(one.ru_utime.tv_usec + one.ru_stime.tv_usec + 1000000 * (one.ru_utime.tv_sec + one.ru_stime.tv_sec) >= 20000);
	SHOW(after.ru_utime.tv_usec + after.ru_stime.tv_usec + 1000000 * (after.ru_utime.tv_sec + after.ru_stime.tv_sec) >= 20000);
}

CASE(ignored_sigchld_reaps_by_itself)
{
	signal(SIGCHLD, SIG_IGN);
	pid_t child = CHILD(_exit(1));
	RESULT(waitpid(child, NULL, 0));
	RESULT(kill(child, 0));
	RESULT(wait(NULL));
}

CASE(nocldwait_reaps_by_itself)
{
	struct sigaction action = { .sa_handler = SIG_DFL, .sa_flags = SA_NOCLDWAIT };
	sigaction(SIGCHLD, &action, NULL);
	pid_t child = CHILD(_exit(1));
	RESULT(waitpid(child, NULL, 0));
	RESULT(kill(child, 0));
}

CASE(stopped_and_continued)
{
	int status;
	pid_t child = CHILD(for (;;) pause());
	kill(child, SIGSTOP);
	SHOW(waitpid(child, &status, WUNTRACED) == child);
	show_status("after SIGSTOP", status);
	RESULT(waitpid(child, &status, WUNTRACED | WNOHANG));
	kill(child, SIGCONT);
	SHOW(waitpid(child, &status, WCONTINUED) == child);
	show_status("after SIGCONT", status);
	kill(child, SIGKILL);
	reap("after SIGKILL", child);
}

CASE(waitid_stopped_and_continued)
{
	siginfo_t info;
	pid_t child = CHILD(for (;;) pause());
	kill(child, SIGSTOP);
	RESULT(waitid(P_PID, child, &info, WSTOPPED | WNOWAIT));
	show_info("stopped", &info, child);
	RESULT(waitid(P_PID, child, &info, WSTOPPED));
	kill(child, SIGCONT);
	RESULT(waitid(P_PID, child, &info, WCONTINUED));
	show_info("continued", &info, child);
	kill(child, SIGKILL);
	RESULT(waitid(P_PID, child, &info, WEXITED));
	show_info("killed", &info, child);
}

CASE(stopped_processes_can_be_killed)
{
	pid_t child = CHILD(for (;;) pause());
	kill(child, SIGSTOP);
	MUST(waitpid(child, NULL, WUNTRACED));
	kill(child, SIGKILL);
	reap("child", child);
}

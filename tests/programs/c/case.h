/* What the comparison programs share: named cases, and output that fork can neither tear nor double.
 *
 * `program CASE` runs one case; its output must be the same in every run and on every machine, so cases
 * print relations ("child == what fork returned"), never pids, addresses or times. */
#ifndef CASE_H
#define CASE_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct test_case {
	const char *name;
	void (*run)(void);
};

extern const struct test_case __start_cases[], __stop_cases[];

#define CASE(title)                                                                          \
	static void case_##title(void);                                                      \
	static const struct test_case entry_##title                                          \
		__attribute__((used, section("cases"))) = { #title, case_##title };          \
	static void case_##title(void)

/* One write for each call: lines of several processes do not mix, and nothing waits in a buffer over a fork. */
__attribute__((format(printf, 1, 2), unused)) static void say(const char *format, ...)
{
	char text[4096];
	va_list arguments;
	va_start(arguments, format);
	int length = vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	if (write(STDOUT_FILENO, text, (size_t)length) != length)
		_exit(99);
}

/* "expression = value" */
#define SHOW(expression) say("%s = %ld\n", #expression, (long)(expression))

/* "call: value", or why it failed. */
#define RESULT(call)                                                                         \
	do {                                                                                 \
		errno = 0;                                                                   \
		long result_ = (long)(call);                                                 \
		if (result_ == -1)                                                           \
			say("%s: %s\n", #call, strerror(errno));                             \
		else                                                                         \
			say("%s: %ld\n", #call, result_);                                    \
	} while (0)

/* For calls whose failure ends the case. */
#define MUST(call)                                                                           \
	({                                                                                   \
		__typeof__(call) must_ = (call);                                             \
		if ((long)must_ == -1) {                                                     \
			say("%s failed: %s\n", #call, strerror(errno));                      \
			_exit(98);                                                           \
		}                                                                            \
		must_;                                                                       \
	})

/* Forks; the child runs the block and exits with 0. The value is the child's pid. */
#define CHILD(...)                                                                           \
	({                                                                                   \
		pid_t child_ = MUST(fork());                                                 \
		if (child_ == 0) {                                                           \
			__VA_ARGS__;                                                         \
			_exit(0);                                                            \
		}                                                                            \
		child_;                                                                      \
	})

/* What a status word says. Whether a core was dumped is the machine's affair and left out. */
__attribute__((unused)) static void show_status(const char *what, int status)
{
	if (WIFEXITED(status))
		say("%s: exited with %d", what, WEXITSTATUS(status));
	else if (WIFSIGNALED(status))
		say("%s: killed by signal %d", what, WTERMSIG(status));
	else if (WIFSTOPPED(status))
		say("%s: stopped by signal %d", what, WSTOPSIG(status));
	else if (WIFCONTINUED(status))
		say("%s: continued", what);
	say(" (%#x)\n", WIFSIGNALED(status) ? status & ~0x80 : status);
}

/* Waits for one child and says how it ended. */
__attribute__((unused)) static void reap(const char *what, pid_t child)
{
	int status = 0;
	pid_t reaped = MUST(waitpid(child, &status, 0));
	if (reaped != child)
		say("%s: waitpid returned another child\n", what);
	show_status(what, status);
}

/* A gate holds a process up until another one opens it. */
typedef int gate[2];

__attribute__((unused)) static void gate_make(gate g)
{
	MUST(pipe(g));
}

__attribute__((unused)) static void gate_open(gate g)
{
	MUST(write(g[1], ".", 1));
}

__attribute__((unused)) static void gate_pass(gate g)
{
	char byte;
	if (MUST(read(g[0], &byte, 1)) != 1) {
		say("the gate's other side is gone\n");
		_exit(97);
	}
}

int main(int argc, char **argv)
{
	for (const struct test_case *c = __start_cases; c < __stop_cases; c++) {
		if (argc > 1 && strcmp(argv[1], c->name) == 0) {
			c->run();
			return 0;
		}
		if (argc > 1 && strcmp(argv[1], "--list") == 0)
			say("%s\n", c->name);
	}
	return argc > 1 && strcmp(argv[1], "--list") == 0 ? 0 : 96;
}

#endif

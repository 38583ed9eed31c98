/* Standard input, output and error as a program meets them. */
#include "case.h"

CASE(both)
{
	for (int i = 0; i < 100; i++) {
		say("to output %d\n", i);
		dprintf(2, "to error %d\n", i);
	}
	exit(3);
}

CASE(large)
{
	char block[65536];
	unsigned seed = 1;
	for (int i = 0; i < 128; i++) {
		for (size_t at = 0; at < sizeof block; at++)
			block[at] = (char)((seed = seed * 1103515245 + 12345) >> 16);
		for (size_t at = 0; at < sizeof block;)
			at += MUST(write(1, block + at, sizeof block - at));
	}
}

CASE(copy)
{
	char block[10000];
	ssize_t count;
	while ((count = MUST(read(0, block, sizeof block))) > 0)
		for (ssize_t at = 0; at < count;)
			at += MUST(write(1, block + at, count - at));
}

CASE(ignore)
{
	say("not interested\n");
}

static void read_line(char *line)
{
	while (read(0, line, 1) == 1)
		if (*line++ == '\n')
			break;
	*line = 0;
}

CASE(share)
{
	char line[100];
	read_line(line);
	say("parent: %s", line);
	reap("child", CHILD({
		read_line(line);
		say("child: %s", line);
	}));
	read_line(line);
	say("parent: %s", line);
	read_line(line);
	SHOW(strlen(line));
}

CASE(kinds)
{
	for (int fd = 0; fd < 3; fd++) {
		errno = 0;
		int terminal = isatty(fd);
		say("%d: terminal %d: %s\n", fd, terminal, strerror(errno));
		SHOW(fcntl(fd, F_GETFD));
	}
	RESULT(lseek(0, 0, SEEK_SET));
	RESULT(lseek(1, 0, SEEK_SET));
	RESULT(fcntl(3, F_GETFD));
}

CASE(endless)
{
	for (;;)
		say("endless\n");
}

CASE(converse)
{
	char line[100];
	int lines = 0;
	for (; read_line(line), *line; lines++)
		say("%c\n", line[0] - 32);
	exit(lines);
}

CASE(leave_a_child)
{
	pid_t parent = getpid();
	gate go;
	gate_make(go);
	if (MUST(fork()) == 0) {
		gate_pass(go);
		while (getppid() == parent)
			sched_yield();
		say("child\n");
		_exit(0);
	}
	say("parent\n");
	gate_open(go);
	exit(5);
}

/* pipe(2) and pipe2(2): order, ends, blocking, atomicity. */
#include "case.h"

CASE(from_parent_to_child_and_back)
{
	int down[2], up[2];
	char text[64] = "";
	MUST(pipe(down));
	MUST(pipe(up));
	pid_t child = CHILD({
		close(down[1]);
		ssize_t count = read(down[0], text, sizeof text);
		for (ssize_t i = 0; i < count; i++)
			text[i] -= 32;
		write(up[1], text, count);
	});
	MUST(write(down[1], "shout", 5));
	RESULT(read(up[0], text, sizeof text));
	say("%s\n", text);
	reap("child", child);
}

CASE(end_of_file_when_all_writers_are_gone)
{
	int fds[2];
	char text[8];
	MUST(pipe(fds));
	int copy = MUST(dup(fds[1]));
	write(fds[1], "abc", 3);
	close(fds[1]);
	RESULT(read(fds[0], text, sizeof text));
	gate go;
	gate_make(go);
	pid_t child = CHILD({
		close(fds[0]);
		gate_pass(go);
	});
	close(copy);
	gate_open(go);
	RESULT(read(fds[0], text, sizeof text));
	reap("child", child);
	RESULT(read(fds[0], text, sizeof text));
}

static unsigned next(unsigned *seed)
{
	return (*seed = *seed * 1103515245 + 12345) >> 16;
}

CASE(a_megabyte_flows_through)
{
	enum { TOTAL = 1 << 20 };
	int fds[2];
	MUST(pipe(fds));
	pid_t child = CHILD({
		close(fds[0]);
		unsigned seed = 1, sizes = 2;
		char part[10000];
		for (long sent = 0; sent < TOTAL;) {
			long count = next(&sizes) % sizeof part + 1;
			count = count < TOTAL - sent ? count : TOTAL - sent;
			for (long i = 0; i < count; i++)
				part[i] = (char)next(&seed);
			if (write(fds[1], part, count) != count)
				_exit(1);
			sent += count;
		}
	});
	close(fds[1]);
	unsigned seed = 1, sizes = 3;
	long total = 0, wrong = 0, count;
	char part[7000];
	while ((count = MUST(read(fds[0], part, next(&sizes) % sizeof part + 1))) > 0) {
		for (long i = 0; i < count; i++)
			wrong += part[i] != (char)next(&seed);
		total += count;
	}
	SHOW(total);
	SHOW(wrong);
	reap("child", child);
}

CASE(capacity_and_nonblocking)
{
	int fds[2];
	char area[70000];
	memset(area, 'x', sizeof area);
	MUST(pipe2(fds, O_NONBLOCK | O_CLOEXEC));
	SHOW(fcntl(fds[0], F_GETFD));
	SHOW(fcntl(fds[1], F_GETFL) & (O_ACCMODE | O_NONBLOCK));
	RESULT(read(fds[0], area, 1));
	RESULT(write(fds[1], area, sizeof area));
	RESULT(write(fds[1], area, 1));
	RESULT(write(fds[1], area, 4096));
	RESULT(read(fds[0], area, 4096));
	RESULT(write(fds[1], area, 4096));
	RESULT(read(fds[0], area, sizeof area));
	RESULT(read(fds[0], area, 1));
	close(fds[1]);
	RESULT(read(fds[0], area, 1));
}

CASE(refused)
{
	int fds[2];
	RESULT(pipe2(fds, 0x40000000));
	RESULT(syscall(SYS_pipe, 8));
	struct rlimit limit = { 4, 4 };
	MUST(setrlimit(RLIMIT_NOFILE, &limit));
	RESULT(pipe(fds));
	RESULT(open("/dev/null", O_RDONLY));
	RESULT(open("/dev/null", O_RDONLY));
}

CASE(blocked_writer_goes_on_as_the_reader_reads)
{
	int fds[2];
	char area[4096];
	memset(area, 'x', sizeof area);
	MUST(pipe(fds));
	pid_t child = CHILD({
		close(fds[0]);
		for (int i = 0; i < 64; i++)
			if (write(fds[1], area, sizeof area) != sizeof area)
				_exit(1);
	});
	close(fds[1]);
	long total = 0, count;
	while ((count = MUST(read(fds[0], area, 1000))) > 0)
		total += count;
	SHOW(total);
	reap("child", child);
}

CASE(blocked_writer_learns_that_the_reader_is_gone)
{
	int fds[2];
	char area[4096], byte;
	MUST(pipe(fds));
	signal(SIGPIPE, SIG_IGN);
	pid_t child = CHILD({
		close(fds[0]);
		while (write(fds[1], area, sizeof area) > 0)
			;
		say("%s\n", strerror(errno));
	});
	close(fds[1]);
	RESULT(read(fds[0], &byte, 1));
	close(fds[0]);
	reap("child", child);
}

CASE(small_writes_do_not_mix)
{
	enum { WRITERS = 4, BLOCKS = 200, SIZE = 512 };
	int fds[2];
	char block[SIZE];
	MUST(pipe(fds));
	for (int writer = 0; writer < WRITERS; writer++)
		CHILD({
			close(fds[0]);
			memset(block, 'a' + writer, SIZE);
			for (int i = 0; i < BLOCKS; i++)
				if (write(fds[1], block, SIZE) != SIZE)
					_exit(1);
		});
	close(fds[1]);
	int whole = 0, counts[WRITERS] = { 0 };
	for (;;) {
		ssize_t have = 0, count;
		while (have < SIZE && (count = MUST(read(fds[0], block + have, SIZE - have))) > 0)
			have += count;
		if (have == 0)
			break;
		int same = have == SIZE;
		for (int i = 1; i < SIZE; i++)
			same &= block[i] == block[0];
		whole += same;
		counts[(block[0] - 'a') & 3]++;
	}
	say("%d whole blocks: %d %d %d %d\n", whole, counts[0], counts[1], counts[2], counts[3]);
	while (wait(NULL) > 0)
		;
}

CASE(pipeline_of_three)
{
	int first[2], second[2];
	MUST(pipe(first));
	MUST(pipe(second));
	pid_t producer = CHILD({
		dup2(first[1], 1);
		close(first[0]), close(first[1]), close(second[0]), close(second[1]);
		for (int i = 1; i <= 1000; i++)
			say("%d\n", i);
	});
	pid_t filter = CHILD({
		dup2(first[0], 0), dup2(second[1], 1);
		close(first[0]), close(first[1]), close(second[0]), close(second[1]);
		int number;
		while (scanf("%d", &number) == 1)
			if (number % 3 == 0)
				say("%d\n", number);
	});
	pid_t consumer = CHILD({
		dup2(second[0], 0);
		close(first[0]), close(first[1]), close(second[0]), close(second[1]);
		int number, count = 0, sum = 0;
		while (scanf("%d", &number) == 1)
			count++, sum += number;
		say("%d numbers, sum %d\n", count, sum);
	});
	close(first[0]), close(first[1]), close(second[0]), close(second[1]);
	reap("consumer", consumer);
	reap("filter", filter);
	reap("producer", producer);
}

CASE(ring_of_processes)
{
	enum { PROCESSES = 10, ROUNDS = 20 };
	int fds[PROCESSES][2], token = 0;
	for (int i = 0; i < PROCESSES; i++)
		MUST(pipe(fds[i]));
	for (int i = 1; i < PROCESSES; i++)
		CHILD({
			for (int round = 0; round < ROUNDS; round++) {
				MUST(read(fds[i - 1][0], &token, sizeof token));
				token++;
				MUST(write(fds[i][1], &token, sizeof token));
			}
		});
	for (int round = 0; round < ROUNDS; round++) {
		MUST(write(fds[0][1], &token, sizeof token));
		MUST(read(fds[PROCESSES - 1][0], &token, sizeof token));
	}
	SHOW(token);
	while (wait(NULL) > 0)
		;
}

CASE(zero_bytes)
{
	int fds[2];
	char byte;
	MUST(pipe(fds));
	RESULT(write(fds[1], "", 0));
	RESULT(read(fds[0], &byte, 0));
	write(fds[1], "a", 1);
	RESULT(read(fds[0], &byte, 0));
	RESULT(read(fds[0], &byte, 1));
}

CASE(a_killed_reader_leaves_the_data)
{
	int fds[2];
	char text[8] = "";
	gate ready;
	MUST(pipe(fds));
	gate_make(ready);
	pid_t child = CHILD({
		char first;
		gate_open(ready);
		read(fds[0], &first, 1);
		_exit(1);
	});
	gate_pass(ready);
	kill(child, SIGKILL);
	reap("child", child);
	write(fds[1], "data", 4);
	RESULT(read(fds[0], text, sizeof text));
	say("%s\n", text);
}

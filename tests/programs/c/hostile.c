/* Programs that use up what there is, or never end. Only for the machine in the machine. */
#include "case.h"

#define PAGE 4096ul

static void eat_memory(void)
{
	for (;;) {
		char *area = mmap(NULL, 256 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (area == MAP_FAILED)
			_exit(errno == ENOMEM ? 50 : 51);
		for (int page = 0; page < 256; page++)
			area[page * PAGE] = 1;
	}
}

/* ENOMEM to the program (50) or death by SIGKILL: either is an answer. */
static void show_end(const char *what, int status)
{
	int told = WIFEXITED(status) && WEXITSTATUS(status) == 50, killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
	if (told || killed)
		say("%s: ended because memory did\n", what);
	else
		show_status(what, status);
}

CASE(memory)
{
	eat_memory();
}

CASE(memory_by_a_child)
{
	for (int round = 0; round < 3; round++) {
		int status;
		pid_t child = CHILD(eat_memory());
		MUST(waitpid(child, &status, 0));
		show_end("child", status);
	}
	reap("a child that asks for little", CHILD({
		char *area = malloc(1 << 20);
		memset(area, 1, 1 << 20);
	}));
}

CASE(memory_by_copies)
{
	static char area[2048 * PAGE];
	memset(area, 1, sizeof area);
	int status, failed = 0;
	for (int i = 0; i < 20; i++) {
		pid_t child = fork();
		if (child == 0) {
			memset(area, 2, sizeof area);
			for (;;)
				pause();
		}
		if (child == -1)
			failed = errno;
	}
	say("asked twenty times, last failure: %s\n", failed ? strerror(failed) : "none");
	while (waitpid(-1, &status, WNOHANG) > 0)
		show_end("child", status);
}

CASE(page_tables)
{
	size_t size = 1ul << 45, step = 1ul << 21;
	char *area = MUST(mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
	for (size_t at = 0; at < size; at += step)
		area[at] = 1;
}

CASE(mappings)
{
	long count = 0;
	while (mmap(NULL, PAGE, count % 2 ? PROT_READ : PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED)
		count++;
	int error = errno;
	munmap(0, 0);
	say("more than a thousand: %d, then: %s\n", count > 1000, strerror(error));
	reap("child", CHILD(_exit(3)));
}

CASE(pipes)
{
	static char block[65536];
	for (int generation = 0; generation < 4; generation++) {
		int fds[2];
		while (pipe2(fds, O_NONBLOCK) == 0)
			while (write(fds[1], block, sizeof block) > 0)
				;
		say("generation %d: %s\n", generation, strerror(errno));
		int status;
		pid_t child = fork();
		if (child == -1) {
			say("fork: %s\n", strerror(errno));
			break;
		}
		if (child != 0) {
			MUST(waitpid(child, &status, 0));
			exit(0);
		}
		for (int fd = 3; fd < 1024; fd += 2)
			close(fd);
	}
}

CASE(processes)
{
	gate end;
	gate_make(end);
	int made = 0;
	pid_t child;
	while ((child = fork()) > 0 && made < 100000)
		made++;
	if (child == 0) {
		char byte;
		close(end[1]);
		read(end[0], &byte, 1);
		_exit(0);
	}
	say("more than a hundred: %d, then: %s\n", made > 100, strerror(errno));
	close(end[1]);
	while (wait(NULL) > 0)
		made--;
	SHOW(made);
	reap("one more", CHILD(_exit(1)));
}

CASE(fork_bomb)
{
	for (;;)
		fork();
}

CASE(loop)
{
	for (;;)
		__asm__ volatile("");
}

CASE(system_call_loop)
{
	for (;;)
		syscall(SYS_getppid);
}

CASE(zombies)
{
	int made = 0;
	pid_t child;
	while ((child = fork()) > 0 && made < 100000)
		made++;
	if (child == 0)
		_exit(0);
	say("then: %s\n", strerror(errno));
	while (wait(NULL) > 0)
		made--;
	SHOW(made);
}

CASE(reads_all_over_the_kernel)
{
	static const unsigned long places[] = { 0xffff800000000000, 0xffff888000000000, 0xffff888000001000, 0xffff888000100000,
						0xffffffff80000000, 0xffffffff80001000, 0xffffffff80008000, 0xffffffff80100000,
						0xffffffffb0001000, 0xffffffffb0010ff8, 0xffffffffc0000000, 0xffffffffffc00000,
						0xffffffffffc01000, 0xfffffffffffffff8 };
	int killed = 0, status;
	for (size_t i = 0; i < sizeof places / sizeof *places; i++)
		for (int write = 0; write < 2; write++) {
			volatile unsigned long *place = (unsigned long *)places[i];
			pid_t child = CHILD(if (write) *place = 0; else (void)*place);
			MUST(waitpid(child, &status, 0));
			killed += WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV;
		}
	SHOW(killed == 2 * sizeof places / sizeof *places);
}

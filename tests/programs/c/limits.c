/* setrlimit(2) and prlimit(2), and what happens at each limit. */
#include "case.h"
#include <sys/prctl.h>

CASE(number_of_processes)
{
	/* The limit counts a user's processes, and root is exempt: so become a user whom nobody else is. */
	if (setuid(61234) == -1 && getuid() == 0)
		say("setuid: %s\n", strerror(errno));
	struct rlimit limit = { 5, 5 };
	MUST(setrlimit(RLIMIT_NPROC, &limit));
	for (int round = 0; round < 3; round++) {
		gate end;
		gate_make(end);
		int made = 0;
		pid_t child;
		while ((child = fork()) != -1 && made < 100) {
			if (child == 0) {
				close(end[1]);
				char byte;
				read(end[0], &byte, 1);
				_exit(made);
			}
			made++;
		}
		say("%d children, then: %s\n", made, strerror(errno));
		RESULT(vfork());
		close(end[1]);
		int sum = 0, status;
		while (wait(&status) > 0)
			sum += WEXITSTATUS(status);
		SHOW(sum);
		close(end[0]);
	}
}

CASE(number_of_descriptors)
{
	struct rlimit limit = { 10, 20 };
	MUST(setrlimit(RLIMIT_NOFILE, &limit));
	int opened = 0;
	while (open("/dev/null", O_RDONLY) != -1)
		opened++;
	say("%d opened, then: %s\n", opened, strerror(errno));
	RESULT(dup(0));
	RESULT(dup2(0, 9));
	RESULT(dup2(0, 10));
	RESULT(fcntl(0, F_DUPFD, 10));
	RESULT(fcntl(0, F_DUPFD, 5));
	reap("child", CHILD(RESULT(open("/dev/null", O_RDONLY))));
	close(9);
	RESULT(open("/dev/null", O_RDONLY));
}

CASE(size_of_the_address_space)
{
	struct rlimit limit = { 64 << 20, 64 << 20 };
	MUST(setrlimit(RLIMIT_AS, &limit));
	SHOW(mmap(NULL, 32 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED);
	RESULT(mmap(NULL, 48 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	SHOW(sbrk(48 << 20) == (void *)-1);
	SHOW(malloc(100 << 20) == NULL);
	reap("child", CHILD(RESULT(mmap(NULL, 48 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))));
}

CASE(size_of_the_data)
{
	struct rlimit limit = { 1 << 20, 1 << 20 };
	MUST(setrlimit(RLIMIT_DATA, &limit));
	SHOW(sbrk(4 << 20) == (void *)-1);
	SHOW(sbrk(65536) != (void *)-1);
}

CASE(values)
{
	struct rlimit limit;
	MUST(prlimit(0, RLIMIT_STACK, NULL, &limit));
	SHOW(limit.rlim_cur);
	limit.rlim_cur = 100, limit.rlim_max = 50;
	RESULT(setrlimit(RLIMIT_NOFILE, &limit));
	RESULT(getrlimit(99, &limit));
	RESULT(prlimit(999999, RLIMIT_STACK, NULL, &limit));
	RESULT(syscall(SYS_prlimit64, 0, RLIMIT_STACK, NULL, 8));
	RESULT(syscall(SYS_prlimit64, 0, RLIMIT_STACK, 8, NULL));
	limit.rlim_cur = 7, limit.rlim_max = 9;
	RESULT(prlimit(getpid(), RLIMIT_CORE, &limit, NULL));
	RESULT(prlimit(0, RLIMIT_CORE, NULL, &limit));
	SHOW(limit.rlim_cur);
	SHOW(limit.rlim_max);
}

/* fork(2): what the child inherits, what it does not, and what the two share afterwards. */
#include "case.h"
#include <pthread.h>
#include <sys/prctl.h>

CASE(return_values)
{
	pid_t parent = getpid();
	int fds[2];
	MUST(pipe(fds));
	pid_t returned = MUST(fork());
	if (returned == 0) {
		pid_t self = getpid();
		SHOW(returned);
		SHOW(getppid() == parent);
		SHOW(self == gettid());
		SHOW(self != parent);
		MUST(write(fds[1], &self, sizeof self));
		_exit(0);
	}
	pid_t child;
	MUST(read(fds[0], &child, sizeof child));
	reap("child", returned);
	SHOW(returned == child);
	SHOW(getpid() == parent);
}

static int data = 1;
static int bss;

CASE(memory_parts_after_fork)
{
	int stack = 3;
	int *heap = malloc(sizeof *heap);
	int *mapping = MUST(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	*heap = 4;
	*mapping = 5;
	bss = 2;
	gate written, seen;
	gate_make(written);
	gate_make(seen);
	pid_t child = CHILD({
		say("child first sees %d %d %d %d %d\n", data, bss, stack, *heap, *mapping);
		data = 10, bss = 20, stack = 30, *heap = 40, *mapping = 50;
		gate_open(written);
		gate_pass(seen);
		say("child at last sees %d %d %d %d %d\n", data, bss, stack, *heap, *mapping);
	});
	gate_pass(written);
	say("parent first sees %d %d %d %d %d\n", data, bss, stack, *heap, *mapping);
	data = 100, bss = 200, stack = 300, *heap = 400, *mapping = 500;
	gate_open(seen);
	reap("child", child);
	say("parent at last sees %d %d %d %d %d\n", data, bss, stack, *heap, *mapping);
}

CASE(parent_writes_first)
{
	gate written;
	gate_make(written);
	data = 7;
	pid_t child = CHILD({
		gate_pass(written);
		say("child sees %d\n", data);
	});
	data = 8;
	gate_open(written);
	reap("child", child);
	say("parent sees %d\n", data);
}

CASE(grandchild_sees_both_generations)
{
	int value = 1;
	pid_t child = CHILD({
		value += 10;
		pid_t grandchild = CHILD({
			value += 100;
			say("grandchild has %d\n", value);
			_exit(3);
		});
		reap("grandchild", grandchild);
		say("child has %d\n", value);
		_exit(2);
	});
	reap("child", child);
	say("parent has %d\n", value);
}

CASE(file_offset_is_shared)
{
	int fd = MUST(open("/proc/self/exe", O_RDONLY));
	pid_t child = CHILD({
		char magic[4];
		SHOW(read(fd, magic, 4));
		SHOW(memcmp(magic, "\177ELF", 4));
	});
	reap("child", child);
	SHOW(lseek(fd, 0, SEEK_CUR));
}

CASE(descriptors_are_separate)
{
	int fd = MUST(open("/dev/null", O_RDWR));
	pid_t child = CHILD({
		RESULT(close(fd));
		RESULT(write(fd, "x", 1));
	});
	reap("child", child);
	RESULT(write(fd, "x", 1));
}

CASE(close_on_exec_flag_is_inherited)
{
	int fd = MUST(open("/dev/null", O_RDWR | O_CLOEXEC));
	reap("child", CHILD(SHOW(fcntl(fd, F_GETFD))));
}

CASE(signal_dispositions_and_mask_are_inherited)
{
	struct sigaction old;
	sigset_t set, now;
	signal(SIGUSR1, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	sigprocmask(SIG_BLOCK, &set, NULL);
	reap("child", CHILD({
		sigaction(SIGUSR1, NULL, &old);
		SHOW(old.sa_handler == SIG_IGN);
		sigprocmask(SIG_BLOCK, NULL, &now);
		SHOW(sigismember(&now, SIGUSR2));
		SHOW(sigismember(&now, SIGUSR1));
		raise(SIGUSR1);
		say("still here\n");
	}));
}

CASE(pending_signals_are_not_inherited)
{
	sigset_t set, pending;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	raise(SIGUSR1);
	reap("child", CHILD({
		sigpending(&pending);
		SHOW(sigismember(&pending, SIGUSR1));
	}));
	sigpending(&pending);
	SHOW(sigismember(&pending, SIGUSR1));
}

CASE(limits_directory_mask_and_group_are_inherited)
{
	struct rlimit limit = { 123, 456 };
	MUST(setrlimit(RLIMIT_NOFILE, &limit));
	MUST(chdir("/"));
	umask(0137);
	pid_t group = getpgrp(), session = getsid(0);
	reap("child", CHILD({
		char directory[PATH_MAX];
		struct rlimit own;
		getrlimit(RLIMIT_NOFILE, &own);
		SHOW(own.rlim_cur);
		SHOW(own.rlim_max);
		say("directory %s\n", getcwd(directory, sizeof directory));
		SHOW(umask(0));
		SHOW(getpgrp() == group);
		SHOW(getsid(0) == session);
		umask(0);
		MUST(chdir("/dev"));
	}));
	char directory[PATH_MAX];
	say("directory %s\n", getcwd(directory, sizeof directory));
	SHOW(umask(0));
}

CASE(name_is_inherited)
{
	char name[16];
	MUST(prctl(PR_SET_NAME, "a-name-of-my-own-and-more"));
	reap("child", CHILD({
		prctl(PR_GET_NAME, name);
		say("%s\n", name);
		prctl(PR_SET_NAME, "other");
	}));
	prctl(PR_GET_NAME, name);
	say("%s\n", name);
}

static __thread int thread_local = 5;

CASE(thread_local_storage_is_copied)
{
	thread_local = 6;
	reap("child", CHILD({
		SHOW(thread_local);
		thread_local = 7;
	}));
	SHOW(thread_local);
}

static void prepare_1(void) { say("prepare 1\n"); }
static void prepare_2(void) { say("prepare 2\n"); }
static void parent_1(void) { say("parent 1\n"); }
static void parent_2(void) { say("parent 2\n"); }
static void child_1(void) { say("child 1\n"); }
static void child_2(void) { say("child 2\n"); }
static gate atfork_done;
static void hold_parent(void) { gate_pass(atfork_done); }

CASE(atfork_handlers_run_in_order)
{
	gate_make(atfork_done);
	pthread_atfork(NULL, hold_parent, NULL); /* the child's lines come before the parent's */
	pthread_atfork(prepare_1, parent_1, child_1);
	pthread_atfork(prepare_2, parent_2, child_2);
	pid_t child = CHILD({
		say("child runs\n");
		gate_open(atfork_done);
	});
	say("parent runs\n");
	reap("child", child);
}

CASE(chain_of_100_generations)
{
	pid_t first = getpid();
	int depth = 0;
	while (depth < 100) {
		pid_t before = getpid();
		pid_t child = MUST(fork());
		if (child != 0) {
			int status;
			MUST(waitpid(child, &status, 0));
			if (!WIFEXITED(status) || WEXITSTATUS(status) != 100)
				show_status("a generation", status);
			if (getpid() != first)
				_exit(WEXITSTATUS(status));
			show_status("the chain", status);
			return;
		}
		if (getppid() != before)
			_exit(1);
		depth++;
	}
	say("generation %d speaks\n", depth);
	_exit(depth);
}

static void two_hundred_children(void)
{
	enum { CHILDREN = 200 };
	static pid_t children[CHILDREN];
	gate start, ready;
	gate_make(start);
	gate_make(ready);
	for (int i = 0; i < CHILDREN; i++)
		children[i] = CHILD({
			gate_open(ready);
			gate_pass(start);
			_exit(i);
		});
	for (int i = 0; i < CHILDREN; i++)
		gate_pass(ready);
	int distinct = 1;
	for (int i = 0; i < CHILDREN; i++)
		for (int j = 0; j < i; j++)
			distinct &= children[i] != children[j];
	SHOW(distinct);
	for (int i = 0; i < CHILDREN; i++)
		gate_open(start);
	int right = 0, status;
	for (int i = 0; i < CHILDREN; i++) {
		MUST(waitpid(children[i], &status, 0));
		right += WIFEXITED(status) && WEXITSTATUS(status) == (i & 0xff);
	}
	SHOW(right);
	RESULT(wait(NULL));
	close(start[0]), close(start[1]), close(ready[0]), close(ready[1]);
}

CASE(two_hundred_children_at_once)
{
	two_hundred_children();
}

CASE(two_hundred_children_five_times)
{
	for (int i = 0; i < 5; i++)
		two_hundred_children();
}

CASE(two_thousand_children_one_after_another)
{
	int right = 0;
	for (int i = 0; i < 2000; i++) {
		int status;
		pid_t child = CHILD(_exit(i % 7));
		right += waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == i % 7;
	}
	SHOW(right);
}

/* Each process forks twice, three generations deep: 8 leaves, 14 descendants. */
static int tree(int depth)
{
	if (depth == 0)
		return 1;
	pid_t left = CHILD(_exit(tree(depth - 1))), right = CHILD(_exit(tree(depth - 1)));
	int l, r;
	MUST(waitpid(left, &l, 0));
	MUST(waitpid(right, &r, 0));
	return WEXITSTATUS(l) + WEXITSTATUS(r);
}

CASE(tree_of_processes)
{
	SHOW(tree(3));
}

CASE(standard_io_buffer_is_copied)
{
	char buffer[BUFSIZ];
	setvbuf(stdout, buffer, _IOFBF, sizeof buffer);
	printf("written once, flushed twice\n");
	pid_t child = MUST(fork());
	if (child == 0)
		exit(0);
	reap("child", child);
	exit(0);
}

/* clone(2) and clone3(2) in their process forms, by raw system calls, and the flag pairs that Linux forbids. */
#include "case.h"
#include <asm/prctl.h>

#ifndef CLONE_PIDFD
#define CLONE_PIDFD 0x1000
#endif

/* struct clone_args of linux/sched.h; musl-gcc does not see that header. */
struct arguments {
	uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup;
};

static long clone_raw(unsigned long flags, int *parent_tid, int *child_tid, void *tls)
{
	return syscall(SYS_clone, flags, NULL, parent_tid, child_tid, tls);
}

static long clone3_raw(struct arguments arguments)
{
	return syscall(SYS_clone3, &arguments, sizeof arguments);
}

CASE(plain_clone_is_fork)
{
	pid_t parent = getpid();
	long child = clone_raw(SIGCHLD, NULL, NULL, NULL);
	if (child == 0) {
		SHOW(getppid() == parent);
		_exit(4);
	}
	reap("child", (pid_t)child);
}

CASE(tids_are_stored_in_parent_and_child)
{
	static int parent_tid, child_tid;
	long child = MUST(clone_raw(CLONE_PARENT_SETTID | CLONE_CHILD_SETTID | SIGCHLD, &parent_tid, &child_tid, NULL));
	if (child == 0) {
		SHOW(child_tid == syscall(SYS_gettid));
		SHOW(parent_tid == child_tid);
		_exit(0);
	}
	reap("child", (pid_t)child);
	SHOW(parent_tid == child);
	SHOW(child_tid);
}

CASE(bad_tid_pointers)
{
	/* Linux stores the parent's tid after the child exists, and ignores where that fails. */
	long child = MUST(clone_raw(CLONE_CHILD_SETTID | SIGCHLD, NULL, (int *)8, NULL));
	if (child == 0)
		_exit(1);
	reap("child with a bad child_tid", (pid_t)child);
}

CASE(child_cleartid_clears_when_the_memory_lives_on)
{
	static int tid = 77;
	static char stack[65536] __attribute__((aligned(16)));
	struct arguments arguments = { .flags = CLONE_VM | CLONE_VFORK | CLONE_CHILD_CLEARTID | CLONE_CHILD_SETTID,
				       .child_tid = (uintptr_t)&tid, .exit_signal = SIGCHLD,
				       .stack = (uintptr_t)stack, .stack_size = sizeof stack };
	/* The child must not return into a frame on the other stack: it exits at once. */
	register long result __asm__("rax") = SYS_clone3;
	register long size __asm__("rsi") = sizeof arguments;
	register void *pointer __asm__("rdi") = &arguments;
	__asm__ volatile("syscall\n test %%rax, %%rax\n jnz 1f\n mov $60, %%eax\n mov $5, %%edi\n syscall\n 1:"
			 : "+r"(result) : "r"(pointer), "r"(size) : "rcx", "r11", "memory");
	long child = result;
	SHOW(tid);
	reap("child", (pid_t)child);
}

static int run_on_its_own_stack(void *argument)
{
	say("argument %d\n", *(int *)argument);
	*(int *)argument += 1;
	return 8;
}

CASE(shared_memory_on_another_stack)
{
	static char stack[65536] __attribute__((aligned(16)));
	int argument = 5;
	pid_t child = MUST(clone(run_on_its_own_stack, stack + sizeof stack, CLONE_VM | CLONE_VFORK | SIGCHLD, &argument));
	SHOW(argument);
	reap("child", child);
}

CASE(copied_memory_on_another_stack)
{
	static char stack[65536] __attribute__((aligned(16)));
	int argument = 5;
	pid_t child = MUST(clone(run_on_its_own_stack, stack + sizeof stack, SIGCHLD, &argument));
	reap("child", child);
	SHOW(argument);
}

static int close_a_descriptor(void *fd)
{
	close(*(int *)fd);
	return 0;
}

CASE(shared_descriptors)
{
	static char stack[65536] __attribute__((aligned(16)));
	int fd = MUST(open("/dev/null", O_RDONLY));
	pid_t child = MUST(clone(close_a_descriptor, stack + sizeof stack, CLONE_FILES | SIGCHLD, &fd));
	reap("child", child);
	RESULT(fcntl(fd, F_GETFD));
}

static int change_directory(void *path)
{
	umask(0123);
	return chdir(path);
}

CASE(shared_directory_and_umask)
{
	static char stack[65536] __attribute__((aligned(16)));
	char directory[PATH_MAX];
	umask(0);
	pid_t child = MUST(clone(change_directory, stack + sizeof stack, CLONE_FS | SIGCHLD, "/dev"));
	reap("child", child);
	say("directory %s\n", getcwd(directory, sizeof directory));
	SHOW(umask(0) == 0123);
}

CASE(clone_parent_makes_a_sibling)
{
	pid_t first = getpid();
	int fds[2];
	MUST(pipe(fds));
	pid_t child = CHILD({
		long sibling = MUST(clone_raw(CLONE_PARENT | SIGCHLD, NULL, NULL, NULL));
		if (sibling == 0)
			_exit(getppid() == first ? 3 : 4);
		RESULT(waitpid((pid_t)sibling, NULL, 0));
		MUST(write(fds[1], &sibling, sizeof sibling));
	});
	long sibling;
	reap("child", child);
	MUST(read(fds[0], &sibling, sizeof sibling));
	reap("sibling", (pid_t)sibling);
}

static volatile sig_atomic_t usr1, chld;
static void count_usr1(int signal) { (void)signal, usr1++; }
static void count_chld(int signal) { (void)signal, chld++; }

CASE(exit_signal_is_the_callers_choice)
{
	signal(SIGUSR1, count_usr1);
	signal(SIGCHLD, count_chld);
	long child = MUST(clone_raw(SIGUSR1, NULL, NULL, NULL));
	if (child == 0)
		_exit(2);
	int status;
	/* Not a SIGCHLD child: plain wait does not see it. */
	RESULT(waitpid((pid_t)child, NULL, 0));
	SHOW(waitpid((pid_t)child, &status, __WALL) == child);
	show_status("child", status);
	SHOW(usr1);
	SHOW(chld);
}

CASE(no_exit_signal)
{
	signal(SIGCHLD, count_chld);
	long child = MUST(clone_raw(0, NULL, NULL, NULL));
	if (child == 0)
		_exit(2);
	int status;
	SHOW(waitpid(-1, &status, __WCLONE) == child);
	show_status("child", status);
	SHOW(chld);
}

CASE(exec_restores_sigchld)
{
	char *arguments[] = { "clone", "nothing", NULL };
	long child = MUST(clone_raw(SIGUSR1, NULL, NULL, NULL));
	if (child == 0) {
		execv("/proc/self/exe", arguments);
		_exit(127);
	}
	int status;
	SHOW(waitpid((pid_t)child, &status, __WALL) == child);
	show_status("child", status);
}

CASE(nothing)
{
}

CASE(settls_gives_the_child_its_own_fs_base)
{
	static unsigned long area[64];
	unsigned long own = 0;
	MUST(syscall(SYS_arch_prctl, ARCH_GET_FS, &own));
	area[0] = (unsigned long)area;
	long child = syscall(SYS_clone, CLONE_SETTLS | SIGCHLD, NULL, NULL, NULL, area);
	if (child == 0) {
		/* No C library without its thread pointer: write and exit by hand. */
		unsigned long base = 0;
		long result, number = SYS_arch_prctl;
		__asm__ volatile("syscall" : "=a"(result) : "0"(number), "D"(ARCH_GET_FS), "S"(&base) : "rcx", "r11", "memory");
		__asm__ volatile("syscall" :: "a"(SYS_exit), "D"(base == (unsigned long)area ? 11 : 12) : "rcx", "r11");
		__builtin_unreachable();
	}
	reap("child", (pid_t)child);
	unsigned long still = 0;
	MUST(syscall(SYS_arch_prctl, ARCH_GET_FS, &still));
	SHOW(still == own);
}

CASE(clone3_is_fork)
{
	static int parent_tid;
	long child = MUST(clone3_raw((struct arguments){
		.flags = CLONE_PARENT_SETTID, .parent_tid = (uintptr_t)&parent_tid, .exit_signal = SIGCHLD }));
	if (child == 0)
		_exit(3);
	reap("child", (pid_t)child);
	SHOW(parent_tid == child);
}

/* Every failure must leave no child behind. */
#define REFUSED(...)                                                                         \
	do {                                                                                 \
		long refused_ = __VA_ARGS__;                                                 \
		if (refused_ == 0)                                                           \
			_exit(0);                                                            \
		say("%s: %s\n", #__VA_ARGS__, refused_ == -1 ? strerror(errno) : "made a child"); \
		while (waitpid(-1, NULL, __WALL) > 0)                                        \
			;                                                                    \
	} while (0)

CASE(forbidden_flags_of_clone)
{
	REFUSED(clone_raw(CLONE_SIGHAND | SIGCHLD, NULL, NULL, NULL));
	REFUSED(clone_raw(CLONE_THREAD | SIGCHLD, NULL, NULL, NULL));
	REFUSED(clone_raw(CLONE_THREAD | CLONE_VM | SIGCHLD, NULL, NULL, NULL));
	REFUSED(clone_raw(CLONE_THREAD | CLONE_SIGHAND | SIGCHLD, NULL, NULL, NULL));
	REFUSED(clone_raw(CLONE_NEWNS | CLONE_FS | SIGCHLD, NULL, NULL, NULL));
	REFUSED(clone_raw(CLONE_NEWUSER | CLONE_FS | SIGCHLD, NULL, NULL, NULL));
	REFUSED(clone_raw(CLONE_NEWIPC | CLONE_SYSVSEM | SIGCHLD, NULL, NULL, NULL));
	REFUSED(clone_raw(CLONE_PIDFD | CLONE_DETACHED | SIGCHLD, NULL, NULL, NULL));
	REFUSED(clone_raw(CLONE_PIDFD | CLONE_PARENT_SETTID | SIGCHLD, NULL, NULL, NULL));
	RESULT(wait(NULL));
}

CASE(forbidden_arguments_of_clone3)
{
	static char stack[4096] __attribute__((aligned(16)));
	REFUSED(clone3_raw((struct arguments){ .flags = SIGCHLD, .exit_signal = SIGCHLD }));
	REFUSED(clone3_raw((struct arguments){ .exit_signal = 65 }));
	REFUSED(clone3_raw((struct arguments){ .exit_signal = 0x100 | SIGCHLD }));
	REFUSED(clone3_raw((struct arguments){ .flags = 1ull << 40, .exit_signal = SIGCHLD }));
	REFUSED(clone3_raw((struct arguments){ .flags = CLONE_DETACHED, .exit_signal = SIGCHLD }));
	REFUSED(clone3_raw((struct arguments){ .flags = CLONE_SIGHAND, .exit_signal = SIGCHLD }));
	REFUSED(clone3_raw((struct arguments){ .flags = CLONE_THREAD | CLONE_SIGHAND | CLONE_VM, .exit_signal = SIGCHLD }));
	REFUSED(clone3_raw((struct arguments){ .flags = CLONE_PARENT, .exit_signal = SIGCHLD }));
	REFUSED(clone3_raw((struct arguments){ .stack = (uintptr_t)stack, .exit_signal = SIGCHLD }));
	REFUSED(clone3_raw((struct arguments){ .stack_size = sizeof stack, .exit_signal = SIGCHLD }));
	REFUSED(clone3_raw((struct arguments){ .set_tid_size = 1, .exit_signal = SIGCHLD }));
	REFUSED(clone3_raw((struct arguments){ .set_tid_size = 33, .set_tid = (uintptr_t)stack, .exit_signal = SIGCHLD }));
	RESULT(wait(NULL));
}

CASE(sizes_of_clone3)
{
	struct {
		struct arguments known;
		uint64_t beyond;
	} larger = { .known = { .exit_signal = SIGCHLD } };
	REFUSED(syscall(SYS_clone3, &larger, 0));
	REFUSED(syscall(SYS_clone3, &larger, 63));
	REFUSED(syscall(SYS_clone3, &larger, 4097));
	REFUSED(syscall(SYS_clone3, (void *)8, 64));
	REFUSED(syscall(SYS_clone3, &larger, 64));
	REFUSED(syscall(SYS_clone3, &larger, sizeof larger));
	larger.beyond = 1;
	REFUSED(syscall(SYS_clone3, &larger, sizeof larger));
}

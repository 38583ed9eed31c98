/* Signals: default actions, exit statuses of faults, and handlers of the simple kind. */
#include "case.h"

CASE(every_default_action)
{
	for (int number = 1; number <= 31; number++) {
		if (number == SIGSTOP || number == SIGTSTP || number == SIGTTIN || number == SIGTTOU)
			continue;
		say("%2d: ", number);
		reap("child", CHILD(kill(getpid(), number)));
	}
}

CASE(real_time_signals_end_a_process)
{
	reap("32", CHILD(syscall(SYS_kill, getpid(), 32)));
	reap("64", CHILD(syscall(SYS_kill, getpid(), 64)));
}

CASE(killed_by_the_parent)
{
	static const int signals[] = { SIGTERM, SIGKILL, SIGHUP, SIGUSR1 };
	for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
		pid_t child = CHILD(for (;;) pause());
		kill(child, signals[i]);
		reap("child", child);
	}
}

CASE(killed_while_it_spins)
{
	pid_t child = CHILD(for (;;) __asm__ volatile(""));
	kill(child, SIGTERM);
	reap("child", child);
}

CASE(killed_while_it_reads_a_pipe)
{
	gate never, ready;
	gate_make(never);
	gate_make(ready);
	pid_t child = CHILD({
		gate_open(ready);
		gate_pass(never);
	});
	gate_pass(ready);
	kill(child, SIGTERM);
	reap("child", child);
}

CASE(abort_ends_with_sigabrt)
{
	reap("child", CHILD(abort()));
	signal(SIGABRT, SIG_IGN);
	reap("child that ignores it", CHILD(abort()));
}

CASE(died_by_a_signal_itself)
{
	kill(getpid(), SIGTERM);
}

CASE(fault_of_its_own)
{
	*(volatile int *)0 = 1;
}

extern char _start[];

CASE(memory_faults)
{
	reap("read of page 0", CHILD((void)*(volatile int *)8));
	reap("write to page 0", CHILD(*(volatile int *)8 = 1));
	reap("call of page 0", CHILD(((void (*)(void))8)()));
	reap("write to text", CHILD(*(volatile char *)(void *)_start = 1));
	reap("read of the kernel's half", CHILD((void)*(volatile int *)0xffffffff80000000));
	reap("write to the kernel's half", CHILD(*(volatile int *)0xffff888000000000 = 1));
	reap("call of the kernel's half", CHILD(((void (*)(void))0xffffffff80000000)()));
	reap("last page of user space", CHILD((void)*(volatile int *)0x7ffffffff000));
	reap("not canonical", CHILD((void)*(volatile int *)0x800000000000));
	reap("not canonical either", CHILD((void)*(volatile int *)0x4141414141414141));
}

CASE(instruction_faults)
{
	reap("ud2", CHILD(__asm__ volatile("ud2")));
	reap("int3", CHILD(__asm__ volatile("int3")));
	reap("division by zero", CHILD(__asm__ volatile("xor %%ecx, %%ecx\n mov $1, %%eax\n cltd\n idiv %%ecx" ::: "eax", "ecx", "edx")));
	reap("division overflow", CHILD(__asm__ volatile("mov $-1, %%ecx\n mov $0x80000000, %%eax\n cltd\n idiv %%ecx" ::: "eax", "ecx", "edx")));
}

CASE(privileged_instructions)
{
	reap("hlt", CHILD(__asm__ volatile("hlt")));
	reap("cli", CHILD(__asm__ volatile("cli")));
	reap("sti", CHILD(__asm__ volatile("sti")));
	reap("in", CHILD(__asm__ volatile("inb $0x60, %%al" ::: "al")));
	reap("out", CHILD(__asm__ volatile("outb %%al, $0x80" ::: "al")));
	reap("mov from cr3", CHILD(__asm__ volatile("mov %%cr3, %%rax" ::: "rax")));
	reap("mov to cr3", CHILD(__asm__ volatile("mov %%rax, %%cr3" ::: "rax")));
	reap("mov to cr0", CHILD(__asm__ volatile("mov %%rax, %%cr0" ::: "rax")));
	reap("mov to dr7", CHILD(__asm__ volatile("mov %%rax, %%dr7" ::: "rax")));
	reap("rdmsr", CHILD(__asm__ volatile("mov $0xc0000080, %%ecx\n rdmsr" ::: "eax", "ecx", "edx")));
	reap("wrmsr", CHILD(__asm__ volatile("mov $0xc0000080, %%ecx\n wrmsr" ::: "eax", "ecx", "edx")));
	reap("lgdt", CHILD(__asm__ volatile("lgdt (%%rsp)" ::: "memory")));
	reap("lidt", CHILD(__asm__ volatile("lidt (%%rsp)" ::: "memory")));
	reap("ltr", CHILD(__asm__ volatile("mov $0x40, %%eax\n ltr %%ax" ::: "rax")));
	reap("invlpg", CHILD(__asm__ volatile("invlpg (%%rsp)" ::: "memory")));
	reap("wbinvd", CHILD(__asm__ volatile("wbinvd")));
	reap("swapgs", CHILD(__asm__ volatile("swapgs")));
	reap("sysretq", CHILD(__asm__ volatile("sysretq")));
	reap("clts", CHILD(__asm__ volatile("clts")));
}

CASE(segment_registers)
{
	reap("kernel data selector", CHILD(__asm__ volatile("mov $0x18, %%eax\n mov %%eax, %%ss" ::: "rax")));
	reap("selector beyond the table", CHILD(__asm__ volatile("mov $0xfff8, %%eax\n mov %%eax, %%ds" ::: "rax")));
	reap("null selector", CHILD(__asm__ volatile("xor %%eax, %%eax\n mov %%eax, %%ds" ::: "rax")));
}

/* A case of its own: QEMU's emulated processor reads these stacks with the kernel's rights, where SMAP makes a Linux
 * in it panic. */
CASE(returns_to_ring_0)
{
	reap("iretq", CHILD(__asm__ volatile("push $0\n push $0\n push $2\n push $0x10\n push $0\n iretq")));
	reap("far return", CHILD(__asm__ volatile("push $0x10\n push $0\n lretq")));
}

CASE(stack_pointer_gone)
{
	reap("push to nowhere", CHILD(__asm__ volatile("mov $8, %rsp\n push %rax")));
	reap("push to a non-canonical address", CHILD(__asm__ volatile("movabs $0x800000000000, %rsp\n push %rax")));
	reap("system call with it", CHILD(__asm__ volatile("movabs $0x800000000000, %rsp\n mov $60, %eax\n mov $7, %edi\n syscall")));
}

CASE(bus_error_behind_the_end_of_a_file)
{
	int fd = MUST(open("/proc/self/exe", O_RDONLY));
	long pages = MUST(lseek(fd, 0, SEEK_END)) / 4096 + 1;
	char *map = MUST(mmap(NULL, (pages + 1) * 4096, PROT_READ, MAP_PRIVATE, fd, 0));
	reap("last page of the file", CHILD((void)*(volatile char *)(map + (pages - 1) * 4096 + 4095)));
	reap("page behind it", CHILD((void)*(volatile char *)(map + pages * 4096)));
}

CASE(kill_finds_its_target)
{
	pid_t zombie = CHILD(_exit(0));
	siginfo_t info;
	waitid(P_PID, zombie, &info, WEXITED | WNOWAIT);
	RESULT(kill(getpid(), 0));
	RESULT(kill(zombie, SIGTERM));
	RESULT(waitpid(zombie, NULL, 0) == zombie);
	RESULT(kill(zombie, 0));
	RESULT(kill(999999, SIGTERM));
	RESULT(kill(-999999, SIGTERM));
	RESULT(kill(getpid(), 65));
	RESULT(kill(getpid(), -1));
	RESULT(kill(999999, 65));
	RESULT(syscall(SYS_tkill, gettid(), 0));
	RESULT(syscall(SYS_tkill, 0, 0));
	RESULT(syscall(SYS_tgkill, getpid(), gettid(), 0));
	RESULT(syscall(SYS_tgkill, getpid(), 999999, 0));
	RESULT(syscall(SYS_tgkill, -1, gettid(), 0));
	RESULT(syscall(SYS_tgkill, getppid(), gettid(), 0));
}

CASE(kill_reaches_a_whole_group)
{
	gate ready;
	gate_make(ready);
	pid_t children[3];
	for (int i = 0; i < 3; i++)
		children[i] = CHILD({
			setpgid(0, i == 0 ? 0 : children[0]);
			gate_open(ready);
			for (;;)
				pause();
		});
	for (int i = 0; i < 3; i++) {
		setpgid(children[i], children[0]);
		gate_pass(ready);
	}
	SHOW(getpgid(children[2]) == children[0]);
	RESULT(kill(-children[0], SIGTERM));
	for (int i = 0; i < 3; i++)
		reap("member", children[i]);
	RESULT(kill(-children[0], SIGTERM));
}

CASE(dispositions_that_cannot_be_set)
{
	struct sigaction action = { .sa_handler = SIG_IGN }, old;
	RESULT(sigaction(SIGKILL, &action, NULL));
	RESULT(sigaction(SIGSTOP, &action, NULL));
	RESULT(sigaction(SIGKILL, NULL, &old));
	RESULT(sigaction(0, &action, NULL));
	RESULT(sigaction(65, &action, NULL));
	RESULT(syscall(SYS_rt_sigaction, SIGUSR1, (void *)8, NULL, 8));
	RESULT(syscall(SYS_rt_sigaction, SIGUSR1, NULL, (void *)8, 8));
	RESULT(syscall(SYS_rt_sigaction, SIGUSR1, NULL, NULL, 4));
	RESULT(syscall(SYS_rt_sigprocmask, 77, &action, NULL, 8));
	RESULT(syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, NULL, 4));
}

CASE(kill_and_stop_cannot_be_blocked)
{
	sigset_t set, now;
	sigfillset(&set);
	sigprocmask(SIG_SETMASK, &set, NULL);
	sigprocmask(SIG_SETMASK, NULL, &now);
	SHOW(sigismember(&now, SIGKILL));
	SHOW(sigismember(&now, SIGSTOP));
	SHOW(sigismember(&now, SIGTERM));
	reap("child", CHILD(kill(getpid(), SIGKILL)));
}

CASE(blocked_faults_end_the_process)
{
	sigset_t set;
	sigfillset(&set);
	sigprocmask(SIG_SETMASK, &set, NULL);
	reap("blocked", CHILD(*(volatile int *)8 = 1));
	signal(SIGSEGV, SIG_IGN);
	reap("ignored", CHILD(*(volatile int *)8 = 1));
}

static volatile sig_atomic_t seen, order[8];
static void note(int number) { order[seen++ & 7] = number; }

CASE(handler_runs_and_returns)
{
	signal(SIGUSR1, note);
	volatile double number = 1.5;
	RESULT(raise(SIGUSR1));
	RESULT(kill(getpid(), SIGUSR1));
	SHOW(seen);
	SHOW(number == 1.5);
}

CASE(handler_preserves_registers)
{
	signal(SIGUSR1, note);
	unsigned long a, b, c, d, e, f;
	long self = getpid();
	register long number __asm__("rax") = SYS_kill;
	register long pid __asm__("rdi") = self;
	register long sig __asm__("rsi") = SIGUSR1;
	__asm__ volatile("mov $0x1111, %%rbx\n mov $0x2222, %%r12\n mov $0x3333, %%r13\n mov $0x4444, %%r8\n"
			 "mov $0x5555, %%r9\n mov $0x6666, %%r10\n syscall\n"
			 "mov %%rbx, %0\n mov %%r12, %1\n mov %%r13, %2\n mov %%r8, %3\n mov %%r9, %4\n mov %%r10, %5"
			 : "=m"(a), "=m"(b), "=m"(c), "=m"(d), "=m"(e), "=m"(f), "+r"(number)
			 : "r"(pid), "r"(sig)
			 : "rbx", "r12", "r13", "r8", "r9", "r10", "rcx", "r11", "memory");
	say("%lx %lx %lx %lx %lx %lx, result %ld, handled %d\n", a, b, c, d, e, f, number, (int)seen);
}

static void show_info(int number, siginfo_t *info, void *context)
{
	(void)context;
	say("signal %d, si_signo %d, si_code %d, from us: %d\n", number, info->si_signo, info->si_code,
	    info->si_pid == getpid() && info->si_uid == getuid());
}

CASE(handler_is_told_who)
{
	struct sigaction action = { .sa_sigaction = show_info, .sa_flags = SA_SIGINFO };
	sigaction(SIGUSR1, &action, NULL);
	kill(getpid(), SIGUSR1);
	syscall(SYS_tgkill, getpid(), gettid(), SIGUSR1);
}

static void fault_and_leave(int number, siginfo_t *info, void *context)
{
	(void)context;
	say("signal %d, si_code %d, si_addr %p\n", number, info->si_code, info->si_addr);
	_exit(3);
}

CASE(fault_handler_is_told_where)
{
	struct sigaction action = { .sa_sigaction = fault_and_leave, .sa_flags = SA_SIGINFO };
	sigaction(SIGSEGV, &action, NULL);
	void *read_only = MUST(mmap((void *)0x10000000, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	reap("not mapped", CHILD(*(volatile int *)0x123456 = 1));
	reap("read-only", CHILD(*(volatile int *)((char *)read_only + 16) = 1));
}

static void *fixed_page;

static void map_it(int number)
{
	(void)number;
	mprotect(fixed_page, 4096, PROT_READ | PROT_WRITE);
}

CASE(fault_handler_can_repair)
{
	fixed_page = MUST(mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	signal(SIGSEGV, map_it);
	*(volatile int *)fixed_page = 5;
	SHOW(*(volatile int *)fixed_page);
}

CASE(signal_is_blocked_in_its_handler)
{
	struct sigaction action = { .sa_handler = note };
	sigset_t set;
	sigaddset(&action.sa_mask, SIGUSR2);
	sigaction(SIGUSR1, &action, NULL);
	signal(SIGUSR2, note);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGUSR2);
	sigprocmask(SIG_BLOCK, &set, NULL);
	raise(SIGUSR2);
	raise(SIGUSR1);
	raise(SIGUSR1);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	say("%d handled: %d %d\n", (int)seen, (int)order[0] == SIGUSR1 || (int)order[1] == SIGUSR1, (int)order[2]);
	sigprocmask(SIG_BLOCK, NULL, &set);
	SHOW(sigismember(&set, SIGUSR1));
	SHOW(sigismember(&set, SIGUSR2));
}

CASE(one_shot_handler)
{
	struct sigaction action = { .sa_handler = note, .sa_flags = SA_RESETHAND }, now;
	sigaction(SIGUSR1, &action, NULL);
	raise(SIGUSR1);
	sigaction(SIGUSR1, NULL, &now);
	SHOW(seen);
	SHOW(now.sa_handler == SIG_DFL);
	reap("again", CHILD(raise(SIGUSR1)));
}

CASE(suspended_until_a_signal)
{
	sigset_t block, empty;
	signal(SIGUSR1, note);
	sigemptyset(&block);
	sigemptyset(&empty);
	sigaddset(&block, SIGUSR1);
	sigprocmask(SIG_BLOCK, &block, NULL);
	pid_t parent = getpid();
	pid_t child = CHILD(kill(parent, SIGUSR1));
	RESULT(sigsuspend(&empty));
	SHOW(seen);
	reap("child", child);
}

static volatile sig_atomic_t reaped;

static void reap_all(int number)
{
	(void)number;
	int saved = errno;
	while (waitpid(-1, NULL, WNOHANG) > 0)
		reaped++;
	errno = saved;
}

CASE(sigchld_handler_reaps)
{
	sigset_t block, empty;
	struct sigaction action = { .sa_handler = reap_all, .sa_flags = SA_RESTART };
	sigaction(SIGCHLD, &action, NULL);
	sigemptyset(&block);
	sigemptyset(&empty);
	sigaddset(&block, SIGCHLD);
	sigprocmask(SIG_BLOCK, &block, NULL);
	for (int i = 0; i < 10; i++)
		CHILD(_exit(0));
	while (reaped < 10)
		sigsuspend(&empty);
	SHOW(reaped);
	RESULT(wait(NULL));
}

CASE(read_is_restarted_or_interrupted)
{
	for (int restart = 0; restart < 2; restart++) {
		struct sigaction action = { .sa_handler = note, .sa_flags = restart ? SA_RESTART : 0 };
		gate data, ready;
		gate_make(data);
		gate_make(ready);
		pid_t child = CHILD({
			sigaction(SIGUSR1, &action, NULL);
			close(data[1]);
			char byte;
			gate_open(ready);
			RESULT(read(data[0], &byte, 1));
		});
		gate_pass(ready);
		/* Signals until the child is interrupted, or until it has seen one for certain. */
		if (restart) {
			kill(child, SIGUSR1);
			gate_open(data);
		} else {
			while (waitpid(child, NULL, WNOHANG) == 0)
				kill(child, SIGUSR1), sched_yield();
			continue;
		}
		reap("child", child);
	}
}

CASE(broken_pipe)
{
	int fds[2];
	MUST(pipe(fds));
	close(fds[0]);
	reap("default", CHILD(write(fds[1], "x", 1)));
	signal(SIGPIPE, SIG_IGN);
	RESULT(write(fds[1], "x", 1));
	signal(SIGPIPE, note);
	RESULT(write(fds[1], "x", 1));
	SHOW(seen);
}

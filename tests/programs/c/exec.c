/* execve(2): what the new program gets, what survives, and that a failing call leaves the caller whole. */
#include "case.h"
#include <elf.h>
#include <sys/auxv.h>
#include <sys/prctl.h>

static const char self[] = "/proc/self/exe";

static void run_self(const char *name, char **environment)
{
	char *arguments[] = { "exec", (char *)name, NULL };
	execve(self, arguments, environment);
	say("execve: %s\n", strerror(errno));
	_exit(127);
}

CASE(arguments_and_environment_arrive)
{
	char *arguments[] = { "any name", "show", "", "two words", "\xff\x01\n", NULL };
	char *environment[] = { "A=1", "", "=odd", "B=2=3", "no equals sign", NULL };
	execve(self, arguments, environment);
}

CASE(show)
{
	exit(0);
}

__attribute__((constructor)) static void show(int argc, char **argv, char **envp)
{
	if (argc < 2 || strcmp(argv[1], "show") != 0)
		return;
	for (int i = 0; i <= argc; i++)
		say("argv[%d] = %s\n", i, argv[i] ? argv[i] : "NULL");
	for (int i = 0; envp[i]; i++)
		say("envp[%d] = %s\n", i, envp[i]);
}

CASE(empty_environment)
{
	char *arguments[] = { "exec", "show", NULL };
	reap("with an empty one", CHILD(run_self("show", (char *[]){ NULL })));
	reap("with a null pointer", CHILD(execve(self, arguments, NULL)));
}

CASE(many_arguments)
{
	static char *arguments[1003] = { "exec", "count" };
	static char text[1000][24];
	for (int i = 0; i < 1000; i++) {
		snprintf(text[i], sizeof text[i], "argument number %d", i);
		arguments[i + 2] = text[i];
	}
	execve(self, arguments, environ);
}

__attribute__((constructor)) static void count(int argc, char **argv)
{
	if (argc < 2 || strcmp(argv[1], "count") != 0)
		return;
	unsigned long sum = 0;
	for (int i = 2; i < argc; i++)
		for (char *c = argv[i]; *c; c++)
			sum = sum * 31 + (unsigned char)*c;
	say("%d arguments, sum %lu, last of %zu bytes\n", argc, sum, strlen(argv[argc - 1]));
	exit(0);
}

CASE(long_argument)
{
	enum { LONGEST = 32 * 4096 - 1 }; /* MAX_ARG_STRLEN, its NUL not counted */
	char *text = malloc(LONGEST + 2);
	memset(text, 'x', LONGEST + 1);
	text[LONGEST + 1] = 0;
	char *arguments[] = { "exec", "count", text, NULL };
	RESULT(execve(self, arguments, environ));
	text[LONGEST] = 0;
	RESULT(execve(self, arguments, environ));
}

CASE(too_many_arguments)
{
	/* 3 MiB at least: more than a quarter of the stack limit. */
	enum { COUNT = 3 * 1024 };
	char *text = malloc(1024);
	memset(text, 'x', 1023);
	text[1023] = 0;
	char **arguments = calloc(COUNT + 1, sizeof *arguments);
	for (int i = 0; i < COUNT; i++)
		arguments[i] = text;
	RESULT(execve(self, arguments, environ));
	say("still here\n");
}

CASE(identity_survives)
{
	char pid[32], ppid[32];
	snprintf(pid, sizeof pid, "PID=%d", getpid());
	snprintf(ppid, sizeof ppid, "PPID=%d", getppid());
	MUST(chdir("/dev"));
	run_self("check_identity", (char *[]){ pid, ppid, NULL });
}

CASE(check_identity)
{
	char directory[PATH_MAX];
	SHOW(getpid() == atoi(getenv("PID")));
	SHOW(getppid() == atoi(getenv("PPID")));
	say("directory %s\n", getcwd(directory, sizeof directory));
}

CASE(children_survive)
{
	char variable[32];
	pid_t child = CHILD(_exit(9));
	snprintf(variable, sizeof variable, "CHILD=%d", child);
	run_self("reap_inherited_child", (char *[]){ variable, NULL });
}

CASE(reap_inherited_child)
{
	reap("child from before execve", atoi(getenv("CHILD")));
}

CASE(close_on_exec)
{
	char variable[64];
	int closed = MUST(open("/dev/null", O_RDONLY | O_CLOEXEC)), open_ = MUST(open("/dev/null", O_RDONLY));
	int duplicate = MUST(dup(closed)), set = MUST(fcntl(open_, F_DUPFD_CLOEXEC, 50));
	snprintf(variable, sizeof variable, "FDS=%d %d %d %d", closed, open_, duplicate, set);
	run_self("check_descriptors", (char *[]){ variable, NULL });
}

CASE(check_descriptors)
{
	int closed, open_, duplicate, set;
	sscanf(getenv("FDS"), "%d %d %d %d", &closed, &open_, &duplicate, &set);
	RESULT(fcntl(closed, F_GETFD));
	RESULT(fcntl(open_, F_GETFD));
	RESULT(fcntl(duplicate, F_GETFD));
	RESULT(fcntl(set, F_GETFD));
}

static void handler(int signal) { (void)signal; }

CASE(signal_state)
{
	sigset_t set;
	signal(SIGUSR1, handler);
	signal(SIGUSR2, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	raise(SIGTERM);
	run_self("check_signal_state", environ);
}

CASE(check_signal_state)
{
	struct sigaction action;
	sigset_t set;
	sigaction(SIGUSR1, NULL, &action);
	SHOW(action.sa_handler == SIG_DFL);
	sigaction(SIGUSR2, NULL, &action);
	SHOW(action.sa_handler == SIG_IGN);
	sigprocmask(SIG_BLOCK, NULL, &set);
	SHOW(sigismember(&set, SIGTERM));
	sigpending(&set);
	SHOW(sigismember(&set, SIGTERM));
}

CASE(memory_is_new)
{
	static int data = 3;
	data++;
	SHOW(data);
	int *brk_before = sbrk(4096);
	*brk_before = 1;
	if (!getenv("AGAIN"))
		run_self("memory_is_new", (char *[]){ "AGAIN=1", NULL });
}

CASE(name_becomes_the_files)
{
	MUST(prctl(PR_SET_NAME, "chosen"));
	run_self("show_name", environ);
}

CASE(show_name)
{
	char name[17] = "";
	MUST(prctl(PR_GET_NAME, name));
	say("%s\n", name);
}

extern char _start[], __ehdr_start[];

CASE(auxiliary_vector)
{
	const Elf64_Ehdr *header = (const Elf64_Ehdr *)__ehdr_start;
	SHOW(getauxval(AT_PAGESZ));
	SHOW(getauxval(AT_CLKTCK));
	SHOW(getauxval(AT_PHENT));
	SHOW(getauxval(AT_PHNUM) == header->e_phnum);
	SHOW(getauxval(AT_PHDR) == (unsigned long)__ehdr_start + header->e_phoff);
	SHOW(getauxval(AT_ENTRY) == (unsigned long)_start);
	SHOW(getauxval(AT_BASE));
	SHOW(getauxval(AT_SECURE));
	SHOW(getauxval(AT_UID) == getuid());
	SHOW(getauxval(AT_EUID) == geteuid());
	SHOW(getauxval(AT_GID) == getgid());
	SHOW(getauxval(AT_EGID) == getegid());
	say("AT_PLATFORM %s\n", (char *)getauxval(AT_PLATFORM));
	SHOW(getauxval(AT_HWCAP) != 0);
	const unsigned char *random = (const unsigned char *)getauxval(AT_RANDOM);
	int any = 0;
	for (int i = 0; i < 16; i++)
		any |= random[i];
	SHOW(any != 0);
}

CASE(execfn_is_the_path_given)
{
	if (!getenv("AGAIN"))
		run_self("execfn_is_the_path_given", (char *[]){ "AGAIN=1", NULL });
	say("AT_EXECFN %s\n", (char *)getauxval(AT_EXECFN));
}

CASE(failing_calls_leave_the_caller_whole)
{
	char *arguments[] = { "x", NULL };
	char long_name[300], long_path[5000];
	memset(long_name, 'n', sizeof long_name - 1);
	long_name[0] = '/', long_name[299] = 0;
	memset(long_path, '/', sizeof long_path - 1);
	long_path[4999] = 0;
	int *heap = malloc(sizeof *heap);
	*heap = 5;
	int fd = MUST(open("/dev/null", O_RDONLY | O_CLOEXEC));
	signal(SIGUSR1, handler);
	RESULT(execve("/no/such/file", arguments, environ));
	RESULT(execve("", arguments, environ));
	RESULT(execve("/", arguments, environ));
	RESULT(execve("/dev", arguments, environ));
	RESULT(execve("/dev/null", arguments, environ));
	RESULT(execve("/dev/null/x", arguments, environ));
	RESULT(execve(long_name, arguments, environ));
	RESULT(execve(long_path, arguments, environ));
	RESULT(execve((char *)8, arguments, environ));
	RESULT(execve(NULL, arguments, environ));
	RESULT(execve(self, (char **)8, environ));
	RESULT(execve(self, (char *[]){ (char *)8, NULL }, environ));
	RESULT(execve(self, arguments, (char **)8));
	RESULT(execve(self, arguments, (char *[]){ "A=b", (char *)8, NULL }));
	SHOW(*heap);
	RESULT(fcntl(fd, F_GETFD));
	struct sigaction action;
	sigaction(SIGUSR1, NULL, &action);
	SHOW(action.sa_handler == handler);
}

CASE(fexecve)
{
	char *arguments[] = { "exec", "show", NULL };
	int fd = MUST(open(self, O_RDONLY | O_CLOEXEC));
	fexecve(fd, arguments, (char *[]){ "BY=descriptor", NULL });
	say("%s\n", strerror(errno));
}

CASE(execveat)
{
	char *arguments[] = { "exec", "show", NULL };
	char *environment[] = { "BY=execveat", NULL };
	RESULT(syscall(SYS_execveat, -1, "exe", arguments, environment, 0));
	RESULT(syscall(SYS_execveat, AT_FDCWD, self, arguments, environment, 0x8000));
	int directory = MUST(open("/dev", O_RDONLY | O_DIRECTORY));
	RESULT(syscall(SYS_execveat, directory, "null", arguments, environment, 0));
	RESULT(syscall(SYS_execveat, directory, "", arguments, environment, 0));
	RESULT(syscall(SYS_execveat, directory, "", arguments, environment, AT_EMPTY_PATH));
	RESULT(syscall(SYS_execveat, AT_FDCWD, self, arguments, environment, AT_SYMLINK_NOFOLLOW));
	RESULT(syscall(SYS_execveat, directory, self, arguments, environment, 0));
}

CASE(chain_of_30_programs)
{
	int left = getenv("LEFT") ? atoi(getenv("LEFT")) : 30;
	char variable[20];
	snprintf(variable, sizeof variable, "LEFT=%d", left - 1);
	if (left > 0)
		run_self("chain_of_30_programs", (char *[]){ variable, NULL });
	say("arrived\n");
}

CASE(fork_then_exec_then_wait)
{
	for (int i = 0; i < 5; i++) {
		char variable[20];
		snprintf(variable, sizeof variable, "STATUS=%d", i);
		reap("child", CHILD(run_self("exit_as_told", (char *[]){ variable, NULL })));
	}
}

CASE(exit_as_told)
{
	exit(atoi(getenv("STATUS")));
}

CASE(stack_limit_is_taken_at_exec)
{
	struct rlimit limit = { 256 * 1024, RLIM_INFINITY };
	getrlimit(RLIMIT_STACK, &limit);
	limit.rlim_cur = 256 * 1024;
	MUST(setrlimit(RLIMIT_STACK, &limit));
	reap("128 KiB of stack", CHILD(run_self("use_128_kib_of_stack", environ)));
	reap("1 MiB of stack", CHILD(run_self("use_1_mib_of_stack", environ)));
}

CASE(use_128_kib_of_stack)
{
	volatile char area[128 * 1024];
	for (size_t i = sizeof area; i >= 4096; i -= 4096)
		area[i - 1] = 1;
}

CASE(use_1_mib_of_stack)
{
	volatile char area[1024 * 1024];
	for (size_t i = sizeof area; i >= 4096; i -= 4096)
		area[i - 1] = 1;
}

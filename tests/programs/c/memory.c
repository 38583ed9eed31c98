/* Address spaces: brk, mmap and its family, protection, the stack, and copy-on-write under load. */
#include "case.h"
#include <sys/uio.h>

#define PAGE 4096ul
#define ANONYMOUS (MAP_PRIVATE | MAP_ANONYMOUS)

static char *map(size_t pages, int protection)
{
	return MUST(mmap(NULL, pages * PAGE, protection, ANONYMOUS, -1, 0));
}

static int all_are(const volatile char *bytes, size_t count, char value)
{
	for (size_t i = 0; i < count; i++)
		if (bytes[i] != value)
			return 0;
	return 1;
}

/* Whether an access is allowed: a child tries it. */
static void try_read(const char *what, volatile char *byte) { reap(what, CHILD((void)*byte)); }
static void try_write(const char *what, volatile char *byte) { reap(what, CHILD(*byte = 1)); }

CASE(break_grows_with_zeros)
{
	char *start = sbrk(0);
	RESULT(brk(start + 100000));
	SHOW((char *)sbrk(0) == start + 100000);
	SHOW(all_are(start, 100000, 0));
	memset(start, 7, 100000);
	RESULT(brk(start + 10000));
	SHOW(all_are(start, 10000, 7));
	RESULT(brk(start + 100000));
	SHOW(all_are(start + 12288 + PAGE, 80000, 0));
	SHOW(all_are(start, 10000, 7));
	RESULT(brk(start));
}

CASE(break_below_its_start_is_refused)
{
	long start = syscall(SYS_brk, 0);
	SHOW(syscall(SYS_brk, 4096) == start);
	SHOW(syscall(SYS_brk, start + 4096) == start + 4096);
	SHOW(syscall(SYS_brk, start) == start);
	SHOW(syscall(SYS_brk, -1L) == start);
}

CASE(break_given_back_is_gone)
{
	char *start = (char *)(((uintptr_t)sbrk(0) + PAGE - 1) & -PAGE);
	MUST(brk(start + 4 * PAGE));
	start[3 * PAGE] = 1;
	MUST(brk(start + PAGE));
	try_write("page kept", start);
	try_write("page given back", start + 3 * PAGE);
}

CASE(fresh_pages_are_zero)
{
	char *area = map(64, PROT_READ | PROT_WRITE);
	SHOW(all_are(area, 64 * PAGE, 0));
	memset(area, 1, 64 * PAGE);
	SHOW(all_are(area, 64 * PAGE, 1));
	RESULT(munmap(area, 64 * PAGE));
	area = map(64, PROT_READ | PROT_WRITE);
	SHOW(all_are(area, 64 * PAGE, 0));
}

CASE(unmapped_pages_are_gone)
{
	char *area = map(3, PROT_READ | PROT_WRITE);
	RESULT(munmap(area + PAGE, PAGE));
	try_write("before", area);
	try_write("unmapped", area + PAGE);
	try_write("behind", area + 2 * PAGE);
	RESULT(munmap(area + PAGE, PAGE));
	RESULT(munmap(area, 3 * PAGE));
	try_write("all gone", area);
}

CASE(mmap_refuses)
{
	RESULT(mmap(NULL, 0, PROT_READ, ANONYMOUS, -1, 0));
	RESULT(mmap(NULL, PAGE, PROT_READ, MAP_ANONYMOUS, -1, 0));
	RESULT(mmap((void *)123, PAGE, PROT_READ, ANONYMOUS | MAP_FIXED, -1, 0));
	RESULT(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, -1, 0));
	RESULT(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, 99, 0));
	RESULT(mmap(NULL, PAGE, PROT_READ, ANONYMOUS, -1, 1));
	RESULT(mmap(NULL, 1ul << 47, PROT_READ, ANONYMOUS, -1, 0));
	RESULT(mmap(NULL, -PAGE, PROT_READ, ANONYMOUS, -1, 0));
	RESULT(mmap(NULL, SIZE_MAX, PROT_READ, ANONYMOUS, -1, 0));
	RESULT(mmap((void *)0x7ffffffff000, PAGE, PROT_READ, ANONYMOUS | MAP_FIXED, -1, 0));
	RESULT(mmap((void *)0xffff800000000000, PAGE, PROT_READ, ANONYMOUS | MAP_FIXED, -1, 0));
	int fds[2];
	MUST(pipe(fds));
	RESULT(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fds[0], 0));
	int exe = MUST(open("/proc/self/exe", O_RDONLY));
	RESULT(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, exe, 100));
	RESULT(munmap((void *)123, PAGE));
	RESULT(munmap((void *)PAGE, 0));
	RESULT(munmap((void *)0x7ffffffff000, PAGE));
}

CASE(fixed_mappings_replace)
{
	char *area = map(4, PROT_READ | PROT_WRITE);
	memset(area, 5, 4 * PAGE);
	SHOW(mmap(area + PAGE, 2 * PAGE, PROT_READ | PROT_WRITE, ANONYMOUS | MAP_FIXED, -1, 0) == area + PAGE);
	SHOW(all_are(area, PAGE, 5));
	SHOW(all_are(area + PAGE, 2 * PAGE, 0));
	SHOW(all_are(area + 3 * PAGE, PAGE, 5));
	RESULT(mmap(area, PAGE, PROT_READ, ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0));
	munmap(area, PAGE);
	SHOW(mmap(area, PAGE, PROT_READ, ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == area);
}

CASE(hints_are_taken_where_free)
{
	char *area = map(16, PROT_READ);
	munmap(area, 16 * PAGE);
	SHOW(mmap(area + 4 * PAGE, PAGE, PROT_READ, ANONYMOUS, -1, 0) == area + 4 * PAGE);
	SHOW(mmap(area + 4 * PAGE, PAGE, PROT_READ, ANONYMOUS, -1, 0) != area + 4 * PAGE);
}

CASE(protection_is_enforced)
{
	char *area = map(4, PROT_READ | PROT_WRITE);
	memset(area, 1, 4 * PAGE);
	RESULT(mprotect(area + PAGE, PAGE, PROT_READ));
	RESULT(mprotect(area + 2 * PAGE, PAGE, PROT_NONE));
	try_write("read-write", area);
	try_read("read-only", area + PAGE);
	try_write("read-only", area + PAGE);
	try_read("no access", area + 2 * PAGE);
	try_write("read-write again", area + 3 * PAGE);
	RESULT(mprotect(area, 4 * PAGE, PROT_READ | PROT_WRITE));
	SHOW(all_are(area, 4 * PAGE, 1));
	try_write("made writable", area + PAGE);
}

CASE(protection_follows_over_fork)
{
	char *area = map(2, PROT_READ | PROT_WRITE);
	area[0] = 1;
	reap("child", CHILD({
		RESULT(mprotect(area, PAGE, PROT_READ));
		try_write("in the grandchild", area);
	}));
	area[0] = 2;
	try_write("in the parent's child", area);
	RESULT(mprotect(area, 2 * PAGE, PROT_NONE));
	reap("child", CHILD({
		RESULT(mprotect(area, 2 * PAGE, PROT_READ | PROT_WRITE));
		SHOW(area[0]);
		area[0] = 3;
	}));
	RESULT(mprotect(area, 2 * PAGE, PROT_READ));
	SHOW(area[0]);
}

CASE(mprotect_refuses)
{
	char *area = map(4, PROT_READ);
	munmap(area + 2 * PAGE, PAGE);
	RESULT(mprotect(area + 1, PAGE, PROT_READ));
	RESULT(mprotect(area, 4 * PAGE, PROT_READ));
	RESULT(mprotect(area + 2 * PAGE, PAGE, PROT_READ));
	RESULT(mprotect(area, PAGE, 0x100));
	RESULT(mprotect(area, 0, PROT_READ));
	RESULT(mprotect((void *)0xffff800000000000, PAGE, PROT_READ));
}

CASE(code_can_be_written_and_run)
{
	static const unsigned char code[] = { 0xb8, 42, 0, 0, 0, 0xc3 }; /* mov $42, %eax; ret */
	char *area = map(1, PROT_READ | PROT_WRITE);
	memcpy(area, code, sizeof code);
	reap("not executable", CHILD(((int (*)(void))area)()));
	RESULT(mprotect(area, PAGE, PROT_READ | PROT_EXEC));
	SHOW(((int (*)(void))area)());
	reap("in a child", CHILD(_exit(((int (*)(void))area)())));
	reap("written to", CHILD(*area = 1));
}

CASE(data_and_stack_are_not_executable)
{
	static unsigned char data[] = { 0xc3 };
	unsigned char stack[] = { 0xc3 };
	reap("data", CHILD(((void (*)(void))data)()));
	reap("stack", CHILD(((void (*)(void))stack)()));
}

CASE(mremap_grows_moves_and_shrinks)
{
	char *area = map(4, PROT_READ | PROT_WRITE);
	memset(area, 3, 4 * PAGE);
	area[0] = 9;
	char *moved = MUST(mremap(area, 4 * PAGE, 64 * PAGE, MREMAP_MAYMOVE));
	SHOW(moved[0]);
	SHOW(all_are(moved + 1, 4 * PAGE - 1, 3));
	SHOW(all_are(moved + 4 * PAGE, 60 * PAGE, 0));
	SHOW(mremap(moved, 64 * PAGE, 2 * PAGE, 0) == moved);
	SHOW(all_are(moved + 1, 2 * PAGE - 1, 3));
	try_read("given back", moved + 2 * PAGE);
	char *target = map(2, PROT_NONE);
	SHOW(mremap(moved, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, target) == target);
	SHOW(target[0]);
	try_read("old place", moved);
}

CASE(mremap_refuses)
{
	char *area = map(4, PROT_READ | PROT_WRITE), *behind = map(1, PROT_READ);
	MUST(mmap(area + 2 * PAGE, PAGE, PROT_READ, ANONYMOUS | MAP_FIXED, -1, 0));
	RESULT(mremap(area, 2 * PAGE, 8 * PAGE, 0));
	RESULT(mremap(area + 1, PAGE, 2 * PAGE, MREMAP_MAYMOVE));
	RESULT(mremap(area, PAGE, 0, MREMAP_MAYMOVE));
	RESULT(mremap(area, PAGE, PAGE, 0x80));
	RESULT(mremap(area, PAGE, PAGE, MREMAP_FIXED, behind));
	munmap(area, 4 * PAGE);
	RESULT(mremap(area, PAGE, 2 * PAGE, MREMAP_MAYMOVE));
}

CASE(moved_pages_stay_shared_until_written)
{
	char *area = map(2, PROT_READ | PROT_WRITE);
	memset(area, 4, 2 * PAGE);
	reap("child", CHILD({
		char *moved = MUST(mremap(area, 2 * PAGE, 128 * PAGE, MREMAP_MAYMOVE));
		SHOW(moved[0]);
		moved[0] = 5;
		SHOW(moved[0]);
	}));
	SHOW(all_are(area, 2 * PAGE, 4));
}

CASE(dontneed_gives_zeros)
{
	char *area = map(4, PROT_READ | PROT_WRITE);
	memset(area, 1, 4 * PAGE);
	RESULT(madvise(area + PAGE, 2 * PAGE, MADV_DONTNEED));
	SHOW(all_are(area, PAGE, 1));
	SHOW(all_are(area + PAGE, 2 * PAGE, 0));
	SHOW(all_are(area + 3 * PAGE, PAGE, 1));
	RESULT(madvise(area + 1, PAGE, MADV_DONTNEED));
	RESULT(madvise(area, PAGE, 12345));
	reap("child", CHILD({
		RESULT(madvise(area, PAGE, MADV_DONTNEED));
		SHOW(area[0]);
	}));
	SHOW(area[0]);
	munmap(area + PAGE, PAGE);
	RESULT(madvise(area, 4 * PAGE, MADV_DONTNEED));
}

CASE(private_file_mapping)
{
	int fd = MUST(open("/proc/self/exe", O_RDONLY));
	long size = MUST(lseek(fd, 0, SEEK_END));
	char *mapped = MUST(mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0));
	char *read_in = malloc(size);
	SHOW(pread(fd, read_in, size, 0) == size);
	SHOW(memcmp(mapped, read_in, size));
	char *second = MUST(mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0));
	mapped[1] = 'X';
	mapped[size - 1] = 'Y';
	SHOW(second[1]);
	char byte;
	SHOW(pread(fd, &byte, 1, 1));
	SHOW(byte);
	reap("child", CHILD({
		SHOW(mapped[1]);
		mapped[1] = 'Z';
	}));
	SHOW(mapped[1]);
	SHOW(all_are(mapped + size, (PAGE - size % PAGE) % PAGE, 0));
	RESULT(madvise(mapped, PAGE, MADV_DONTNEED));
	SHOW(mapped[1]);
}

CASE(file_mapping_at_an_offset)
{
	int fd = MUST(open("/proc/self/exe", O_RDONLY));
	char *whole = MUST(mmap(NULL, 8 * PAGE, PROT_READ, MAP_PRIVATE, fd, 0));
	char *part = MUST(mmap(NULL, 2 * PAGE, PROT_READ, MAP_PRIVATE, fd, 3 * PAGE));
	close(fd);
	SHOW(memcmp(whole + 3 * PAGE, part, 2 * PAGE));
}

static int depth_of_stack(int kib)
{
	volatile char frame[1024];
	frame[0] = frame[1023] = (char)kib;
	if (kib == 0)
		return 0;
	return depth_of_stack(kib - 1) + (frame[0] == (char)kib && frame[1023] == (char)kib);
}

CASE(stack_grows)
{
	SHOW(depth_of_stack(4 * 1024));
	reap("in a child", CHILD(_exit(depth_of_stack(2 * 1024) == 2 * 1024)));
}

__attribute__((noinline)) static int endless(volatile int *depth)
{
	volatile char frame[512];
	frame[0] = 1;
	*depth += 1;
	return endless(depth) + frame[0];
}

CASE(stack_overflow)
{
	volatile int depth = 0;
	endless(&depth);
}

CASE(stack_overflow_of_a_child)
{
	volatile int depth = 0;
	reap("child", CHILD(endless(&depth)));
	SHOW(depth);
}

CASE(kernel_writes_into_the_growing_stack)
{
	volatile char far[512 * 1024];
	int fd = MUST(open("/dev/zero", O_RDONLY));
	SHOW(read(fd, (void *)far, sizeof far) == sizeof far);
	SHOW(all_are(far, sizeof far, 0));
}

CASE(copy_on_write_with_both_sides_writing)
{
	enum { PAGES = 256, ROUNDS = 8 };
	unsigned *area = (unsigned *)map(PAGES, PROT_READ | PROT_WRITE);
	for (int page = 0; page < PAGES; page++)
		area[page * 1024] = area[page * 1024 + 1023] = page;
	for (int round = 0; round < ROUNDS; round++) {
		gate go, ready;
		gate_make(go);
		gate_make(ready);
		pid_t child = CHILD({
			gate_open(ready);
			gate_pass(go);
			unsigned seed = round + 1;
			for (int i = 0; i < PAGES; i++) {
				seed = seed * 1103515245 + 12345;
				unsigned page = (seed >> 8) % PAGES;
				if (area[page * 1024 + 1023] != page + round * 10000)
					_exit(2);
				area[page * 1024] = 0xc0000000 + i;
				if (area[page * 1024] != 0xc0000000u + i)
					_exit(3);
			}
			_exit(1);
		});
		gate_pass(ready);
		gate_open(go);
		for (int page = PAGES - 1; page >= 0; page--) {
			if (area[page * 1024] != (unsigned)page + round * 10000)
				say("page %d holds %#x\n", page, area[page * 1024]);
			area[page * 1024] = area[page * 1024 + 1023] = page + (round + 1) * 10000;
		}
		reap("child", child);
		close(go[0]), close(go[1]), close(ready[0]), close(ready[1]);
	}
	unsigned long sum = 0;
	for (int page = 0; page < PAGES; page++)
		sum += area[page * 1024] + area[page * 1024 + 1023];
	SHOW(sum);
}

CASE(copy_on_write_over_five_generations)
{
	int *area = (int *)map(32, PROT_READ | PROT_WRITE);
	for (int i = 0; i < 32; i++)
		area[i * 1024] = 1;
	int generation = 0;
	pid_t child;
	while (generation < 5 && (child = MUST(fork())) == 0) {
		generation++;
		for (int i = generation; i < 32; i += generation)
			area[i * 1024] += generation * 10;
	}
	int sum = 0, status;
	if (generation < 5) {
		MUST(waitpid(child, &status, 0));
		if (!WIFEXITED(status) || WEXITSTATUS(status))
			show_status("child", status);
	}
	for (int i = 0; i < 32; i++)
		sum += area[i * 1024];
	say("generation %d: sum %d\n", generation, sum);
	exit(0);
}

CASE(many_children_share_one_area)
{
	enum { CHILDREN = 16, PAGES = 64 };
	char *area = map(PAGES, PROT_READ | PROT_WRITE);
	memset(area, 1, PAGES * PAGE);
	pid_t children[CHILDREN];
	for (int i = 0; i < CHILDREN; i++)
		children[i] = CHILD({
			int wrong = !all_are(area, PAGES * PAGE, 1);
			memset(area, i + 2, PAGES * PAGE);
			sched_yield();
			_exit(wrong || !all_are(area, PAGES * PAGE, i + 2));
		});
	for (int i = 0; i < CHILDREN; i++)
		reap("child", children[i]);
	SHOW(all_are(area, PAGES * PAGE, 1));
}

CASE(reading_shares_one_page_of_zeros_until_written)
{
	char *area = map(8, PROT_READ | PROT_WRITE);
	SHOW(all_are(area, 8 * PAGE, 0));
	area[PAGE] = 1;
	SHOW(all_are(area, PAGE, 0));
	SHOW(area[PAGE]);
	SHOW(all_are(area + PAGE + 1, 7 * PAGE - 1, 0));
	reap("child", CHILD({
		area[0] = 2;
		SHOW(area[0] + area[PAGE] + area[2 * PAGE]);
	}));
	SHOW(area[0]);
}

CASE(system_calls_write_into_shared_pages)
{
	int fds[2];
	char *area = map(1, PROT_READ | PROT_WRITE);
	MUST(pipe(fds));
	memset(area, 'p', 16);
	reap("child", CHILD({
		MUST(write(fds[1], "from the kernel", 15));
		SHOW(read(fds[0], area, 15));
		say("child has %.16s\n", area);
	}));
	say("parent has %.16s\n", area);
}

CASE(sixty_four_megabytes_and_a_fork)
{
	enum { PAGES = 16 * 1024 };
	char *area = map(PAGES, PROT_READ | PROT_WRITE);
	for (long page = 0; page < PAGES; page++)
		*(long *)(area + page * PAGE) = page;
	reap("child", CHILD({
		long wrong = 0;
		for (long page = 0; page < PAGES; page++)
			wrong += *(long *)(area + page * PAGE) != page;
		SHOW(wrong);
		for (long page = 0; page < PAGES; page += 16)
			*(long *)(area + page * PAGE) = -page;
	}));
	long wrong = 0;
	for (long page = 0; page < PAGES; page++)
		wrong += *(long *)(area + page * PAGE) != page;
	SHOW(wrong);
}

CASE(address_space_is_larger_than_memory)
{
	size_t size = 1ul << 40;
	char *area = MUST(mmap(NULL, size, PROT_READ | PROT_WRITE, ANONYMOUS | MAP_NORESERVE, -1, 0));
	for (size_t at = 0; at < size; at += size / 16)
		area[at] = 1;
	area[size - 1] = 2;
	reap("child", CHILD(SHOW(area[0] + area[size - 1] + area[12345])));
	RESULT(munmap(area, size));
}

CASE(many_small_mappings)
{
	enum { COUNT = 500 };
	static char *areas[COUNT];
	for (int i = 0; i < COUNT; i++) {
		areas[i] = map(2, i % 2 ? PROT_READ | PROT_WRITE : PROT_READ);
		if (i % 2)
			areas[i][0] = (char)i;
	}
	reap("child", CHILD({
		int right = 0;
		for (int i = 1; i < COUNT; i += 2)
			right += areas[i][0] == (char)i;
		SHOW(right);
	}));
	for (int i = 0; i < COUNT; i += 3)
		MUST(munmap(areas[i], 2 * PAGE));
	int right = 0;
	for (int i = 1; i < COUNT; i += 2)
		right += i % 3 && areas[i][0] == (char)i;
	SHOW(right);
}

CASE(bad_pointers_are_efault)
{
	char *hole = map(2, PROT_READ | PROT_WRITE), path[] = "/dev/zero";
	char *read_only = map(1, PROT_READ);
	munmap(hole + PAGE, PAGE);
	int zero = MUST(open(path, O_RDWR)), fds[2];
	static char *const bad[] = { NULL, (char *)8, (char *)0x7ffffffff000, (char *)0x800000000000,
				     (char *)0xffff888000000000, (char *)0xffffffff80000000, (char *)-1ul };
	MUST(pipe(fds));
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		say("pointer %zu\n", i);
		RESULT(write(fds[1], bad[i], 10));
		RESULT(read(zero, bad[i], 10));
		RESULT(open(bad[i], O_RDONLY));
		RESULT(pipe((int *)bad[i]));
		RESULT(syscall(SYS_uname, bad[i]));
		RESULT(syscall(SYS_newfstatat, AT_FDCWD, path, bad[i], 0));
		RESULT(syscall(SYS_getcwd, bad[i], 100));
		RESULT(syscall(SYS_nanosleep, bad[i], NULL));
		RESULT(syscall(SYS_getrandom, bad[i], 8, 0));
		RESULT(syscall(SYS_readv, zero, bad[i], 1));
	}
	RESULT(read(zero, read_only, 10));
	RESULT(write(fds[1], hole + PAGE - 5, 5));
	MUST(read(fds[0], hole, 5));
	RESULT(write(fds[1], hole + PAGE - 5, 10));
	RESULT(pipe((int *)(hole + PAGE - 4)));
	RESULT(fcntl(fds[1] + 1, F_GETFD));
}

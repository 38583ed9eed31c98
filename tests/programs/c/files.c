/* Descriptors, devices, and the files that every root has: /dev/null, /dev/zero, /proc/self/exe. */
#include "case.h"
#include <dirent.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <termios.h>

CASE(null_and_zero)
{
	char bytes[5000];
	int null = MUST(open("/dev/null", O_RDWR)), zero = MUST(open("/dev/zero", O_RDWR));
	memset(bytes, 1, sizeof bytes);
	RESULT(read(null, bytes, sizeof bytes));
	RESULT(write(null, bytes, sizeof bytes));
	RESULT(read(zero, bytes, sizeof bytes));
	int sum = 0;
	for (size_t i = 0; i < sizeof bytes; i++)
		sum += bytes[i];
	SHOW(sum);
	RESULT(write(zero, bytes, sizeof bytes));
	RESULT(lseek(null, 5, SEEK_SET));
}

static void show_stat(const char *what, const struct stat *s)
{
	say("%s: type %o, permissions %o, rdev %u:%u\n", what, s->st_mode & S_IFMT, s->st_mode & 07777, major(s->st_rdev),
	    minor(s->st_rdev));
}

CASE(types)
{
	struct stat s;
	int fds[2];
	MUST(pipe(fds));
	MUST(fstat(fds[0], &s));
	show_stat("pipe", &s);
	MUST(stat("/dev/null", &s));
	show_stat("/dev/null", &s);
	MUST(stat("/dev/zero", &s));
	show_stat("/dev/zero", &s);
	MUST(stat("/", &s));
	SHOW(S_ISDIR(s.st_mode));
	MUST(stat("/proc/self/exe", &s));
	SHOW(S_ISREG(s.st_mode));
	SHOW(s.st_mode & 0111);
	SHOW(s.st_size > 10000);
	SHOW(s.st_blksize);
	struct stat t;
	int fd = MUST(open("/proc/self/exe", O_RDONLY));
	MUST(fstat(fd, &t));
	SHOW(s.st_ino == t.st_ino && s.st_dev == t.st_dev && s.st_size == t.st_size);
	MUST(lstat("/proc/self/exe", &s));
	SHOW(S_ISLNK(s.st_mode));
	MUST(fstatat(fd, "", &t, AT_EMPTY_PATH));
	SHOW(S_ISREG(t.st_mode));
}

CASE(open_refuses)
{
	char name[300], path[5000];
	memset(name, 'n', 299), name[0] = '/', name[299] = 0;
	memset(path, '/', 4999), path[4999] = 0;
	RESULT(open("/no/such/file", O_RDONLY));
	RESULT(open("/no-such-file", O_RDONLY));
	RESULT(open("", O_RDONLY));
	RESULT(open("/dev/null/x", O_RDONLY));
	RESULT(open("/dev/null/", O_RDONLY));
	RESULT(open("/", O_WRONLY));
	RESULT(open("/", O_RDWR));
	RESULT(open("/dev/null", O_RDONLY | O_DIRECTORY));
	RESULT(open(name, O_RDONLY));
	RESULT(open(path, O_RDONLY));
	RESULT(open("/proc/self/exe", O_RDONLY | O_NOFOLLOW));
	RESULT(openat(99, "relative", O_RDONLY));
	RESULT(openat(0x7fffffff, "x", O_RDONLY));
	int null = MUST(open("/dev/null", O_RDONLY));
	RESULT(openat(null, "x", O_RDONLY));
}

CASE(lowest_descriptor_is_taken)
{
	SHOW(open("/dev/null", O_RDONLY));
	SHOW(open("/dev/null", O_RDONLY));
	SHOW(open("/dev/null", O_RDONLY));
	SHOW(close(4));
	SHOW(dup(3));
	SHOW(close(3));
	SHOW(open("/dev/zero", O_RDONLY));
	int fds[2];
	SHOW(pipe(fds));
	SHOW(fds[0]);
	SHOW(fds[1]);
	SHOW(fcntl(3, F_DUPFD, 10));
	SHOW(fcntl(3, F_DUPFD, 10));
}

CASE(duplicates_share_the_offset)
{
	char byte;
	int fd = MUST(open("/proc/self/exe", O_RDONLY)), second = MUST(dup(fd)), other = MUST(open("/proc/self/exe", O_RDONLY));
	RESULT(read(fd, &byte, 1));
	RESULT(lseek(second, 0, SEEK_CUR));
	RESULT(lseek(other, 0, SEEK_CUR));
	RESULT(close(fd));
	RESULT(read(second, &byte, 1));
	say("%c\n", byte);
}

CASE(dup2_and_dup3)
{
	int fd = MUST(open("/dev/null", O_RDONLY | O_CLOEXEC));
	RESULT(dup2(fd, 20));
	RESULT(fcntl(20, F_GETFD));
	RESULT(dup2(fd, fd));
	RESULT(dup3(fd, fd, 0));
	RESULT(dup3(fd, 21, O_CLOEXEC));
	RESULT(fcntl(21, F_GETFD));
	RESULT(dup3(fd, 22, O_APPEND));
	RESULT(dup2(99, 23));
	RESULT(dup2(99, 99));
	RESULT(dup2(fd, -1));
	RESULT(dup2(fd, 1 << 30));
	RESULT(dup(-1));
}

CASE(flags)
{
	int fd = MUST(open("/dev/null", O_RDWR | O_APPEND | O_CLOEXEC));
	SHOW(fcntl(fd, F_GETFL) & ~O_LARGEFILE & ~0100000);
	SHOW(fcntl(fd, F_GETFD));
	RESULT(fcntl(fd, F_SETFD, 0));
	SHOW(fcntl(fd, F_GETFD));
	RESULT(fcntl(fd, F_SETFL, O_NONBLOCK));
	SHOW(fcntl(fd, F_GETFL) & ~O_LARGEFILE & ~0100000);
	RESULT(fcntl(fd, F_DUPFD, -1));
	RESULT(fcntl(fd, F_DUPFD, 1 << 30));
	RESULT(fcntl(99, F_GETFL));
	RESULT(fcntl(fd, 9999, 0));
}

CASE(closed_descriptors)
{
	char byte;
	struct stat s;
	int fd = MUST(open("/dev/null", O_RDWR));
	RESULT(close(fd));
	RESULT(close(fd));
	RESULT(close(-1));
	RESULT(read(fd, &byte, 1));
	RESULT(write(fd, "x", 1));
	RESULT(lseek(fd, 0, SEEK_SET));
	RESULT(fstat(fd, &s));
	RESULT(dup(fd));
	RESULT(fcntl(fd, F_GETFD));
	RESULT(ioctl(fd, TCGETS, &byte));
	RESULT(pread(fd, &byte, 1, 0));
}

CASE(directions)
{
	char byte = 0;
	int reader = MUST(open("/dev/null", O_RDONLY)), writer = MUST(open("/dev/null", O_WRONLY)), fds[2];
	MUST(pipe(fds));
	RESULT(write(reader, "x", 1));
	RESULT(read(writer, &byte, 1));
	RESULT(write(fds[0], "x", 1));
	RESULT(read(fds[1], &byte, 1));
	RESULT(read(MUST(open("/", O_RDONLY | O_DIRECTORY)), &byte, 1));
	RESULT(write(MUST(open("/", O_RDONLY | O_DIRECTORY)), &byte, 1));
}

CASE(seeking)
{
	char magic[4];
	int fd = MUST(open("/proc/self/exe", O_RDONLY)), fds[2];
	long size = MUST(lseek(fd, 0, SEEK_END));
	SHOW(size > 10000);
	SHOW(lseek(fd, -4, SEEK_CUR) == size - 4);
	RESULT(read(fd, magic, 100));
	RESULT(read(fd, magic, 4));
	RESULT(lseek(fd, -1, SEEK_SET));
	RESULT(lseek(fd, 0, 99));
	SHOW(lseek(fd, 1000, SEEK_END) == size + 1000);
	RESULT(read(fd, magic, 4));
	RESULT(lseek(fd, 1, SEEK_SET));
	RESULT(read(fd, magic, 3));
	say("%.3s\n", magic);
	MUST(pipe(fds));
	RESULT(lseek(fds[0], 0, SEEK_SET));
	RESULT(pread(fds[0], magic, 1, 0));
	RESULT(pread(fd, magic, 4, 0));
	RESULT(pread(fd, magic, 4, -1));
	RESULT(lseek(fd, 0, SEEK_CUR));
}

CASE(vectors)
{
	char a[1], b[2], c[10] = "";
	struct iovec parts[] = { { a, 1 }, { NULL, 0 }, { b, 2 }, { c, 1 } };
	int fd = MUST(open("/proc/self/exe", O_RDONLY)), fds[2];
	RESULT(readv(fd, parts, 4));
	say("%d %.2s %.1s\n", a[0], b, c);
	MUST(pipe(fds));
	struct iovec words[] = { { "one ", 4 }, { "two ", 4 }, { "", 0 }, { "three", 5 } };
	RESULT(writev(fds[1], words, 4));
	char text[20] = "";
	RESULT(read(fds[0], text, sizeof text));
	say("%s\n", text);
	RESULT(writev(fds[1], words, 0));
	RESULT(writev(fds[1], words, -1));
	RESULT(writev(fds[1], words, 1025));
	words[0].iov_len = SIZE_MAX;
	RESULT(writev(fds[1], words, 1));
	RESULT(preadv(fd, parts, 4, 0));
	words[0] = (struct iovec){ "good", 4 }, words[1] = (struct iovec){ (void *)8, 4 };
	RESULT(writev(fds[1], words, 2));
}

CASE(terminal_requests_on_other_files)
{
	struct termios settings;
	struct winsize size;
	int fd = MUST(open("/dev/null", O_RDWR)), fds[2];
	MUST(pipe(fds));
	RESULT(ioctl(fd, TCGETS, &settings));
	RESULT(ioctl(fds[0], TCGETS, &settings));
	RESULT(ioctl(fds[0], TIOCGWINSZ, &size));
	RESULT(isatty(fd));
	RESULT(ioctl(fd, 0x12345678, 0));
}

CASE(directories)
{
	char directory[PATH_MAX];
	RESULT(chdir("/"));
	say("%s\n", getcwd(directory, sizeof directory));
	RESULT(chdir("dev"));
	say("%s\n", getcwd(directory, sizeof directory));
	RESULT(open("null", O_RDONLY));
	RESULT(open("./null", O_RDONLY));
	RESULT(open("../dev/././null", O_RDONLY));
	RESULT(open("../../../../dev/null", O_RDONLY));
	RESULT(chdir(".."));
	say("%s\n", getcwd(directory, sizeof directory));
	RESULT(chdir("/dev/null"));
	RESULT(chdir("/no-such-directory"));
	RESULT(syscall(SYS_getcwd, directory, 1));
	int fd = MUST(open("/dev", O_RDONLY | O_DIRECTORY));
	RESULT(fchdir(fd));
	say("%s\n", getcwd(directory, sizeof directory));
	RESULT(fchdir(1));
	RESULT(fchdir(99));
	SHOW(openat(fd, "null", O_RDONLY) >= 0);
	SHOW(openat(fd, "/dev/zero", O_RDONLY) >= 0);
}

CASE(listing)
{
	DIR *directory = opendir("/dev");
	int dot = 0, dots = 0, null = 0, zero = 0;
	for (struct dirent *entry; (entry = readdir(directory));) {
		dot += strcmp(entry->d_name, ".") == 0;
		dots += strcmp(entry->d_name, "..") == 0;
		null += strcmp(entry->d_name, "null") == 0 && entry->d_type == DT_CHR;
		zero += strcmp(entry->d_name, "zero") == 0;
	}
	say("%d %d %d %d\n", dot, dots, null, zero);
	char buffer[16];
	int fd = MUST(open("/dev", O_RDONLY | O_DIRECTORY));
	RESULT(syscall(SYS_getdents64, fd, buffer, sizeof buffer));
	RESULT(syscall(SYS_getdents64, 1, buffer, sizeof buffer));
	rewinddir(directory);
	SHOW(readdir(directory) != NULL);
}

CASE(access_and_links)
{
	char target[PATH_MAX] = "", small[3];
	RESULT(access("/dev/null", F_OK));
	RESULT(access("/dev/null", R_OK | W_OK));
	RESULT(access("/dev/null", X_OK));
	RESULT(access("/proc/self/exe", R_OK | X_OK));
	RESULT(access("/no-such-file", F_OK));
	RESULT(access("/dev/null", 99));
	RESULT(faccessat(AT_FDCWD, "/dev/null", F_OK, 0));
	SHOW(readlink("/proc/self/exe", target, sizeof target) > 1);
	say("%s\n", strrchr(target, '/') + 1);
	RESULT(readlink("/proc/self/exe", small, sizeof small));
	RESULT(readlink("/dev/null", target, sizeof target));
	RESULT(readlink("/no-such-file", target, sizeof target));
	RESULT(readlink("/proc/self/exe", target, 0));
}

CASE(mask)
{
	umask(022);
	SHOW(umask(0777));
	SHOW(umask(07777));
	SHOW(umask(0));
}

CASE(large_counts)
{
	int zero = MUST(open("/dev/zero", O_RDONLY)), null = MUST(open("/dev/null", O_WRONLY));
	size_t size = 4 << 20;
	char *area = malloc(size);
	RESULT(read(zero, area, size));
	RESULT(write(null, area, size));
	RESULT(read(zero, area, 0));
	RESULT(write(null, area, 0));
	RESULT(read(zero, (void *)8, 0));
}

CASE(copy_of_the_program_by_small_reads)
{
	int fd = MUST(open("/proc/self/exe", O_RDONLY));
	long size = MUST(lseek(fd, 0, SEEK_END)), total = 0, count;
	unsigned sum = 0, whole = 0;
	char *all = malloc(size), part[777];
	MUST(pread(fd, all, size, 0));
	for (long i = 0; i < size; i++)
		whole = whole * 31 + (unsigned char)all[i];
	MUST(lseek(fd, 0, SEEK_SET));
	while ((count = MUST(read(fd, part, sizeof part))) > 0) {
		total += count;
		for (long i = 0; i < count; i++)
			sum = sum * 31 + (unsigned char)part[i];
	}
	SHOW(total == size);
	SHOW(sum == whole);
}

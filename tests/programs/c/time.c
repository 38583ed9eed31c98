/* Clocks and sleep: what can be promised without asserting how long anything takes. */
#include "case.h"
#include <sys/time.h>
#include <sys/times.h>

static long long now(clockid_t clock)
{
	struct timespec time;
	MUST(clock_gettime(clock, &time));
	return time.tv_sec * 1000000000ll + time.tv_nsec;
}

CASE(clocks_do_not_go_back)
{
	static const clockid_t clocks[] = { CLOCK_MONOTONIC, CLOCK_MONOTONIC_RAW, CLOCK_MONOTONIC_COARSE, CLOCK_BOOTTIME,
					    CLOCK_PROCESS_CPUTIME_ID };
	for (size_t i = 0; i < sizeof clocks / sizeof *clocks; i++) {
		long long last = now(clocks[i]);
		int back = 0;
		for (int n = 0; n < 2000; n++) {
			if (n % 100 == 0)
				sched_yield();
			long long next = now(clocks[i]);
			back += next < last;
			last = next;
		}
		say("clock %d went back %d times\n", (int)clocks[i], back);
	}
}

CASE(clocks_go_on)
{
	long long start = now(CLOCK_MONOTONIC), cpu = now(CLOCK_PROCESS_CPUTIME_ID);
	while (now(CLOCK_MONOTONIC) < start + 1000000)
		;
	SHOW(now(CLOCK_PROCESS_CPUTIME_ID) > cpu);
}

CASE(children_see_the_same_clock)
{
	long long start = now(CLOCK_MONOTONIC);
	reap("child", CHILD(SHOW(now(CLOCK_MONOTONIC) >= start)));
}

CASE(sleep_is_never_too_short)
{
	static const long nanoseconds[] = { 1, 1000, 1000000, 20000000 };
	for (size_t i = 0; i < 4; i++) {
		struct timespec pause = { 0, nanoseconds[i] };
		long long start = now(CLOCK_MONOTONIC);
		RESULT(nanosleep(&pause, NULL));
		SHOW(now(CLOCK_MONOTONIC) >= start + nanoseconds[i]);
	}
}

CASE(sleep_until_a_moment)
{
	long long moment = now(CLOCK_MONOTONIC) + 5000000;
	struct timespec until = { moment / 1000000000, moment % 1000000000 }, past = { 0, 1 };
	SHOW(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL));
	SHOW(now(CLOCK_MONOTONIC) >= moment);
	SHOW(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &past, NULL));
	SHOW(clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &past, NULL));
}

CASE(refused)
{
	struct timespec negative = { -1, 0 }, large = { 0, 1000000000 }, time;
	RESULT(nanosleep(&negative, NULL));
	RESULT(nanosleep(&large, NULL));
	RESULT(syscall(SYS_clock_gettime, 99, &time));
	RESULT(syscall(SYS_clock_getres, 99, &time));
	RESULT(syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &large, NULL));
	RESULT(syscall(SYS_clock_nanosleep, 99, 0, &time, NULL));
	RESULT(syscall(SYS_clock_nanosleep, CLOCK_THREAD_CPUTIME_ID, 0, &time, NULL));
	RESULT(syscall(SYS_clock_gettime, CLOCK_REALTIME, 8));
}

CASE(clocks_of_the_day_agree)
{
	struct timeval tv;
	MUST(gettimeofday(&tv, NULL));
	long long day = now(CLOCK_REALTIME) / 1000000000;
	SHOW(day > 1700000000);
	SHOW(day - tv.tv_sec >= 0 && day - tv.tv_sec < 30);
	/* time(2) reads the clock of the last tick, which may lie in the second before. */
	SHOW(time(NULL) - day >= -1 && time(NULL) - day < 30);
	SHOW(syscall(SYS_time, NULL) - day >= -1 && syscall(SYS_time, NULL) - day < 30);
}

CASE(resolution_of_clocks)
{
	struct timespec resolution;
	MUST(clock_getres(CLOCK_MONOTONIC, &resolution));
	say("%ld.%09ld\n", (long)resolution.tv_sec, resolution.tv_nsec);
	MUST(clock_getres(CLOCK_REALTIME, &resolution));
	say("%ld.%09ld\n", (long)resolution.tv_sec, resolution.tv_nsec);
}

CASE(time_used_is_counted)
{
	struct rusage before, after;
	struct tms times_;
	getrusage(RUSAGE_SELF, &before);
	do
		getrusage(RUSAGE_SELF, &after);
	while (after.ru_utime.tv_sec * 1000000 + after.ru_utime.tv_usec + after.ru_stime.tv_sec * 1000000 + after.ru_stime.tv_usec <
	       before.ru_utime.tv_usec + before.ru_stime.tv_usec + 30000);
	SHOW(times(&times_) != -1);
	SHOW(times_.tms_utime + times_.tms_stime >= 2);
	SHOW(times_.tms_cutime + times_.tms_cstime);
	RESULT(getrusage(99, &before));
}

/* x87, SSE, AVX and AVX-512 state: each process has its own, whoever else computes in between. */
#include "case.h"

/* Each block loads registers from `in`, stays in user code for `ticks` of the TSC, and stores them to `out`. */
#define SPIN                                                                                 \
	"rdtsc\n shl $32, %%rdx\n or %%rdx, %%rax\n mov %%rax, %%rcx\n"                      \
	"1: rdtsc\n shl $32, %%rdx\n or %%rdx, %%rax\n sub %%rcx, %%rax\n cmp %2, %%rax\n jb 1b\n"
#define XMM_CLOBBERS                                                                         \
	"xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", \
		"xmm14", "xmm15"
#define SIXTEEN "0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15"

static void hold_x87(const void *in, void *out, unsigned long ticks)
{
	unsigned short control = 0x0c7f, kept; /* round towards zero, 24 bits of precision */
	__asm__ volatile("fninit\n fldcw %3\n fldt 0(%0)\n fldt 16(%0)\n fldt 32(%0)\n fldt 48(%0)\n" SPIN
			 "fstpt 48(%1)\n fstpt 32(%1)\n fstpt 16(%1)\n fstpt 0(%1)\n fnstcw %4\n fninit\n"
			 :: "r"(in), "r"(out), "r"(ticks), "m"(control), "m"(kept) : "rax", "rcx", "rdx", "memory");
	if (kept != control)
		((char *)out)[0] ^= 1;
}

static void hold_xmm(const void *in, void *out, unsigned long ticks)
{
	unsigned rounding = 0x7f80, usual = 0x1f80, kept = 0;
	__asm__ volatile("ldmxcsr %3\n .irp r," SIXTEEN "\n movdqu 16*\\r(%0), %%xmm\\r\n .endr\n" SPIN
			 ".irp r," SIXTEEN "\n movdqu %%xmm\\r, 16*\\r(%1)\n .endr\n stmxcsr %5\n ldmxcsr %4\n"
			 :: "r"(in), "r"(out), "r"(ticks), "m"(rounding), "m"(usual), "m"(kept)
			 : "rax", "rcx", "rdx", "memory", XMM_CLOBBERS);
	if (kept != rounding)
		((char *)out)[0] ^= 1;
}

static void hold_ymm(const void *in, void *out, unsigned long ticks)
{
	__asm__ volatile(".irp r," SIXTEEN "\n vmovdqu 32*\\r(%0), %%ymm\\r\n .endr\n" SPIN
			 ".irp r," SIXTEEN "\n vmovdqu %%ymm\\r, 32*\\r(%1)\n .endr\n vzeroupper\n"
			 :: "r"(in), "r"(out), "r"(ticks) : "rax", "rcx", "rdx", "memory", XMM_CLOBBERS);
}

static void hold_zmm(const void *in, void *out, unsigned long ticks)
{
	__asm__ volatile(".irp r," SIXTEEN ",16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31\n vmovdqu64 64*\\r(%0), %%zmm\\r\n .endr\n"
			 ".irp r,1,2,3,4,5,6,7\n kmovw 2048+2*\\r(%0), %%k\\r\n .endr\n" SPIN
			 ".irp r," SIXTEEN ",16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31\n vmovdqu64 %%zmm\\r, 64*\\r(%1)\n .endr\n"
			 ".irp r,1,2,3,4,5,6,7\n kmovw %%k\\r, 2048+2*\\r(%1)\n .endr\n vzeroall\n"
			 :: "r"(in), "r"(out), "r"(ticks) : "rax", "rcx", "rdx", "memory", XMM_CLOBBERS);
}

static void use_avx(void) { __asm__ volatile("vpxor %%ymm0, %%ymm0, %%ymm0\n vzeroupper" ::: "xmm0"); }
static void use_avx512(void) { __asm__ volatile("vpxorq %%zmm0, %%zmm0, %%zmm0\n vzeroupper" ::: "xmm0"); }

/* Whether the instructions work here, which says more than what CPUID reports. */
static int works(void (*use)(void))
{
	int status;
	MUST(waitpid(CHILD(use()), &status, 0));
	return status == 0;
}

static int has_avx(void) { return works(use_avx); }
static int has_avx512(void) { return works(use_avx512); }

typedef void hold(const void *in, void *out, unsigned long ticks);

/* Fills registers with values of this process's own, many times over, and counts the times they changed. */
static int check(hold *hold_registers, size_t size, int seed, int rounds, unsigned long ticks)
{
	static unsigned char in[4096] __attribute__((aligned(64))), out[4096] __attribute__((aligned(64)));
	int wrong = 0;
	for (int round = 0; round < rounds; round++) {
		for (size_t i = 0; i < size; i++)
			in[i] = (unsigned char)(i * 7 + seed * 31 + round);
		for (size_t i = 2048 + 2; i < 2048 + 16; i++)
			in[i] = (unsigned char)(seed + i);
		if (hold_registers == hold_x87)
			for (int i = 0; i < 4; i++)
				memcpy(in + 16 * i, (long double[]){ seed + i / 8.0L }, 10);
		memcpy(out, in, sizeof out);
		memset(out, 0, hold_registers == hold_x87 ? 0 : size);
		hold_registers(in, out, ticks);
		wrong += memcmp(in, out, size) != 0 || memcmp(in + 2050, out + 2050, 14) != 0;
	}
	return wrong;
}

/* Several processes spin with different values in the same registers; only preemption gets from one to the next. */
static void compete(const char *what, hold *hold_registers, size_t size)
{
	pid_t children[3];
	for (int i = 0; i < 3; i++)
		children[i] = CHILD(_exit(check(hold_registers, size, i + 1, 20, 4000000)));
	int status, wrong = 0;
	for (int i = 0; i < 3; i++) {
		MUST(waitpid(children[i], &status, 0));
		wrong += status != 0;
	}
	say("%s: %s\n", what, wrong ? "mixed up" : "kept");
}

CASE(x87_survives_preemption) { compete("x87", hold_x87, 64); }
CASE(sse_survives_preemption) { compete("xmm", hold_xmm, 256); }

CASE(avx_survives_preemption)
{
	if (has_avx())
		compete("ymm", hold_ymm, 512);
	say("done\n");
}

CASE(avx512_survives_preemption)
{
	if (has_avx512())
		compete("zmm and k", hold_zmm, 2048);
	say("done\n");
}

/* One process per register kind at once. */
CASE(all_kinds_at_once)
{
	pid_t children[6];
	int count = 0, avx = has_avx(), avx512 = has_avx512();
	for (int i = 0; i < 2; i++) {
		children[count++] = CHILD(_exit(check(hold_x87, 64, i + 1, 10, 4000000)));
		children[count++] = CHILD(_exit(check(hold_xmm, 256, i + 3, 10, 4000000)));
		children[count++] = CHILD(_exit(avx512 ? check(hold_zmm, 2048, i + 5, 10, 4000000) :
						avx    ? check(hold_ymm, 512, i + 5, 10, 4000000) :
							       0));
	}
	for (int i = 0; i < count; i++)
		reap("spinner", children[i]);
}

CASE(registers_are_inherited_by_fork)
{
	unsigned char in[16] = "sixteen bytes..", parents[16], x87[10], *childs = parents;
	long double number = 2.5L;
	long child;
	(void)childs;
	__asm__ volatile("movdqu %3, %%xmm13\n fldt %4\n mov %5, %%eax\n syscall\n movdqu %%xmm13, %1\n fstpt %2\n"
			 : "=&a"(child), "=m"(parents), "=m"(x87)
			 : "m"(in), "m"(number), "i"(SYS_fork) : "rcx", "r11", "xmm13", "memory");
	int same = memcmp(in, parents, 16) == 0 && memcmp(&number, x87, 10) == 0;
	if (child == 0)
		_exit(same);
	SHOW(same);
	reap("child", (pid_t)child);
}

CASE(system_calls_leave_registers_alone)
{
	unsigned char in[64] = "text that system calls must not change, in registers they know", out[64];
	__asm__ volatile("movdqu 0(%0), %%xmm0\n movdqu 16(%0), %%xmm5\n movdqu 32(%0), %%xmm10\n movdqu 48(%0), %%xmm15\n"
			 "mov %2, %%eax\n syscall\n mov %3, %%eax\n syscall\n"
			 "movdqu %%xmm0, 0(%1)\n movdqu %%xmm5, 16(%1)\n movdqu %%xmm10, 32(%1)\n movdqu %%xmm15, 48(%1)\n"
			 :: "r"(in), "r"(out), "i"(SYS_getppid), "i"(SYS_sched_yield)
			 : "rax", "rcx", "r11", "memory", "xmm0", "xmm5", "xmm10", "xmm15");
	SHOW(memcmp(in, out, 64));
}

static volatile double handled;
static int avx, avx512;

static void compute(int signal)
{
	unsigned char in[4096] = { 1 }, out[4096];
	hold_xmm(in, out, 10);
	hold_x87(in, out, 10);
	if (avx)
		hold_ymm(in, out, 10);
	if (avx512)
		hold_zmm(in, out, 10);
	handled += signal / 3.0;
}

CASE(handlers_have_registers_of_their_own)
{
	unsigned char in[16] = "sixteen bytes..", out[16];
	avx = has_avx();
	avx512 = has_avx512();
	signal(SIGUSR1, compute);
	long pid = getpid(), result;
	__asm__ volatile("movdqu %2, %%xmm13\n syscall\n movdqu %%xmm13, %1\n"
			 : "=a"(result), "=m"(out) : "m"(in), "0"(SYS_kill), "D"(pid), "S"(SIGUSR1) : "rcx", "r11", "xmm13", "memory");
	SHOW(result);
	SHOW(memcmp(in, out, 16));
	SHOW(handled > 3.3 && handled < 3.4);
}

CASE(exec_starts_afresh)
{
	unsigned control = 0x7f80;
	unsigned short x87_control = 0x0c7f;
	__asm__ volatile("ldmxcsr %0\n fldcw %1\n pcmpeqd %%xmm7, %%xmm7" :: "m"(control), "m"(x87_control) : "xmm7");
	execl("/proc/self/exe", "fpu", "show_control_words", NULL);
}

CASE(show_control_words)
{
	unsigned control;
	unsigned short x87_control;
	__asm__ volatile("stmxcsr %0\n fnstcw %1" : "=m"(control), "=m"(x87_control));
	say("mxcsr %#x, x87 %#x\n", control & ~0x3f, x87_control);
}

CASE(floating_point_of_the_c_library)
{
	reap("child", CHILD(say("%.17g %.17g\n", 1.0 / 3.0, 0.1 + 0.2)));
	say("%.10Lf %a\n", 1.0L / 7.0L, 2.718281828);
}

/*
 * A program that tells every signal that it gets. In C and by raw system calls,
 * so that no runtime takes a signal for itself: the C library keeps 32 and 33
 * out of every set.
 *
 *   signals COUNT     tell signals, "got N", and exit 7 after COUNT of them
 *   signals begin     tell dispositions and mask as they were found, exit 0
 *   signals death     tell the parent-death signal, exit 0
 *
 * "ready PID PPID PGRP" comes first, when nothing can be lost any more. At the
 * end of standard input it exits 8, so that it does not outlive its test.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>

struct kernel_sigaction {
	uintptr_t handler;
	unsigned long flags;
	void *restorer;
	uint64_t mask;
};

static const uint64_t all = ~(uint64_t)0;

static int found(void)
{
	struct kernel_sigaction sa;
	uint64_t mask = 0;

	syscall(SYS_rt_sigprocmask, SIG_SETMASK, NULL, &mask, sizeof mask);
	printf("blocked");
	for (int sig = 1; sig <= 64; sig++)
		if (mask >> (sig - 1) & 1)
			printf(" %d", sig);
	printf("\nignored");
	for (int sig = 1; sig <= 64; sig++) {
		syscall(SYS_rt_sigaction, sig, NULL, &sa, sizeof sa.mask);
		if (sa.handler == (uintptr_t)SIG_IGN)
			printf(" %d", sig);
	}
	puts("");
	return 0;
}

static int death(void)
{
	int sig = 0;

	prctl(PR_GET_PDEATHSIG, &sig);
	printf("death %d\n", sig);
	return 0;
}

static void tell(int fd)
{
	struct signalfd_siginfo info;

	if (read(fd, &info, sizeof info) != sizeof info) {
		perror("signals: signalfd");
		exit(99);
	}
	printf("got %u\n", info.ssi_signo);
}

int main(int argc, char **argv)
{
	struct pollfd from[2] = { { .events = POLLIN }, { .events = POLLIN } };
	int count;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc > 1 && !strcmp(argv[1], "begin"))
		return found();
	if (argc > 1 && !strcmp(argv[1], "death"))
		return death();
	/* Blocked and read: none is lost between two of them. */
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, NULL, sizeof all);
	from[0].fd = syscall(SYS_signalfd4, -1, &all, sizeof all, 0);
	printf("ready %d %d %d\n", getpid(), getppid(), getpgrp());
	for (count = argc > 1 ? atoi(argv[1]) : 1; count > 0;) {
		if (poll(from, 2, -1) < 0)
			continue;
		if (from[0].revents) {
			tell(from[0].fd);
			count--;
		} else if (from[1].revents) {
			return 8;
		}
	}
	return 7;
}

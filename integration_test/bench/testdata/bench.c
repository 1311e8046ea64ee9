/*
 * The program that is measured: it takes CLOCK_MONOTONIC as its very first act,
 * and again whenever a signal comes, and reports through descriptor 3, or in the
 * background, where that is not passed on, through 1. Static: no dynamic linker
 * runs before the first act.
 *
 *   USR1   report, go on
 *   TERM   report, exit 0
 *
 * With the arguments "figures PID FD" its first report is followed by what was
 * counted up to its first act: FD is a group of perf_event_open(2) in process PID.
 */
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

struct report {
	int64_t kind; /* 0: the start, else the signal */
	int64_t pid;
	int64_t nanoseconds;
};

static struct report now(int64_t kind)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (struct report){ kind, 0, t.tv_sec * 1000000000LL + t.tv_nsec };
}

static void send(struct report r)
{
	r.pid = getpid();
	if (write(3, &r, sizeof r) != sizeof r && write(1, &r, sizeof r) != sizeof r)
		_exit(99);
}

/* The group's size comes first. The descriptor need not have come through the wrapper. */
static void figures(const char *pid, const char *fd, int64_t counts[5])
{
	int process = syscall(SYS_pidfd_open, atoi(pid), 0);
	int counter = syscall(SYS_pidfd_getfd, process, atoi(fd), 0);

	if (read(counter, counts, 5 * sizeof *counts) != 5 * sizeof *counts)
		_exit(98);
}

static void handler(int sig)
{
	struct report r = now(sig);

	send(r);
	if (sig == SIGTERM)
		_exit(0);
}

int main(int argc, char **argv)
{
	struct report start = now(0);
	struct sigaction act = { .sa_handler = handler };
	int64_t counts[5];

	if (argc == 4 && strcmp(argv[1], "figures") == 0)
		figures(argv[2], argv[3], counts);
	sigaction(SIGUSR1, &act, NULL);
	sigaction(SIGTERM, &act, NULL);
	send(start);
	if (argc == 4 && write(3, counts + 1, 4 * sizeof *counts) < 0 && write(1, counts + 1, 4 * sizeof *counts) < 0)
		_exit(97);
	for (;;)
		pause();
}

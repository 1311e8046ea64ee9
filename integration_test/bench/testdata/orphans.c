/*
 * A storm of orphans for the wrapper: ten times a thousand processes whose
 * parent has ended are let go at once. What is measured is from then until the
 * last one was reaped: they are a process group, and one without members does
 * not exist. The sum goes to descriptor 3, as a report of the program of bench.c.
 */
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { WAVES = 10, ORPHANS = 1000 };

static int64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* The middle process: its end makes orphans of them. */
static void make(int gate)
{
	char c;

	setpgid(0, 0);
	for (int i = 0; i < ORPHANS; i++) {
		switch (fork()) {
		case -1:
			_exit(1);
		case 0:
			_exit(read(gate, &c, 1) != 0);
		}
	}
	_exit(0);
}

static int64_t wave(void)
{
	struct timespec pause = { 0, 200000 };
	int gate[2], status;
	pid_t middle;
	int64_t begin;

	if (pipe(gate) != 0)
		_exit(97);
	middle = fork();
	if (middle == 0) {
		close(gate[1]);
		make(gate[0]);
	}
	close(gate[0]);
	if (middle < 0 || waitpid(middle, &status, 0) != middle || status != 0)
		_exit(96);
	begin = now();
	close(gate[1]);
	while (kill(-middle, 0) == 0 || errno != ESRCH)
		nanosleep(&pause, NULL);
	return now() - begin;
}

int main(void)
{
	int64_t report[3] = { 0, getpid(), 0 };

	for (int i = 0; i < WAVES; i++)
		report[2] += wave();
	return write(3, report, sizeof report) != sizeof report;
}

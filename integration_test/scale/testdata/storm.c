/*
 * storm N: N orphans end at once. It prints the milliseconds until none is left, not even as a zombie, and exits.
 * Whoever reaps for it is measured.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

int main(int argc, char **argv)
{
	int n = argc > 1 ? atoi(argv[1]) : 0, gate[2];
	pid_t parent, *orphans = mmap(NULL, sizeof(pid_t) * (n + 1), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	double begin;

	if (n < 1 || orphans == MAP_FAILED || pipe(gate) < 0)
		return 99;
	parent = fork();
	if (parent == 0) {
		for (int i = 0; i < n; i++) {
			pid_t orphan = fork();

			if (orphan == 0) {
				char byte;

				close(gate[1]);
				_exit(read(gate[0], &byte, 1) != 0);
			}
			if (orphan < 0)
				_exit(1);
			orphans[i] = orphan;
		}
		_exit(0);
	}
	if (parent < 0 || waitpid(parent, &(int){ 0 }, 0) < 0 || orphans[n - 1] <= 0)
		return 98;
	begin = now();
	close(gate[1]);
	for (int i = 0; i < n; i++)
		while (kill(orphans[i], 0) == 0 || errno != ESRCH)
			usleep(100);
	printf("%.1f\n", now() - begin);
	return 0;
}

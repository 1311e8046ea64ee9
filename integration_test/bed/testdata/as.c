/*
 * Starts a program in a state that a test wants: as OPTION... PROGRAM ARG...
 *
 *   block=N     signal N blocked
 *   ignore=N    signal N ignored
 *   close=N     descriptor N closed
 *   core        no limit on core files
 *   say         tell on standard output when all of this is in place
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static void block(int sig)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, sig);
	sigprocmask(SIG_BLOCK, &set, NULL);
}

int main(int argc, char **argv)
{
	const struct rlimit none = { RLIM_INFINITY, RLIM_INFINITY };
	int n;

	for (argv++; argc > 1 && *argv; argv++) {
		if (sscanf(*argv, "block=%d", &n) == 1)
			block(n);
		else if (sscanf(*argv, "ignore=%d", &n) == 1)
			signal(n, SIG_IGN);
		else if (sscanf(*argv, "close=%d", &n) == 1)
			close(n);
		else if (!strcmp(*argv, "core"))
			setrlimit(RLIMIT_CORE, &none);
		else if (!strcmp(*argv, "say"))
			dprintf(1, "in place\n");
		else
			break;
	}
	execvp(*argv, argv);
	return 99;
}

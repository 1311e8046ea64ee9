/*
 * The programs of examples/kubernetes-job.yaml. The task is over as soon as there is
 * a file /shared/end, the helper never; if nobody ends them before, both end by
 * themselves. Static, so that they run in an image made from scratch.
 */
#include <string.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	const struct timespec pause_between = { 0, 10000000 };
	const char *name = argc > 0 ? strrchr(argv[0], '/') : NULL;

	alarm(60);
	if (!name || strcmp(name, "/task"))
		for (;;)
			pause();
	while (access("/shared/end", F_OK))
		nanosleep(&pause_between, NULL);
	return 0;
}

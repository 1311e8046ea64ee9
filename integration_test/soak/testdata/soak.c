// A PROGRAM that lives until it is told to end:
//
//	soak [daemon]
//
// It survives HUP and USR1, and exits with 3 at USR2, whose handler comes last:
// who sees that it is caught knows that all is in place. As a daemon it does so
// in a session of its own, the child of a process that has ended.
#include <signal.h>
#include <unistd.h>

static void survive(int sig)
{
	(void)sig;
}

static void leave(int sig)
{
	(void)sig;
	_exit(3);
}

static void depart(void)
{
	if (fork() != 0)
		_exit(0);
	setsid();
	if (fork() != 0)
		_exit(0);
}

int main(int argc, char **argv)
{
	(void)argv;
	if (argc > 1)
		depart();
	signal(SIGHUP, survive);
	signal(SIGUSR1, survive);
	signal(SIGUSR2, leave);
	for (;;)
		pause();
}

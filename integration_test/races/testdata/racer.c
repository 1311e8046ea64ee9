// A PROGRAM that says whether it is alone, and how it ends:
//
//	racer PREFIX [daemon]
//
// It holds a lock on PREFIX.alone for as long as it lives, and makes PREFIX.two if
// somebody else has it. At USR2, whose handler comes last, it makes PREFIX.exits and
// exits with 3, whatever else has been sent meanwhile.
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

static char path[4096];

static void make(const char *prefix, const char *name, int lock)
{
	snprintf(path, sizeof path, "%s.%s", prefix, name);
	int fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0)
		_exit(9);
	if (!lock)
		close(fd);
	else if (flock(fd, LOCK_EX | LOCK_NB) != 0)
		make(prefix, "two", 0);
}

static void leave(int sig)
{
	(void)sig;
	int fd = open(path, O_CREAT | O_RDWR, 0600);
	_exit(fd < 0 ? 9 : 3);
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
	struct sigaction act = {.sa_handler = leave};

	if (argc < 2)
		return 9;
	if (argc > 2)
		depart();
	make(argv[1], "alone", 1);
	snprintf(path, sizeof path, "%s.exits", argv[1]);
	sigfillset(&act.sa_mask);
	sigaction(SIGUSR2, &act, NULL);
	for (;;)
		pause();
}

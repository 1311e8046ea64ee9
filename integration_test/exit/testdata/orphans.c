/*
 * A program that leaves orphans behind.
 *
 *   orphans N HELD CODE   leave N orphans behind that end at once, wait until
 *                         nobody holds a zombie of them, say "zombies 0" (or the
 *                         number, when it lasts), then exit with
 *                         CODE while HELD more of them end
 *   orphans where         "parent PID NAME" of an orphan
 *   orphans hold P ARG... run P as a subreaper that reaps nobody else
 *   orphans pass P ARG... run P as no subreaper
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void fail(const char *what)
{
	fprintf(stderr, "orphans: %s: %s\n", what, strerror(errno));
	exit(99);
}

static pid_t fork_or_fail(void)
{
	pid_t pid = fork();

	if (pid < 0)
		fail("fork");
	return pid;
}

/* The middle process ends at once, so that its child becomes an orphan. */
static void leave(void (*orphan)(void))
{
	pid_t middle = fork_or_fail();

	if (middle > 0) {
		if (waitpid(middle, NULL, 0) != middle)
			fail("waitpid");
		return;
	}
	if (fork_or_fail() == 0)
		orphan();
	_exit(0);
}

static void end(void) { _exit(0); }

/* Its other end is this program's alone: the read returns when that ends. */
static int gate[2];

static void end_with_program(void)
{
	char byte;

	close(gate[1]);
	if (read(gate[0], &byte, 1) < 0)
		_exit(99);
	_exit(0);
}

/* The parent of a zombie, or 0. */
static pid_t zombie_of(const char *pid)
{
	char path[64], line[512], state, *paren;
	int ppid = 0;
	FILE *f;

	snprintf(path, sizeof path, "/proc/%.20s/stat", pid);
	f = fopen(path, "r");
	if (!f)
		return 0;
	paren = fgets(line, sizeof line, f) ? strrchr(line, ')') : NULL;
	fclose(f);
	if (!paren || sscanf(paren, ") %c %d", &state, &ppid) != 2 || state != 'Z')
		return 0;
	return ppid;
}

static int zombies(pid_t parent)
{
	DIR *proc = opendir("/proc");
	struct dirent *e;
	int n = 0;

	if (!proc)
		fail("/proc");
	while ((e = readdir(proc)))
		if (isdigit((unsigned char)e->d_name[0]) && zombie_of(e->d_name) == parent)
			n++;
	closedir(proc);
	return n;
}

/* Waits for none, but not when nothing changes any more. */
static int lasting_zombies(void)
{
	const struct timespec pause = { 0, 2000000 };
	int n = zombies(getppid());

	for (int same = 0; n > 0 && same < 200; same++) {
		int before = n;

		nanosleep(&pause, NULL);
		n = zombies(getppid());
		if (n != before)
			same = 0;
	}
	return n;
}

static int leave_all(int n, int held, int code)
{
	for (int i = 0; i < n; i++)
		leave(end);
	printf("zombies %d\n", lasting_zombies());
	fflush(stdout);
	if (pipe(gate))
		fail("pipe");
	for (int i = 0; i < held; i++)
		leave(end_with_program);
	return code;
}

static void tell_parent(void)
{
	char path[64], name[32] = "";
	FILE *f;

	if (read(gate[0], name, 1) != 1)
		_exit(99);
	snprintf(path, sizeof path, "/proc/%d/comm", getppid());
	f = fopen(path, "r");
	if (f && fgets(name, sizeof name, f))
		printf("parent %d %s", getppid(), name);
	fflush(stdout);
	_exit(0);
}

static int where(void)
{
	int done[2];
	char byte;

	if (pipe(gate) || pipe(done))
		fail("pipe");
	leave(tell_parent);
	close(done[1]);
	/* The middle process is gone; and this one stays until the orphan ends. */
	if (write(gate[1], "", 1) != 1 || read(done[0], &byte, 1) != 0)
		fail("pipe");
	return 0;
}

static int run(char **argv, int subreaper)
{
	pid_t pid;
	int status;

	prctl(PR_SET_CHILD_SUBREAPER, subreaper);
	pid = fork_or_fail();
	if (pid == 0) {
		execv(argv[0], argv);
		fail(argv[0]);
	}
	if (waitpid(pid, &status, 0) != pid)
		fail("waitpid");
	return WEXITSTATUS(status);
}

int main(int argc, char **argv)
{
	signal(SIGCHLD, SIG_DFL); /* it may have been ignored: no waiting then */
	if (argc == 4 && isdigit((unsigned char)argv[1][0]))
		return leave_all(atoi(argv[1]), atoi(argv[2]), atoi(argv[3]));
	if (argc == 2 && !strcmp(argv[1], "where"))
		return where();
	if (argc > 2 && !strcmp(argv[1], "hold"))
		return run(argv + 2, 1);
	if (argc > 2 && !strcmp(argv[1], "pass"))
		return run(argv + 2, 0);
	fprintf(stderr, "orphans: usage\n");
	return 99;
}

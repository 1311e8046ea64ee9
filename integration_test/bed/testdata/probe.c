/*
 * The program inside the test containers. Static, so that it runs in an image
 * made from scratch; in C, so that no runtime of its own catches a signal,
 * reaps a child or starts a thread.
 *
 *   probe ids              who am I, and who is process 1
 *   probe exit N           exit with status N
 *   probe die N            die by signal N
 *   probe wait             all dispositions as found, for ever
 *   probe deaf             TERM ignored, for ever
 *   probe signals          tell every signal; TERM ends it with status 7
 *   probe orphans N        leave N orphans behind and count the zombies
 *   probe cat FILE         write out FILE
 *   probe unlink FILE      remove FILE
 *
 * Every line is flushed: the tests wait for it.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void fail(const char *what)
{
	fprintf(stderr, "probe: %s: %s\n", what, strerror(errno));
	exit(99);
}

static void sleep_for_ever(void)
{
	puts("ready");
	for (;;)
		pause();
}

static int ids(void)
{
	char name[32] = "";
	FILE *f = fopen("/proc/1/comm", "r");

	if (!f || !fgets(name, sizeof name, f))
		fail("/proc/1/comm");
	name[strcspn(name, "\n")] = 0;
	printf("pid %d ppid %d uid %d gid %d init %s\n",
	       getpid(), getppid(), getuid(), getgid(), name);
	return 0;
}

static int die(int sig)
{
	signal(sig, SIG_DFL);
	raise(sig);
	return 98; /* process 1 survives its own signals */
}

static int deaf(void)
{
	signal(SIGTERM, SIG_IGN);
	sleep_for_ever();
	return 0;
}

static int signals(void)
{
	sigset_t all;
	int sig;

	/* Blocked and waited for: none is lost between two of them. */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	puts("ready");
	for (;;) {
		if (sigwait(&all, &sig))
			fail("sigwait");
		printf("got %d\n", sig);
		if (sig == SIGTERM)
			return 7;
	}
}

/* The state letter of proc(5), or 0 when the process is gone. */
static char state_of(const char *pid)
{
	char path[64], line[512], *paren;
	FILE *f;

	snprintf(path, sizeof path, "/proc/%.20s/stat", pid);
	f = fopen(path, "r");
	if (!f)
		return 0;
	paren = fgets(line, sizeof line, f) ? strrchr(line, ')') : NULL;
	fclose(f);
	return paren ? paren[2] : 0;
}

/* Counts the processes beside this one and process 1. */
static void count(int *living, int *zombies)
{
	DIR *proc = opendir("/proc");
	struct dirent *e;
	char state;

	if (!proc)
		fail("/proc");
	*living = *zombies = 0;
	while ((e = readdir(proc))) {
		if (!isdigit((unsigned char)e->d_name[0]) ||
		    atoi(e->d_name) == 1 || atoi(e->d_name) == getpid())
			continue;
		state = state_of(e->d_name);
		if (state == 'Z' || state == 'X')
			++*zombies;
		else if (state)
			++*living;
	}
	closedir(proc);
}

/* Held until all are there: then they end in one burst. */
static void await_opening(const int gate[2])
{
	char byte;

	close(gate[1]);
	if (read(gate[0], &byte, 1) < 0)
		fail("read");
}

/* The middle process ends at once, so that its child becomes an orphan. */
static void leave_orphan(const int gate[2])
{
	pid_t middle = fork(), orphan;

	if (middle < 0)
		fail("fork");
	if (middle > 0) {
		if (waitpid(middle, NULL, 0) != middle)
			fail("waitpid");
		return;
	}
	orphan = fork();
	if (orphan < 0)
		fail("fork");
	if (orphan == 0)
		await_opening(gate);
	_exit(0);
}

/*
 * As process 1 the zombies are this program's own to reap, which it does not
 * do: that is the negative control. Otherwise it waits for them to go.
 */
static int orphans(int n)
{
	const struct timespec pause = { 0, 1000000 };
	int gate[2], living, zombies;

	if (pipe(gate))
		fail("pipe");
	for (int i = 0; i < n; i++)
		leave_orphan(gate);
	count(&living, &zombies);
	printf("orphans %d\n", living);
	close(gate[1]);
	for (int tries = 0; tries < 10000; tries++) {
		count(&living, &zombies);
		if (!living && (!zombies || getpid() == 1))
			break;
		nanosleep(&pause, NULL);
	}
	printf("living %d zombies %d\n", living, zombies);
	return 0;
}

static int cat(const char *path)
{
	char buffer[4096];
	size_t n;
	FILE *f = fopen(path, "r");

	if (!f)
		fail(path);
	while ((n = fread(buffer, 1, sizeof buffer, f)) > 0)
		fwrite(buffer, 1, n, stdout);
	return 0;
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "";
	const char *arg = argc > 2 ? argv[2] : "";

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (!strcmp(mode, "ids"))
		return ids();
	if (!strcmp(mode, "exit"))
		return atoi(arg);
	if (!strcmp(mode, "die"))
		return die(atoi(arg));
	if (!strcmp(mode, "wait"))
		sleep_for_ever();
	if (!strcmp(mode, "deaf"))
		return deaf();
	if (!strcmp(mode, "signals"))
		return signals();
	if (!strcmp(mode, "orphans"))
		return orphans(atoi(arg));
	if (!strcmp(mode, "cat"))
		return cat(arg);
	if (!strcmp(mode, "unlink")) {
		if (unlink(arg))
			fail(arg);
		return 0;
	}
	fprintf(stderr, "probe: unknown mode %s\n", mode);
	return 99;
}

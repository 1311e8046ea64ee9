/* shapes KIND [ARG...] goes to the background in one of the ways that daemons are known for.
 * Each becomes a process that waits, and ends on TERM with 0 (and removes its file, if it has one).
 * Its name is "published" when it has written that.
 *
 * middle SLEEP BUSY [FILE]   a double fork whose middle process sleeps, then computes, in ms;
 *                            the daemon writes FILE a moment after that
 * slow MS [FILE]             as middle, but the middle process computes before it makes its session
 * late FILE MS               the daemon looks at its file after MS ms, refuses to run with 7 if
 *                            that names a living process, else writes it
 * lingers FILE MS            the middle process lives on for MS ms after the daemon is there
 * hup FILE MS                HUP: removes its file, executes itself, goes to the background again
 *                            unless process 1 is its parent, and writes the file after MS ms
 * usr2 [FILE] [stay]         USR2: starts itself anew, which writes FILE.2; when the old one has
 *                            ended, which removes FILE, the new one renames that to FILE, up to a
 *                            second later; stay: the first one stays in the foreground
 * escapes FILE GO            goes to the background by one fork, and ends when GO is there
 * again [FILE]               USR2: executes itself and goes to the background again
 * pool [MS]                  a daemon with two workers in its session; USR2: ends them, executes itself, and goes to the
 *                            background again, where it computes for MS ms before it makes its session
 * flees FILE                 as again, by so many forks that hardly one reading of /proc shows it
 * settles                    a daemon that makes a session of its own, and a worker in it, at USR1; then
 *                            its name is "settled"
 * renews FILE                a daemon that writes its file anew at the first TERM, and ends by the
 *                            second one
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char **words;
static const char *file; /* NULL: none */
static char own[4096];   /* the name that it has now */

static void pause_ms(long ms)
{
	struct timespec t = {ms / 1000, ms % 1000 * 1000000};
	while (nanosleep(&t, &t) < 0 && errno == EINTR)
		;
}

static void busy_ms(long ms)
{
	struct timespec a, b;
	clock_gettime(CLOCK_MONOTONIC, &a);
	do
		clock_gettime(CLOCK_MONOTONIC, &b);
	while ((b.tv_sec - a.tv_sec) * 1000 + (b.tv_nsec - a.tv_nsec) / 1000000 < ms);
}

static void publish(void)
{
	if (file != NULL) {
		FILE *f = fopen(own, "w");
		if (f == NULL)
			exit(9);
		fprintf(f, "%d\n", getpid());
		fclose(f);
	}
	prctl(PR_SET_NAME, "published");
}

static void on_term(int sig)
{
	(void)sig;
	if (file != NULL)
		unlink(own);
	_exit(0);
}

static void on_term_renew(int sig)
{
	(void)sig;
	signal(SIGTERM, on_term);
	unlink(own);
	publish();
}

static void execute(void)
{
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execv("/proc/self/exe", words);
	_exit(9);
}

static void on_hup(int sig)
{
	(void)sig;
	unlink(own);
	execute();
}

static void on_usr1_settle(int sig)
{
	(void)sig;
	setsid();
	if (fork() > 0)
		prctl(PR_SET_NAME, "settled");
}

static void on_usr2_again(int sig)
{
	(void)sig;
	execute();
}

static int workers[2];

static void hire(void)
{
	for (int i = 0; i < 2; i++) {
		workers[i] = fork();
		if (workers[i] == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			signal(SIGUSR2, SIG_DFL);
			for (;;)
				pause();
		}
	}
}

static void on_usr2_pool(int sig)
{
	(void)sig;
	for (int i = 0; i < 2; i++) {
		kill(workers[i], SIGKILL);
		waitpid(workers[i], NULL, 0);
	}
	execute();
}

static void on_usr2_start(int sig)
{
	char old[16];
	(void)sig;
	snprintf(old, sizeof old, "%d", getpid());
	if (fork() == 0) {
		setenv("OLD", old, 1);
		execute();
	}
}

static void twice(long busy)
{
	if (fork())
		_exit(0);
	busy_ms(busy);
	setsid();
	if (fork())
		_exit(0);
}

static void run(void)
{
	for (;;)
		pause();
}

int main(int argc, char **argv)
{
	const char *kind = argc > 1 ? argv[1] : "";
	words = argv;
	signal(SIGTERM, on_term);
	if (strcmp(kind, "middle") == 0) {
		file = argc > 4 ? argv[4] : NULL;
		if (fork())
			_exit(0);
		setsid();
		pause_ms(atoi(argv[2]));
		busy_ms(atoi(argv[3]));
		if (fork())
			_exit(0);
		pause_ms(1);
	} else if (strcmp(kind, "slow") == 0) {
		file = argc > 3 ? argv[3] : NULL;
		twice(atoi(argv[2]));
		pause_ms(1);
	} else if (strcmp(kind, "late") == 0) {
		twice(0);
		pause_ms(atoi(argv[3]));
		FILE *f = fopen(argv[2], "r");
		int pid = 0;
		if (f != NULL && fscanf(f, "%d", &pid) == 1 && kill(pid, 0) == 0) {
			fprintf(stderr, "already running\n");
			_exit(7);
		}
		if (f != NULL)
			fclose(f);
		file = argv[2];
	} else if (strcmp(kind, "lingers") == 0) {
		if (fork())
			_exit(0);
		setsid();
		if (fork()) {
			pause_ms(atoi(argv[3]));
			_exit(0);
		}
		file = argv[2];
	} else if (strcmp(kind, "hup") == 0) {
		file = argv[2];
		if (!(getppid() == 1 && getsid(0) == getpid())) {
			if (fork())
				_exit(0);
			setsid();
		}
		pause_ms(atoi(argv[3]));
		signal(SIGHUP, on_hup);
	} else if (strcmp(kind, "usr2") == 0) {
		const char *old = getenv("OLD");
		int stay = strcmp(argv[argc - 1], "stay") == 0;
		file = argc - stay > 2 ? argv[2] : NULL;
		if (old == NULL && !stay)
			twice(0);
		if (file != NULL)
			snprintf(own, sizeof own, "%s%s", file, old ? ".2" : "");
		signal(SIGUSR2, on_usr2_start);
		publish();
		while (old != NULL && getppid() == atoi(old))
			pause_ms(1000);
		if (old != NULL) {
			if (file != NULL) {
				rename(own, file);
				snprintf(own, sizeof own, "%s", file);
			}
			prctl(PR_SET_NAME, "renamed");
		}
		run();
	} else if (strcmp(kind, "escapes") == 0) {
		if (fork()) {
			while (access(argv[2], F_OK) != 0 || access(argv[3], F_OK) != 0)
				pause_ms(1);
			_exit(0);
		}
		setsid();
		file = argv[2];
	} else if (strcmp(kind, "again") == 0) {
		file = argc > 2 ? argv[2] : NULL;
		signal(SIGUSR2, on_usr2_again);
		twice(0);
	} else if (strcmp(kind, "pool") == 0) {
		signal(SIGUSR2, on_usr2_pool);
		twice(argc > 2 ? atoi(argv[2]) : 0);
		hire();
	} else if (strcmp(kind, "flees") == 0) {
		file = argv[2];
		signal(SIGUSR2, on_hup);
		for (int i = 0; i < 40; i++)
			twice(0);
	} else if (strcmp(kind, "settles") == 0) {
		signal(SIGUSR1, on_usr1_settle);
		if (fork())
			_exit(0);
	} else if (strcmp(kind, "renews") == 0) {
		file = argv[2];
		signal(SIGTERM, on_term_renew);
		twice(0);
	} else {
		return 2;
	}
	if (file != NULL)
		snprintf(own, sizeof own, "%s", file);
	publish();
	run();
}

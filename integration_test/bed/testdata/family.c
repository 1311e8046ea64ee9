// A family of processes that tell every signal they get, for the tests of whom
// signals reach:
//
//	family NAME [WHO...]
//
// NAME is what this process calls itself. WHO is
//
//	same     a child in the process group of its parent
//	group    a child in a process group of its own
//	session  a grandchild in another session, whose parent has ended
//	chain    likewise, but it ends as soon as it has forked its successor,
//	         which does the same, and so on
//
// With ":take" behind its name a process exits with 7 at TERM; all others survive
// everything but KILL. Each writes "NAME is PID" when it is in place, and then
// "NAME SIGNO" for each signal; of a chain only the first writes.
//
// The one called "program" exits with N when it reads the line "exit N". All of them
// end when the other end of standard input is closed: so with the test.
#define _GNU_SOURCE
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

static sigset_t all;

// tell writes a line in one piece, so that those of others do not mix with it.
static void tell(const char *format, ...)
{
	char line[256];
	va_list args;

	va_start(args, format);
	int n = vsnprintf(line, sizeof line, format, args);
	va_end(args);
	if (write(1, line, n) != n)
		_exit(9);
}

// watched has standard input for everybody, and lines only for who reads them.
static struct pollfd watched(int reads)
{
	return (struct pollfd){.fd = 0, .events = reads ? POLLIN : 0};
}

static void obey(void)
{
	char line[64] = "";

	if (read(0, line, sizeof line - 1) <= 0)
		_exit(8);
	int code;
	if (sscanf(line, "exit %d", &code) == 1)
		_exit(code);
}

// live never returns.
static void live(const char *name)
{
	int take = strstr(name, ":take") != NULL;
	int length = strcspn(name, ":");
	int reads = strncmp(name, "program", 7) == 0;
	struct pollfd fds[] = {watched(reads), {.fd = signalfd(-1, &all, SFD_NONBLOCK), .events = POLLIN}};
	siginfo_t info;
	struct timespec now = {0, 0};

	tell("%.*s is %d\n", length, name, getpid());
	for (;;) {
		if (poll(fds, 2, -1) < 0)
			_exit(9);
		// The lowest number first, which a test counts on.
		while (sigtimedwait(&all, &info, &now) > 0) {
			if (info.si_signo == SIGCHLD)
				continue;
			tell("%.*s %d\n", length, name, info.si_signo);
			if (take && info.si_signo == SIGTERM)
				_exit(7);
		}
		if (fds[0].revents & POLLIN)
			obey();
		else if (fds[0].revents)
			_exit(8);
	}
}

static void chain(void)
{
	struct pollfd in = watched(0);

	tell("chain is %d\n", getpid());
	while (poll(&in, 1, 0) == 0) {
		pid_t pid = fork();
		// Without a successor the chain would break by itself.
		if (pid > 0)
			_exit(0);
	}
	_exit(8);
}

// depart returns in a grandchild in another session. Its parent is waited for, so
// that it has a new one when it says that it is in place.
static int depart(void)
{
	pid_t pid = fork();

	if (pid > 0) {
		waitpid(pid, NULL, 0);
		return 0;
	}
	setsid();
	int gate[2];
	if (pipe(gate) != 0)
		_exit(9);
	if (fork() > 0)
		_exit(0);
	// Its parent has ended when nobody else holds the other end.
	char c;
	close(gate[1]);
	if (read(gate[0], &c, 1) != 0)
		_exit(9);
	close(gate[0]);
	return 1;
}

static void bear(const char *who)
{
	if (strncmp(who, "same", 4) == 0) {
		if (fork() == 0)
			live(who);
	} else if (strncmp(who, "group", 5) == 0) {
		if (fork() == 0) {
			setpgid(0, 0);
			live(who);
		}
	} else if (strncmp(who, "session", 7) == 0) {
		if (depart())
			live(who);
	} else if (strcmp(who, "chain") == 0) {
		if (depart())
			chain();
	} else {
		tell("no %s\n", who);
		_exit(9);
	}
}

int main(int argc, char **argv)
{
	if (argc < 2)
		return 2;
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	for (int i = 2; i < argc; i++)
		bear(argv[i]);
	live(argv[1]);
}

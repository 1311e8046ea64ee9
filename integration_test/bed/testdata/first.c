// A PROGRAM of the tests, static: nothing runs in its process before it.

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// check reads the PID file before anything else. Exit codes: 0 it names this
// process, 3 it is not there, 4 it is not complete, 5 it names another.
static int check(const char *file) {
	char text[64], want[64];
	int fd = open(file, O_RDONLY);
	if (fd < 0)
		return 3;
	ssize_t n = read(fd, text, sizeof text);
	if (n <= 0 || text[n - 1] != '\n')
		return 4;
	int length = snprintf(want, sizeof want, "%d\n", (int)getpid());
	return n == length && memcmp(text, want, n) == 0 ? 0 : 5;
}

// hold lives until its standard input ends.
static int hold(void) {
	char c;
	printf("%d\n", (int)getpid());
	fflush(stdout);
	while (read(0, &c, 1) > 0)
		;
	return 0;
}

// replace moves another file over the PID file before anything else. TERM has to
// wait until it has said so.
static int replace(const char *file) {
	char other[4096];
	snprintf(other, sizeof other, "%s.new", file);
	sigset_t term;
	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	sigprocmask(SIG_BLOCK, &term, NULL);
	if (rename(other, file) != 0)
		return 3;
	printf("replaced\n");
	fflush(stdout);
	sigprocmask(SIG_UNBLOCK, &term, NULL);
	return hold();
}

static const char *removed_file;

static void remove_file(int sig) {
	(void)sig;
	const char *answer = unlink(removed_file) == 0 ? "removed\n" : "again\n";
	if (write(1, answer, strlen(answer)) < 0)
		_exit(1);
}

// remove_on_term cleans up when it is told to end, and takes its time to end.
static int remove_on_term(const char *file) {
	removed_file = file;
	struct sigaction act = {.sa_handler = remove_file, .sa_flags = SA_RESTART};
	sigaction(SIGTERM, &act, NULL);
	hold();
	return 7;
}

// busy takes a core. If nobody ends it before, it ends by itself.
static int busy(void) {
	alarm(600);
	for (;;)
		;
}

int main(int argc, char **argv) {
	if (argc >= 3 && strcmp(argv[1], "check") == 0)
		return check(argv[2]);
	if (argc >= 3 && strcmp(argv[1], "replace") == 0)
		return replace(argv[2]);
	if (argc >= 2 && strcmp(argv[1], "hold") == 0)
		return hold();
	if (argc >= 2 && strcmp(argv[1], "ignore") == 0) {
		signal(SIGTERM, SIG_IGN);
		return hold();
	}
	if (argc >= 3 && strcmp(argv[1], "remove") == 0)
		return remove_on_term(argv[2]);
	if (argc >= 2 && strcmp(argv[1], "busy") == 0)
		return busy();
	return 99;
}

// A PROGRAM of the tests on terminals: it tells what reaches it there, and does
// what it reads. In C, so that no runtime of its own catches a signal. It ends
// with its terminal.
//
//   terminal talk       tell signals and lines
//   terminal conts      tell SIGCONT, too
//   terminal idle       do nothing
//
// A line that begins with "#" has PIDs and differs from run to run.

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static void say(const char *text) {
	if (write(1, text, strlen(text)) < 0 && errno != EINTR)
		_exit(90);
}

static const struct {
	int number;
	const char *line;
} told[] = {
	{SIGHUP, "got HUP\n"},     {SIGINT, "got INT\n"},   {SIGQUIT, "got QUIT\n"}, {SIGUSR1, "got USR1\n"},
	{SIGUSR2, "got USR2\n"},   {SIGTERM, "# settled\n"}, {SIGWINCH, "got WINCH\n"}, {SIGCONT, "got CONT\n"},
	{63, "# settled\n"},
};

static void tell(int sig) {
	int saved = errno;
	for (size_t i = 0; i < sizeof told / sizeof *told; i++)
		if (told[i].number == sig)
			say(told[i].line);
	errno = saved;
}

static void tell_signals(int conts) {
	struct sigaction act = {.sa_handler = tell, .sa_flags = SA_RESTART};
	sigfillset(&act.sa_mask); // one line at a time
	for (size_t i = 0; i < sizeof told / sizeof *told; i++)
		if (told[i].number != SIGCONT || conts)
			sigaction(told[i].number, &act, NULL);
}

static void tell_place(void) {
	char line[100];
	snprintf(line, sizeof line, "# %d %d %d\n", (int)getpid(), (int)getppid(), (int)getpgrp());
	say(line);
	say(tcgetpgrp(0) == getpgrp() ? "foreground\n" : "background\n");
}

static void tell_size(void) {
	struct winsize size;
	char line[64];
	if (ioctl(0, TIOCGWINSZ, &size))
		_exit(91);
	snprintf(line, sizeof line, "size %d %d\n", size.ws_row, size.ws_col);
	say(line);
}

static void obey(const char *line) {
	char answer[256];
	int code;
	if (sscanf(line, "end %d", &code) == 1)
		exit(code);
	if (!strcmp(line, "place"))
		tell_place();
	else if (!strcmp(line, "size"))
		tell_size();
	else if (!strcmp(line, "stop"))
		kill(getpid(), SIGSTOP);
	else if (!strcmp(line, "suspend")) // as editors do for ^Z
		kill(0, SIGTSTP);
	else {
		snprintf(answer, sizeof answer, "read %.200s\n", line);
		say(answer);
	}
}

static int idle(void) {
	tell_place();
	alarm(600); // should nobody end it
	for (;;)
		pause();
}

int main(int argc, char **argv) {
	char line[200];
	if (argc > 1 && !strcmp(argv[1], "idle"))
		return idle();
	tell_signals(argc > 1 && !strcmp(argv[1], "conts"));
	tell_place();
	while (fgets(line, sizeof line, stdin)) {
		line[strcspn(line, "\n")] = 0;
		obey(line);
	}
	return 92;
}

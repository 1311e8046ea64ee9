/*
 * A PROGRAM that speaks the service manager's protocols by hand: the tests are
 * about the protocols, not about a library. Static, as it runs in systemd's own
 * mount namespace; in C, so that no runtime of its own touches a signal.
 *
 *   notify serve        answer whoever connects to the sockets it was given
 *   notify led [BASE]   do what the test says, an order a line, and answer each
 *                       with a line, on standard input and output or on the
 *                       FIFOs BASE.in and BASE.out
 *   notify say TEXT     send one message
 *   notify last TEXT    send one message as the very last act
 *
 * Orders, in which "\n" and "\r" stand for the ends of lines:
 *
 *   send TEXT           send TEXT to NOTIFY_SOCKET
 *   many N TEXT         send TEXT with " 1" to " N" behind it
 *   big N TEXT          send TEXT with as many x behind it as make N bytes
 *   store NAME TEXT     hand over a descriptor from which TEXT can be read
 *   barrier             wait until all messages have been read
 *   sockets             tell what was given: right or wrong, number, names
 *   stored              tell what can be read from the descriptors given
 *   accept              take a connection from the first socket, and close it
 *   env NAME            tell a variable, "-" when there is none
 *   ignored SIG         tell whether the signal is ignored
 *   become USER         change the user
 *   child TEXT          send TEXT from another process
 *   count               from now on count signals, by sender; RTMIN+5 has it
 *                       tell and forget the numbers
 *   ping MS N           send WATCHDOG=1 N times, every MS milliseconds
 *   exit N
 *   kill SIG            end by a signal
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define FIRST_FD 3 /* SD_LISTEN_FDS_START */

static FILE *answers;

static void fail(const char *what)
{
	fprintf(stderr, "notify: %s: %s\n", what, strerror(errno));
	exit(99);
}

/* One datagram, with a descriptor unless fd is negative. */
static void send_message(const char *text, size_t length, int fd)
{
	const char *name = getenv("NOTIFY_SOCKET");
	static int sock = -1;
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	struct iovec part = { (void *)text, length };
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(sizeof fd)];
	} control = { 0 };
	struct msghdr message = {
		.msg_name = &to, .msg_iov = &part, .msg_iovlen = 1,
	};

	if (!name || strlen(name) >= sizeof to.sun_path) {
		errno = EINVAL;
		fail("NOTIFY_SOCKET");
	}
	memcpy(to.sun_path, name, strlen(name));
	if (name[0] == '@')
		to.sun_path[0] = 0;
	message.msg_namelen = offsetof(struct sockaddr_un, sun_path) + strlen(name);
	if (sock < 0)
		sock = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd >= 0) {
		message.msg_control = &control;
		message.msg_controllen = sizeof control;
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(sizeof fd);
		memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
	}
	if (sendmsg(sock, &message, MSG_NOSIGNAL) != (ssize_t)length)
		fail("sendmsg");
}

static void say(const char *text) { send_message(text, strlen(text), -1); }

/* "\n" and "\r" in place. */
static char *unescape(char *text)
{
	char *from = text, *to = text;

	for (; *from; from++) {
		if (from[0] == '\\' && (from[1] == 'n' || from[1] == 'r'))
			*to++ = *++from == 'n' ? '\n' : '\r';
		else
			*to++ = *from;
	}
	*to = 0;
	return text;
}

/* A descriptor to store. It must outlive us, and be of no kind that needs one. */
static int memory(const char *text)
{
	int fd = memfd_create("stored", MFD_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		fail("memfd");
	return fd;
}

static void store(const char *name, const char *text)
{
	char message[512];
	int fd = memory(text);

	snprintf(message, sizeof message, "FDSTORE=1\nFDNAME=%s", name);
	send_message(message, strlen(message), fd);
	close(fd);
}

static int number(const char *name)
{
	const char *value = getenv(name);

	return value ? atoi(value) : 0;
}

/* sd_notify_barrier(3): who has read all before closes the descriptor. */
static const char *barrier(void)
{
	int ends[2];
	struct pollfd closed;

	if (pipe2(ends, O_CLOEXEC))
		fail("pipe");
	send_message("BARRIER=1", 9, ends[1]);
	close(ends[1]);
	closed = (struct pollfd){ ends[0], 0, 0 };
	poll(&closed, 1, 20000);
	close(ends[0]);
	return closed.revents & POLLHUP ? "passed" : "stuck";
}

/* As sd_listen_fds(3) decides it. */
static int sockets(void)
{
	return number("LISTEN_PID") == getpid() ? number("LISTEN_FDS") : 0;
}

static void tell_sockets(FILE *to)
{
	const char *names = getenv("LISTEN_FDNAMES");

	fprintf(to, "%s %d %s\n", number("LISTEN_PID") == getpid() ? "right" : "wrong",
		sockets(), names ? names : "-");
}

static void tell_stored(void)
{
	char text[64];

	for (int i = 0; i < sockets(); i++) {
		ssize_t n = pread(FIRST_FD + i, text, sizeof text, 0);

		fprintf(answers, "%s%.*s", i ? ":" : "", n > 0 ? (int)n : 0, text);
	}
	fputc('\n', answers);
}

/* An answer names the socket by its place, so that a mix-up shows. */
static int serve(void)
{
	struct pollfd list[8];
	int n = sockets();

	if (n < 1 || n > 8)
		return 98;
	for (int i = 0; i < n; i++)
		list[i] = (struct pollfd){ FIRST_FD + i, POLLIN, 0 };
	for (;;) {
		if (poll(list, n, -1) < 0)
			fail("poll");
		for (int i = 0; i < n; i++) {
			int fd = list[i].revents ? accept(list[i].fd, NULL, NULL) : -1;
			FILE *caller = fd < 0 ? NULL : fdopen(fd, "w");

			if (!caller)
				continue;
			fprintf(caller, "pid %d socket %d ", getpid(), i);
			tell_sockets(caller);
			fclose(caller);
		}
	}
}

/* Signals are counted by who has sent them, as far as they have not merged. */
static struct { int from_parent, from_others; } counts[65];
static int counter = -1;

static void start_counting(void)
{
	sigset_t set;

	sigfillset(&set);
	if (sigprocmask(SIG_SETMASK, &set, NULL) || (counter = signalfd(-1, &set, SFD_CLOEXEC)) < 0)
		fail("signalfd");
}

static void tell_counts(void)
{
	const char *gap = "";

	for (int sig = 1; sig < SIGRTMIN; sig++) {
		if (!counts[sig].from_parent && !counts[sig].from_others)
			continue;
		fprintf(answers, "%s%s %d+%d", gap, sigabbrev_np(sig), counts[sig].from_parent, counts[sig].from_others);
		gap = ", ";
	}
	fputc('\n', answers);
	memset(counts, 0, sizeof counts);
}

static void take_signal(void)
{
	struct signalfd_siginfo info;

	if (read(counter, &info, sizeof info) != sizeof info)
		fail("signalfd");
	if ((int)info.ssi_signo == SIGRTMIN + 5)
		tell_counts();
	else if ((pid_t)info.ssi_pid == getppid())
		counts[info.ssi_signo].from_parent++;
	else
		counts[info.ssi_signo].from_others++;
}

static void ping(int ms, int n)
{
	const struct timespec pause = { ms / 1000, ms % 1000 * 1000000L };

	while (n-- > 0) {
		say("WATCHDOG=1");
		nanosleep(&pause, NULL);
	}
}

static int ignored(int sig)
{
	struct sigaction now;

	if (sigaction(sig, NULL, &now))
		fail("sigaction");
	return now.sa_handler == SIG_IGN;
}

static void send_many(int n, const char *text)
{
	char message[256];

	for (int i = 1; i <= n; i++) {
		snprintf(message, sizeof message, "%s %d", text, i);
		say(message);
	}
}

static void send_big(size_t n, const char *text)
{
	char *message = malloc(n);

	if (!message)
		fail("malloc");
	memset(message, 'x', n);
	memcpy(message, text, strlen(text));
	send_message(message, n, -1);
	free(message);
}

static void from_child(const char *text)
{
	pid_t child = fork();

	if (child < 0)
		fail("fork");
	if (!child) {
		say(text);
		/* systemd looks up the unit of a sender that is still there. */
		barrier();
		_exit(0);
	}
	if (waitpid(child, NULL, 0) != child)
		fail("waitpid");
}

static void end_by(int sig)
{
	sigset_t none;

	signal(sig, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	raise(sig);
}

/* Returns the answer, or NULL when it has been given. */
static const char *obey(char *order)
{
	char *rest = strchr(order, ' '), *more, *end;
	long n;

	if (rest)
		*rest++ = 0;
	else
		rest = order + strlen(order);
	n = strtol(rest, &end, 10);
	more = strchr(rest, ' ');
	more = more ? more + 1 : rest + strlen(rest);
	if (!strcmp(order, "send"))
		say(unescape(rest));
	else if (!strcmp(order, "many"))
		send_many(n, more);
	else if (!strcmp(order, "big"))
		send_big(n, more);
	else if (!strcmp(order, "child"))
		from_child(unescape(rest));
	else if (!strcmp(order, "ping"))
		ping(n, atoi(more));
	else if (!strcmp(order, "store")) {
		if (more > rest && *more)
			more[-1] = 0;
		store(rest, more);
	} else if (!strcmp(order, "barrier"))
		return barrier();
	else if (!strcmp(order, "count"))
		start_counting();
	else if (!strcmp(order, "env"))
		return getenv(rest) ? getenv(rest) : "-";
	else if (!strcmp(order, "ignored"))
		return ignored(n) ? "yes" : "no";
	else if (!strcmp(order, "sockets"))
		return tell_sockets(answers), NULL;
	else if (!strcmp(order, "stored"))
		return tell_stored(), NULL;
	else if (!strcmp(order, "accept"))
		close(accept(FIRST_FD, NULL, NULL));
	else if (!strcmp(order, "become")) {
		if (setgid(n) || setuid(n))
			fail("setuid");
	} else if (!strcmp(order, "exit"))
		exit(n);
	else if (!strcmp(order, "kill"))
		end_by(n);
	else
		return "unknown order";
	return "done";
}

static void answer(const char *text)
{
	if (text)
		fprintf(answers, "%s\n", text);
}

/* The end of the orders is the end of the test, too. */
static void take_orders(int in)
{
	static char text[65536];
	static size_t have;
	ssize_t n = read(in, text + have, sizeof text - 1 - have);
	char *end;

	if (n < 0 && errno == EINTR)
		return;
	if (n <= 0)
		exit(0);
	have += n;
	while ((end = memchr(text, '\n', have))) {
		*end++ = 0;
		answer(obey(text));
		have -= end - text;
		memmove(text, end, have);
	}
}

static void led(const char *base)
{
	char name[256];
	int in = 0;

	answers = stdout;
	if (base) {
		/* Both ways, so that open(2) does not wait for the test. */
		snprintf(name, sizeof name, "%s.in", base);
		in = open(name, O_RDWR | O_CLOEXEC);
		snprintf(name, sizeof name, "%s.out", base);
		answers = fopen(name, "r+e");
	}
	if (in < 0 || !answers)
		fail(name);
	setvbuf(answers, NULL, _IOLBF, 0);
	fprintf(answers, "%d\n", getpid());
	for (;;) {
		struct pollfd list[] = { { in, POLLIN, 0 }, { counter, POLLIN, 0 } };

		if (poll(list, 2, -1) < 0) {
			if (errno == EINTR)
				continue;
			fail("poll");
		}
		if (list[1].revents)
			take_signal();
		else if (list[0].revents)
			take_orders(in);
	}
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "";

	if (!strcmp(mode, "serve"))
		return serve();
	if (!strcmp(mode, "led"))
		led(argc > 2 ? argv[2] : NULL);
	if (argc > 2 && (!strcmp(mode, "say") || !strcmp(mode, "last"))) {
		say(unescape(argv[2]));
		_exit(0);
	}
	fprintf(stderr, "notify: unknown mode %s\n", mode);
	return 99;
}

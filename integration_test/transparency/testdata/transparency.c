/*
 * What a program can tell of the state it was started in, for the table of
 * docs/transparency.md; and the ways to make such a state that no tool of the
 * system offers. Static and in C, so that no runtime changes a thing before it
 * is looked at.
 *
 *   transparency look OUT [pending=N]  every fact as a line "key=value" in OUT;
 *                                      first wait until signal N is pending
 *   transparency signals OUT           only those about signals
 *   transparency read OUT              what standard input holds up to its end
 *   transparency write OUT             write to standard output, see it fail
 *   transparency pause                 wait for a signal
 *   transparency start STEP... -- PROGRAM [ARG...]
 *                                      take the steps and become PROGRAM
 *
 * OUT is opened only after everything has been looked at. It appears under its
 * name when it is complete.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static char facts[1 << 20];
static size_t length;

static void fail(const char *what)
{
	dprintf(2, "transparency: %s: %s\n", what, strerror(errno));
	_exit(99);
}

static void put(char c)
{
	if (length < sizeof facts)
		facts[length++] = c;
}

/* One line, whatever the value holds. */
static void value(const char *text)
{
	static const char hex[] = "0123456789abcdef";

	for (; *text; text++) {
		unsigned char c = *text;

		if (c >= ' ' && c < 127 && c != '\\') {
			put(c);
		} else {
			put('\\');
			put('x');
			put(hex[c >> 4]);
			put(hex[c & 15]);
		}
	}
}

__attribute__((format(printf, 2, 3)))
static void fact(const char *key, const char *format, ...)
{
	static char text[1 << 17];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	value(key);
	put('=');
	value(text);
	put('\n');
}

static void numbered(const char *kind, long n, const char *text)
{
	char key[64];

	snprintf(key, sizeof key, "%s.%03ld", kind, n);
	fact(key, "%s", text);
}

/* A file of /proc, without its last newline. */
static const char *contents(const char *path)
{
	static char text[1 << 16];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = 0, got;

	if (fd < 0) {
		snprintf(text, sizeof text, "%s", strerrorname_np(errno));
		return text;
	}
	while ((got = read(fd, text + n, sizeof text - 1 - n)) > 0)
		n += got;
	close(fd);
	if (n > 0 && text[n - 1] == '\n')
		n--;
	text[n] = 0;
	return text;
}

static const char *target(const char *link)
{
	static char text[4096];
	ssize_t n = readlink(link, text, sizeof text - 1);

	if (n < 0)
		return strerrorname_np(errno);
	text[n] = 0;
	return text;
}

static void look_at_descriptor(int fd)
{
	char link[64], key[64];
	off_t offset = lseek(fd, 0, SEEK_CUR);

	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	numbered("descriptor", fd, target(link));
	snprintf(key, sizeof key, "flags.%03d", fd);
	fact(key, "%#x", fcntl(fd, F_GETFL));
	snprintf(key, sizeof key, "cloexec.%03d", fd);
	fact(key, "%d", fcntl(fd, F_GETFD));
	snprintf(key, sizeof key, "offset.%03d", fd);
	fact(key, "%lld", offset < 0 ? -1LL : (long long)offset);
}

/* Somebody else's lock on what the descriptor refers to; a process sees none of
 * its own, fcntl(2). */
static void look_at_lock(int fd)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	if (fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK)
		numbered("lock", fd, "of another process");
}

static void look_at_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *e;

	if (!dir)
		fail("/proc/self/fd");
	while ((e = readdir(dir))) {
		int fd = atoi(e->d_name);

		if (!isdigit((unsigned char)e->d_name[0]) || fd == dirfd(dir))
			continue;
		look_at_descriptor(fd);
		look_at_lock(fd);
	}
	closedir(dir);
}

static int listed(const char *name, const char *list)
{
	size_t n = strlen(name);

	for (const char *p = list; (p = strstr(p, name)); p += n)
		if ((p == list || p[-1] == ' ') && (p[n] == ' ' || !p[n]))
			return 1;
	return 0;
}

/* The lines of proc(5) that a process is started with. */
static void look_at_status(void)
{
	static const char wanted[] =
		"Umask Uid Gid Groups CapInh CapPrm CapEff CapBnd CapAmb NoNewPrivs "
		"Seccomp Seccomp_filters Speculation_Store_Bypass SpeculationIndirectBranch "
		"THP_enabled Cpus_allowed Mems_allowed SigPnd ShdPnd SigBlk SigIgn SigCgt";
	char *text = strdup(contents("/proc/self/status")), *line = text;

	while (line && *line) {
		char *next = strchr(line, '\n'), *colon = strchr(line, ':');

		if (next)
			*next++ = 0;
		if (colon) {
			*colon = 0;
			if (listed(line, wanted))
				fact(line, "%s", colon + 1 + strspn(colon + 1, " \t"));
		}
		line = next;
	}
	free(text);
}

static void look_at_limits(void)
{
	static const char *const names[] = {
		"cpu", "fsize", "data", "stack", "core", "rss", "nproc", "nofile",
		"memlock", "as", "locks", "sigpending", "msgqueue", "nice", "rtprio", "rttime",
	};

	for (int i = 0; i < 16; i++) {
		struct rlimit l;
		char key[32];

		if (getrlimit(i, &l))
			fail("getrlimit");
		snprintf(key, sizeof key, "limit.%s", names[i]);
		fact(key, "%llu %llu", (unsigned long long)l.rlim_cur, (unsigned long long)l.rlim_max);
	}
}

static void look_at_scheduling(void)
{
	struct sched_param p;
	int policy = sched_getscheduler(0);

	sched_getparam(0, &p);
	fact("policy", "%d %d", policy & ~SCHED_RESET_ON_FORK, p.sched_priority);
	fact("reset-on-fork", "%d", !!(policy & SCHED_RESET_ON_FORK));
	fact("nice", "%d", getpriority(PRIO_PROCESS, 0));
	fact("ioprio", "%#lx", syscall(SYS_ioprio_get, 1, 0));
	fact("timerslack", "%d", prctl(PR_GET_TIMERSLACK));
}

static void look_at_attributes(void)
{
	int n = -1;

	fact("personality", "%#x", personality(0xffffffff));
	fact("securebits", "%#x", prctl(PR_GET_SECUREBITS));
	fact("keepcaps", "%d", prctl(PR_GET_KEEPCAPS));
	fact("dumpable", "%d", prctl(PR_GET_DUMPABLE));
	prctl(PR_GET_CHILD_SUBREAPER, &n);
	fact("subreaper", "%d", n);
	prctl(PR_GET_PDEATHSIG, &n);
	fact("pdeathsig", "%d", n);
	fact("thp", "%d", prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0));
	fact("mce", "%d", prctl(PR_MCE_KILL_GET, 0, 0, 0, 0));
	fact("secure", "%lu", getauxval(AT_SECURE));
	fact("oom", "%s", contents("/proc/self/oom_score_adj"));
	fact("coredump", "%s", contents("/proc/self/coredump_filter"));
	fact("loginuid", "%s", contents("/proc/self/loginuid"));
	fact("label", "%s", contents("/proc/self/attr/current"));
}

static void look_at_place(void)
{
	static const char *const namespaces[] = { "cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts" };
	struct stat st;
	char link[64], key[64];

	fact("directory", "%s", target("/proc/self/cwd"));
	if (stat(".", &st) == 0)
		fact("directory.inode", "%llu %llu", (unsigned long long)st.st_dev, (unsigned long long)st.st_ino);
	fact("root", "%s", target("/proc/self/root"));
	fact("cgroup", "%s", contents("/proc/self/cgroup"));
	for (int i = 0; i < 8; i++) {
		snprintf(link, sizeof link, "/proc/self/ns/%s", namespaces[i]);
		snprintf(key, sizeof key, "namespace.%s", namespaces[i]);
		fact(key, "%s", target(link));
	}
}

/* Numbers that the test makes sense of: it knows whom it has started. */
static void look_at_job(void)
{
	char path[64];
	int tty = 0, foreground = 0;
	/* The name, which may hold anything, ends at the last parenthesis. */
	const char *rest = strrchr(contents("/proc/self/stat"), ')');

	if (!rest || sscanf(rest + 2, "%*c %*d %*d %*d %d %d", &tty, &foreground) != 2)
		fail("/proc/self/stat");
	fact("pid", "%d", getpid());
	fact("session", "%d", getsid(0));
	fact("group", "%d", getpgrp());
	fact("terminal", "%d", tty);
	fact("foreground", "%d", foreground);
	snprintf(path, sizeof path, "/proc/%d/comm", getppid());
	fact("parent", "%s", getppid() ? contents(path) : "none");
}

static void look_at_timer(void)
{
	struct itimerval t;

	getitimer(ITIMER_REAL, &t);
	fact("alarm", "%s", t.it_value.tv_sec || t.it_value.tv_usec ? "set" : "not set");
}

/* $JOURNAL_STREAM names the device and inode of standard error, systemd.exec(5). */
static void look_at_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long dev, ino;
	struct stat st;

	if (!stream || sscanf(stream, "%llu:%llu", &dev, &ino) != 2)
		fact("journal", "not given");
	else
		fact("journal", "%s", fstat(2, &st) == 0 && st.st_dev == dev && st.st_ino == ino ?
			"is standard error" : "is something else");
}

/* Who adopts a process whose parent has ended? */
static void look_at_adoption(void)
{
	struct { pid_t adopter, orphan; } got = {-1, 0};
	int answer[2], gate[2];
	struct pollfd orphan;
	pid_t middle;
	char path[64];

	if (pipe2(answer, O_CLOEXEC) || pipe2(gate, O_CLOEXEC))
		fail("pipe");
	middle = fork();
	if (middle < 0)
		fail("fork");
	if (middle == 0) {
		if (fork() == 0) {
			char byte;

			close(gate[1]);
			if (read(gate[0], &byte, 1) == 0) { /* the parent has ended */
				got.adopter = getppid();
				got.orphan = getpid();
				if (write(answer[1], &got, sizeof got) < 0)
					_exit(1);
			}
		}
		_exit(0);
	}
	waitpid(middle, NULL, 0);
	close(gate[0]);
	close(gate[1]);
	close(answer[1]);
	if (read(answer[0], &got, sizeof got) != sizeof got)
		got.adopter = -1;
	close(answer[0]);
	snprintf(path, sizeof path, "/proc/%d/comm", got.adopter);
	fact("adopter", "%s", got.adopter == getpid() ? "itself" : got.adopter ? contents(path) : "none");
	/* pidleash warns of what the probe leaves behind. */
	orphan.fd = got.orphan > 0 ? syscall(SYS_pidfd_open, got.orphan, 0) : -1;
	orphan.events = POLLIN;
	if (orphan.fd >= 0) {
		poll(&orphan, 1, -1);
		close(orphan.fd);
	}
	if (got.adopter == getpid())
		wait(NULL);
}

static void report(const char *out)
{
	char temporary[4096];
	struct rlimit size;
	size_t done = 0;
	int fd;

	/* It has been looked at; the report may need more. */
	getrlimit(RLIMIT_FSIZE, &size);
	size.rlim_cur = size.rlim_max;
	setrlimit(RLIMIT_FSIZE, &size);

	snprintf(temporary, sizeof temporary, "%s.new", out);
	fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (fd < 0)
		fail(temporary);
	while (done < length) {
		ssize_t n = write(fd, facts + done, length - done);

		if (n < 0)
			fail(temporary);
		done += n;
	}
	close(fd);
	if (rename(temporary, out))
		fail(out);
}

/* Bounded, because the test has to end, too. */
static void await_pending(int sig)
{
	const struct timespec pause = { 0, 1000000 };
	sigset_t set;

	for (int i = 0; i < 20000; i++) {
		sigpending(&set);
		if (sigismember(&set, sig) == 1)
			return;
		nanosleep(&pause, NULL);
	}
}

static int look(int argc, char **argv)
{
	int sig = 0;

	if (argc > 3 && sscanf(argv[3], "pending=%d", &sig) == 1)
		await_pending(sig);
	look_at_descriptors();
	look_at_status();
	look_at_limits();
	look_at_scheduling();
	look_at_attributes();
	look_at_place();
	look_at_job();
	look_at_timer();
	look_at_journal();
	fact("children", "%s", *contents("/proc/thread-self/children") ? "some" : "none");
	for (int i = 0; i < argc; i++)
		numbered("argument", i, argv[i]);
	for (int i = 0; environ[i]; i++)
		numbered("env", i, environ[i]);
	fact("file", "%s", (const char *)getauxval(AT_EXECFN));
	fact("exe", "%s", target("/proc/self/exe"));
	fact("name", "%s", contents("/proc/self/comm"));

	/* From here on the state is changed. */
	look_at_adoption();
	fact("setsid", "%s", setsid() < 0 ? strerrorname_np(errno) : "can");
	report(argv[2]);
	return 0;
}

static int signals(char **argv)
{
	look_at_status();
	report(argv[2]);
	return 0;
}

static int read_all(char **argv)
{
	static char all[1 << 16];
	ssize_t n, size = 0;

	while ((n = read(0, all + size, sizeof all - 1 - size)) > 0)
		size += n;
	fact("input", "%zd bytes, %s: %s", size, n < 0 ? strerrorname_np(errno) : "then the end", all);
	report(argv[2]);
	return 0;
}

static int write_all(char **argv)
{
	/* /dev/null would take them for ever. */
	for (int i = 0; i < 100; i++)
		if (write(1, "line\n", 5) < 0) {
			fact("output", "%s", strerrorname_np(errno));
			break;
		}
	report(argv[2]);
	return 0;
}

/* A step's number, "all" being 0. */
static int number(const char *text) { return strcmp(text, "all") ? atoi(text) : 0; }

/* By system calls, because the C library keeps 32 and 33 for itself. */
static void ignore(int sig)
{
	struct { unsigned long handler, flags, restorer, mask; } act = { 1, 0, 0, 0 };

	for (int s = 1; s <= 64; s++)
		if (!sig || s == sig)
			syscall(SYS_rt_sigaction, s, &act, NULL, 8);
}

static void block(int sig)
{
	unsigned long mask = sig ? 1UL << (sig - 1) : ~0UL;

	syscall(SYS_rt_sigprocmask, SIG_BLOCK, &mask, NULL, 8);
}

/* A child that ends with this process, whatever that becomes. */
static void have_child(void)
{
	int ready[2];
	char byte;

	if (pipe2(ready, O_CLOEXEC))
		fail("pipe");
	if (fork() == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (int fd = 0; fd < 3; fd++)
			close(fd);
		close(ready[1]);
		close(ready[0]);
		for (;;)
			pause();
	}
	close(ready[1]);
	/* The child has set its death signal when it has closed its end. */
	if (read(ready[0], &byte, 1) != 0)
		fail("read");
	close(ready[0]);
}

/* What execve(2) keeps and fork(2) does not. */
static void have_a_past(void)
{
	struct itimerval timer = { .it_value.tv_sec = 3600 };
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	struct sched_param zero = { 0 };

	have_child();
	setitimer(ITIMER_REAL, &timer, NULL);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (fcntl(3, F_SETLK, &lock))
		fail("F_SETLK");
	if (sched_setscheduler(0, SCHED_BATCH | SCHED_RESET_ON_FORK, &zero))
		fail("sched_setscheduler");
}

/* The first command of a pipeline gives the terminal to all of it, and may be
 * later than the others. */
static void await_foreground(void)
{
	const struct timespec pause = { 0, 1000000 };
	int tty = open("/dev/tty", O_RDONLY | O_CLOEXEC);

	for (int i = 0; i < 20000 && tcgetpgrp(tty) != getpgrp(); i++)
		nanosleep(&pause, NULL);
	close(tty);
}

static void take_step(char *step)
{
	static char *none[] = { NULL };
	static char *odd[] = {
		"B=2", "A=1", "B=3", "EMPTY=", "no equals sign", "=", "", "=D=4",
		"BYTES=\xff\n\x01\\", "A=1", NULL,
	};
	char *argument = strchr(step, '=');
	int n;

	if (argument)
		*argument++ = 0;
	n = argument ? number(argument) : 0;
	if (!strcmp(step, "close"))
		close(n);
	else if (!strcmp(step, "dup"))
		dup2(3, n);
	else if (!strcmp(step, "ignore"))
		ignore(n);
	else if (!strcmp(step, "block"))
		block(n);
	else if (!strcmp(step, "raise"))
		kill(getpid(), n);
	else if (!strcmp(step, "past"))
		have_a_past();
	else if (!strcmp(step, "slack"))
		prctl(PR_SET_TIMERSLACK, n);
	else if (!strcmp(step, "alarm"))
		setitimer(ITIMER_REAL, &(struct itimerval){ .it_value.tv_usec = n * 1000 }, NULL);
	else if (!strcmp(step, "foreground"))
		await_foreground();
	else if (!strcmp(step, "environment"))
		environ = odd;
	else if (!strcmp(step, "no-environment"))
		environ = none;
	else {
		dprintf(2, "transparency: no step %s\n", step);
		_exit(99);
	}
}

static int start(char **argv)
{
	char **step = argv + 2;

	for (; *step && strcmp(*step, "--"); step++)
		take_step(*step);
	if (!*step)
		return 99;
	execve(step[1], step + 1, environ);
	fail(step[1]);
	return 99;
}

int main(int argc, char **argv)
{
	const char *mode = argc > 2 ? argv[1] : "pause";

	if (!strcmp(mode, "look"))
		return look(argc, argv);
	if (!strcmp(mode, "signals"))
		return signals(argv);
	if (!strcmp(mode, "read"))
		return read_all(argv);
	if (!strcmp(mode, "write"))
		return write_all(argv);
	if (!strcmp(mode, "start"))
		return start(argv);
	for (;;)
		pause();
}

/* killer start MARK WHOM STEP STRIKE EARLIER COMMAND [ARG...]
 * killer after PID STEP STRIKE rm FILE
 * killer after PID STEP STRIKE SIGNAL PID...
 * killer daemon COMMAND [ARG...]
 *
 * Strikes a pidleash at one of its system calls.
 *
 * start: COMMAND, a pidleash, becomes a job of this process, as of a shell in a session of its own, and it and all
 * that it starts is traced, up to PROGRAM's execve. This process ends as its job ends.
 *
 * after: the pidleash PID is traced, then FILE is removed, or SIGNAL sent to each PID. That goes on until it has
 * ended, or has started another PROGRAM.
 *
 * daemon: COMMAND, in the background and without descriptors. A shell's would ignore INT and QUIT.
 *
 * MARK     an entry of the job's environment
 * WHOM     pidleash: the process itself in the foreground; caller: the process itself in the background; keeper: the
 *          start of pidleash that becomes the keeper; starter: the one between the two, of -daemon -forking
 * STEP     the system call at which it is struck, counted over all that are traced; 0: it is not; -1: nothing is traced
 * STRIKE   a signal's number, or 0: descriptor 4, which nobody else has, is closed
 * EARLIER  1: the job has a child before it becomes pidleash
 *
 * Descriptor 3 gets, in one line: the PID of the job, that of the child or 0, the number of system calls that were
 * seen, the one at which the first second start was there, the PID that was struck or 0, the PID that made the last of
 * the calls and its number. The tracer ends with the strike, or when nothing more comes. All that it traces goes on
 * then.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define RESULT 3
#define READER 4
#define MOST 4096
#define OPTIONS (PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC)

static int step, strike, earlier;
static const char *whom_name;
static pid_t caller; /* the job, or the PID of "after" */
static pid_t forked; /* the last that was forked, on the way to a second start; -1: that is executed */
static int count, forked_at;

/* What is known of a thread, by its ID modulo MOST, see find. */
static struct thread {
	pid_t id, process;
} threads[MOST];

static void fail(const char *what)
{
	perror(what);
	exit(2);
}

static pid_t process_of(pid_t id)
{
	char path[64], line[256];
	pid_t process = 0;
	snprintf(path, sizeof path, "/proc/%d/status", id);
	FILE *f = fopen(path, "re");
	if (f == NULL)
		return id;
	while (fgets(line, sizeof line, f) != NULL)
		if (sscanf(line, "Tgid: %d", &process) == 1)
			break;
	fclose(f);
	return process ? process : id;
}

static struct thread *find(pid_t id)
{
	struct thread *t = &threads[id % MOST];
	if (t->id != id) {
		t->id = id;
		t->process = process_of(id);
		if (t->process != caller && forked >= 0) {
			forked = t->process;
			if (forked_at == 0)
				forked_at = count + 1;
		}
	}
	return t;
}

/* Which start of pidleash a process is. */
static const char *part_of(pid_t pid)
{
	char path[64], name[32] = "";
	snprintf(path, sizeof path, "/proc/%d/cmdline", pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return NULL;
	if (read(fd, name, sizeof name - 1) < 0)
		name[0] = 0;
	close(fd);
	if (strncmp(name, "pidleash-starter:", 17) == 0)
		return "starter";
	if (strncmp(name, "pidleash-watchdog:", 18) == 0 || strncmp(name, "pidleash-supervisor:", 20) == 0)
		return "keeper";
	return NULL;
}

static void report(pid_t struck, pid_t by, long call)
{
	char line[128];
	int n = snprintf(line, sizeof line, "%d %d %d %d %d %d %ld\n", caller, earlier, count, forked_at, struck, by, call);
	if (write(RESULT, line, n) != n)
		_exit(3);
}

static void over(pid_t struck, pid_t by, long call)
{
	report(struck, by, call);
	_exit(0);
}

/* Whether a descriptor leads to what others see: not into /proc, not to a process. */
static int is_seen(pid_t process, int fd)
{
	char path[64], to[64] = "";
	snprintf(path, sizeof path, "/proc/%d/fd/%d", process, fd);
	if (readlink(path, to, sizeof to - 1) < 0)
		return 0;
	return strncmp(to, "/proc", 5) != 0 && strncmp(to, "anon_inode:", 11) != 0;
}

/* Whether a system call can change anything that a strike meets: outside of its process, or what the signal does. */
static int changes(struct thread *t, struct __ptrace_syscall_info *info)
{
	switch (info->entry.nr) {
	case SYS_rt_sigaction:
		return strike != SIGKILL && (int)info->entry.args[0] == strike && info->entry.args[1] != 0;
	case SYS_rt_sigprocmask: case SYS_rt_sigreturn: case SYS_sigaltstack:
	case SYS_mmap: case SYS_munmap: case SYS_mprotect: case SYS_madvise: case SYS_brk:
	case SYS_futex: case SYS_nanosleep: case SYS_sched_yield: case SYS_sched_getaffinity:
	case SYS_gettid: case SYS_getpid: case SYS_getppid: case SYS_tgkill: case SYS_fcntl:
	case SYS_fstat: case SYS_newfstatat: case SYS_statx: case SYS_readlinkat: case SYS_lseek:
	case SYS_read: case SYS_pread64: case SYS_getdents64: case SYS_uname: case SYS_statfs:
	case SYS_epoll_pwait: case SYS_epoll_ctl: case SYS_poll: case SYS_ppoll:
	case SYS_getuid: case SYS_geteuid: case SYS_getgid: case SYS_getegid: case SYS_getcwd:
	case SYS_pidfd_open: case SYS_getsockopt: case SYS_set_robust_list: case SYS_getrandom:
	case SYS_restart_syscall:
		return 0;
	case SYS_openat:
		return (info->entry.args[2] & O_CREAT) != 0;
	case SYS_close:
		return is_seen(t->process, info->entry.args[0]);
	}
	return 1;
}

static volatile sig_atomic_t quiet;

static void on_alarm(int sig)
{
	(void)sig;
	quiet = 1;
}

/* When nothing has happened for so long, it is over. */
static void arm(int milliseconds)
{
	struct itimerval in = {.it_value = {milliseconds / 1000, milliseconds % 1000 * 1000}, .it_interval = {0, 5000}};
	setitimer(ITIMER_REAL, &in, NULL);
}

/* The process that is to be struck now; 0: it is not there. */
static pid_t whom(pid_t executed)
{
	if (strcmp(whom_name, "caller") == 0 || strcmp(whom_name, "pidleash") == 0)
		return caller;
	return executed ? executed : forked > 0 ? forked : 0;
}

/* The end of this process closes what descriptor 4 leads to. */
static void hit(pid_t pid, struct thread *t, long call)
{
	if (pid != 0 && strike != 0 && kill(pid, strike) < 0)
		pid = 0;
	over(pid, t->process, call);
}

/* starts: whether the first execve of the job is still to come. */
static void trace(int starts)
{
	pid_t executed = 0; /* WHOM, a second start, since its execve */
	int in_front = strcmp(whom_name, "pidleash") == 0, ended = 0, changed = 1;
	int patience = in_front ? 100 : 50;
	struct sigaction act = {.sa_handler = on_alarm};
	sigaction(SIGALRM, &act, NULL);
	arm(20000);
	for (;;) {
		int status;
		pid_t id = waitpid(-1, &status, __WALL);
		if (id < 0) {
			if (errno == EINTR && !quiet)
				continue;
			over(0, 0, 0);
		}
		if (ended)
			arm(patience);
		if (WIFEXITED(status) || WIFSIGNALED(status)) {
			threads[id % MOST].id = 0;
			if (id == caller) {
				ended = 1;
				arm(patience);
			}
			continue;
		}
		struct thread *t = find(id);
		int event = status >> 16, sig = WSTOPSIG(status);
		if (event == PTRACE_EVENT_EXEC) {
			const char *part = part_of(id);
			if (id == caller ? starts++ > 0 : part == NULL) {
				/* PROGRAM, which goes its own way. */
				ended |= id == caller || in_front;
				ptrace(PTRACE_DETACH, id, 0, 0);
				if (ended)
					arm(patience);
				continue;
			}
			if (part != NULL && strcmp(part, whom_name) == 0) {
				executed = id;
				forked = -1;
			}
			sig = 0;
		} else if (event != 0) {
			/* The child is known before either of the two goes on. */
			unsigned long child;
			if (event != PTRACE_EVENT_STOP && ptrace(PTRACE_GETEVENTMSG, id, 0, &child) == 0)
				find(child);
			sig = 0;
		} else if (sig == (SIGTRAP | 0x80)) {
			sig = 0;
			struct __ptrace_syscall_info info;
			if (starts > 0 && ptrace(PTRACE_GET_SYSCALL_INFO, id, sizeof info, &info) > 0
			    && info.op == PTRACE_SYSCALL_INFO_ENTRY) {
				if (changed && ++count == step)
					hit(whom(executed), t, info.entry.nr);
				changed = changes(t, &info);
			}
		}
		ptrace(PTRACE_SYSCALL, id, 0, (void *)(intptr_t)sig);
	}
}

/* Traces all threads of a process that runs already. */
static void seize(pid_t pid)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/task", pid);
	for (int more = 1; more;) {
		more = 0;
		DIR *dir = opendir(path);
		if (dir == NULL)
			fail(path);
		for (struct dirent *e; (e = readdir(dir)) != NULL;) {
			pid_t id = atoi(e->d_name);
			int status;
			/* One that a traced thread has started is traced already. */
			if (id == 0 || threads[id % MOST].id == id || ptrace(PTRACE_SEIZE, id, 0, OPTIONS) < 0)
				continue;
			threads[id % MOST] = (struct thread){id, pid};
			more = 1;
			if (ptrace(PTRACE_INTERRUPT, id, 0, 0) == 0 && waitpid(id, &status, __WALL) == id && WIFSTOPPED(status))
				ptrace(PTRACE_SYSCALL, id, 0, 0);
		}
		closedir(dir);
	}
}

static int after(char **words)
{
	whom_name = "pidleash";
	caller = atoi(words[0]);
	step = atoi(words[1]);
	strike = atoi(words[2]);
	seize(caller);
	forked = 0;
	if (strcmp(words[3], "rm") == 0) {
		if (unlink(words[4]) < 0)
			fail(words[4]);
	} else {
		for (char **pid = words + 4; *pid != NULL; pid++)
			kill(atoi(*pid), atoi(words[3]));
	}
	trace(1);
	return 2;
}

static int become_daemon(char **command)
{
	if (fork() != 0)
		return 0;
	for (int fd = 0; fd <= 2; fd++) {
		close(fd);
		open("/dev/null", O_RDWR);
	}
	execvp(command[0], command);
	return 127;
}

/* What the job does before it becomes pidleash. */
static void begin(int ready, int go, char *mark, int child, char **command)
{
	char byte;
	setpgid(0, 0);
	putenv(mark);
	if (child) {
		earlier = fork();
		if (earlier == 0) {
			/* Without an environment it has no mark; the test ends it. */
			char *words[] = {"sleep", "1000", NULL}, *none[] = {NULL};
			setpgid(0, 0); /* the group is PROGRAM's */
			execve("/bin/sleep", words, none);
			_exit(2);
		}
	}
	if (write(ready, &earlier, sizeof earlier) != sizeof earlier || read(go, &byte, 1) != 1)
		_exit(2);
	execv(command[0], command);
	fail(command[0]);
}

/* Ends this process as its job has ended. */
static void end_as(int status)
{
	if (WIFSIGNALED(status)) {
		struct rlimit none = {0, 0};
		setrlimit(RLIMIT_CORE, &none);
		signal(WTERMSIG(status), SIG_DFL);
		raise(WTERMSIG(status));
	}
	_exit(WEXITSTATUS(status));
}

int main(int argc, char **argv)
{
	fcntl(RESULT, F_SETFD, FD_CLOEXEC);
	fcntl(READER, F_SETFD, FD_CLOEXEC);
	if (argc > 6 && strcmp(argv[1], "after") == 0)
		return after(argv + 2);
	if (argc > 2 && strcmp(argv[1], "daemon") == 0)
		return become_daemon(argv + 2);
	if (argc < 8)
		return 2;
	whom_name = argv[3];
	step = atoi(argv[4]);
	strike = atoi(argv[5]);
	int ready[2], go[2], status;
	if (pipe2(ready, O_CLOEXEC) < 0 || pipe2(go, O_CLOEXEC) < 0)
		fail("pipe2");
	caller = fork();
	if (caller == 0)
		begin(ready[1], go[0], argv[2], atoi(argv[6]), argv + 7);
	if (read(ready[0], &earlier, sizeof earlier) != sizeof earlier)
		fail("read");
	if (step < 0) {
		report(0, 0, 0);
	} else if (fork() == 0) {
		/* A tracer that has this process's output would keep a reader of it waiting. */
		close(0);
		close(1);
		close(2);
		if (ptrace(PTRACE_SEIZE, caller, 0, OPTIONS) < 0 || write(go[1], "", 1) != 1)
			_exit(2);
		close(go[1]);
		trace(0);
	}
	close(READER);
	close(RESULT);
	close(1);
	close(2);
	if (step < 0 && write(go[1], "", 1) != 1)
		return 2;
	close(go[1]);
	while (waitpid(caller, &status, 0) != caller || WIFSTOPPED(status))
		;
	end_as(status);
}

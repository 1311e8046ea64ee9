/* killer WHOM STEP EARLIER COMMAND [ARG...]
 *
 * becomes COMMAND, a pidleash with -daemon or -sidecar, while another process traces that and
 * all that it starts, up to PROGRAM's execve, and sends one of them KILL.
 *
 * WHOM     caller: the process itself; keeper: the start of pidleash that becomes the keeper;
 *          starter: the one between the two, of -daemon -forking
 * STEP     the system call at which it is killed, counted over all that are traced from when
 *          WHOM is there; 0: nobody is killed
 * EARLIER  1: the process has a child before it becomes pidleash
 *
 * Descriptor 3 gets, in one line: the PID of that child or 0, the number of system calls that
 * were seen, the PID that was killed or 0, the PID that made the last of the calls and its
 * number. The tracer ends with the kill, or when the start is over. All that it traces goes on
 * then.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define RESULT 3
#define MOST 4096

static int step, earlier;
static const char *whom_name;
static pid_t caller;
static pid_t forked; /* the last that was forked, on the way to a second start; -1: that is executed */
static int count;

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
		if (t->process != caller && forked >= 0)
			forked = t->process;
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

static void over(pid_t killed, pid_t by, long call)
{
	char line[128];
	int n = snprintf(line, sizeof line, "%d %d %d %d %ld\n", earlier, count, killed, by, call);
	if (write(RESULT, line, n) != n)
		_exit(3);
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

/* Whether a system call can change anything outside of its process. */
static int changes(struct thread *t, struct __ptrace_syscall_info *info)
{
	switch (info->entry.nr) {
	case SYS_rt_sigaction: case SYS_rt_sigprocmask: case SYS_rt_sigreturn: case SYS_sigaltstack:
	case SYS_mmap: case SYS_munmap: case SYS_mprotect: case SYS_madvise: case SYS_brk:
	case SYS_futex: case SYS_nanosleep: case SYS_sched_yield: case SYS_sched_getaffinity:
	case SYS_gettid: case SYS_getpid: case SYS_getppid: case SYS_tgkill: case SYS_fcntl:
	case SYS_fstat: case SYS_newfstatat: case SYS_statx: case SYS_readlinkat: case SYS_lseek:
	case SYS_read: case SYS_pread64: case SYS_getdents64: case SYS_uname: case SYS_statfs:
	case SYS_epoll_pwait: case SYS_epoll_ctl: case SYS_poll: case SYS_ppoll:
	case SYS_getuid: case SYS_geteuid: case SYS_getgid: case SYS_getegid: case SYS_getcwd:
	case SYS_pidfd_open: case SYS_getsockopt: case SYS_set_robust_list: case SYS_getrandom:
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

/* When nothing has happened for so long, the start is over. */
static void arm(int milliseconds)
{
	struct itimerval in = {.it_value = {milliseconds / 1000, milliseconds % 1000 * 1000}, .it_interval = {0, 5000}};
	setitimer(ITIMER_REAL, &in, NULL);
}

static void trace(void)
{
	pid_t executed = 0; /* WHOM, a second start, since its execve */
	int starts = 0, ended = 0, changed = 1;
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
			arm(50);
		if (WIFEXITED(status) || WIFSIGNALED(status)) {
			threads[id % MOST].id = 0;
			if (id == caller) {
				ended = 1;
				arm(50);
			}
			continue;
		}
		struct thread *t = find(id);
		int event = status >> 16, sig = WSTOPSIG(status);
		if (event == PTRACE_EVENT_EXEC) {
			const char *part = part_of(id);
			if (id == caller ? starts++ > 0 : part == NULL) {
				/* PROGRAM, which goes its own way. */
				ended |= id == caller;
				ptrace(PTRACE_DETACH, id, 0, 0);
				if (ended)
					arm(50);
				continue;
			}
			if (part != NULL && strcmp(part, whom_name) == 0) {
				executed = id;
				forked = -1;
			}
			sig = 0;
		} else if (event != 0) {
			sig = 0;
		} else if (sig == (SIGTRAP | 0x80)) {
			sig = 0;
			struct __ptrace_syscall_info info;
			pid_t whom = strcmp(whom_name, "caller") == 0 ? caller : executed ? executed : forked;
			if (starts > 0 && whom > 0 && ptrace(PTRACE_GET_SYSCALL_INFO, id, sizeof info, &info) > 0
			    && info.op == PTRACE_SYSCALL_INFO_ENTRY) {
				if (changed && ++count == step) {
					if (kill(whom, SIGKILL) < 0)
						whom = 0;
					over(whom, t->process, info.entry.nr);
				}
				changed = changes(t, &info);
			}
		}
		ptrace(PTRACE_SYSCALL, id, 0, (void *)(intptr_t)sig);
	}
}

int main(int argc, char **argv)
{
	if (argc < 5)
		return 2;
	whom_name = argv[1];
	step = atoi(argv[2]);
	fcntl(RESULT, F_SETFD, FD_CLOEXEC);
	if (atoi(argv[3])) {
		earlier = fork();
		if (earlier == 0) {
			/* Without an environment it has no mark; the test ends it. */
			char *words[] = {"sleep", "1000", NULL}, *none[] = {NULL};
			execve("/bin/sleep", words, none);
			_exit(2);
		}
	}
	int go[2];
	if (pipe2(go, O_CLOEXEC) < 0)
		fail("pipe2");
	caller = getpid();
	pid_t middle = fork();
	if (middle == 0) {
		if (fork() != 0)
			_exit(0);
		close(go[0]);
		/* A tracer that has this process's output would keep a reader of it waiting. */
		close(0);
		close(1);
		long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC;
		if (ptrace(PTRACE_SEIZE, caller, 0, options) < 0)
			fail("PTRACE_SEIZE");
		if (write(go[1], "", 1) != 1)
			fail("write");
		close(go[1]);
		trace();
	}
	waitpid(middle, NULL, 0);
	close(go[1]);
	char byte;
	if (read(go[0], &byte, 1) != 1)
		return 2;
	execv(argv[4], argv + 4);
	fail(argv[4]);
}

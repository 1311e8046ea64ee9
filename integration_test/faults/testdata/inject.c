/* inject MARK COMMAND [ARG...] starts COMMAND, a pidleash, with MARK in its environment and
 * traces it and what it starts, up to PROGRAM's execve. What is to be done stands in these
 * variables of inject's own environment:
 *
 * INJECT_SPARE  LOW-HIGH, hexadecimal: calls that are made there are seen and never fail
 * INJECT_CALLS  a list of numbers of system calls that fail, each between commas; empty: none,
 *               and every call is written
 * INJECT_AT     PART:SITE of the one call that fails, once; empty: all of those calls do
 * INJECT_ERRNO  with what
 *
 * PART is "main" for the process itself, "starter" or "keeper" for a second start of pidleash,
 * with a "+" for its children before their execve. SITE is a number that stands for where in
 * the program the call is made: the return addresses up to the start of the goroutine.
 *
 * Descriptor 3 gets lines: "call PART NUMBER SITE ADDRESS..." for each call; "hit" for each
 * that fails; "end STATUS" when COMMAND has ended, with what wait(2) says. inject ends when all
 * that it traces have ended.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#define RESULT 3
#define MOST 1024
#define DEPTH 40

static struct process {
	pid_t id;
	char part[24];
} processes[MOST];

static struct thread {
	pid_t id;
	struct process *process;
	int pending; /* the call that it is in is to fail */
} threads[MOST];

static pid_t first;
static unsigned long low, high;
static const char *calls, *at;
static int error, done;

static struct process *process_of(pid_t id)
{
	for (int i = 0; i < MOST; i++)
		if (processes[i].id == id)
			return &processes[i];
	return NULL;
}

/* A new process is a child of one that is known. */
static struct process *new_process(pid_t id, pid_t parent)
{
	struct process *p = process_of(0), *of = parent ? process_of(parent) : NULL;
	if (p == NULL)
		_exit(3);
	p->id = id;
	snprintf(p->part, sizeof p->part, "%.20s%s", of ? of->part : "main", of && !strchr(of->part, '+') ? "+" : "");
	return p;
}

static struct thread *find(pid_t id)
{
	struct thread *free = NULL;
	for (int i = 0; i < MOST; i++) {
		if (threads[i].id == id)
			return &threads[i];
		if (threads[i].id == 0 && free == NULL)
			free = &threads[i];
	}
	char path[64], line[256];
	pid_t process = id, parent = 0;
	snprintf(path, sizeof path, "/proc/%d/status", id);
	FILE *f = fopen(path, "re");
	while (f != NULL && fgets(line, sizeof line, f) != NULL) {
		sscanf(line, "Tgid: %d", &process);
		sscanf(line, "PPid: %d", &parent);
	}
	if (f != NULL)
		fclose(f);
	if (free == NULL)
		_exit(3);
	*free = (struct thread){.id = id, .process = process_of(process)};
	if (free->process == NULL)
		free->process = new_process(process, process == first ? 0 : parent);
	return free;
}

static void forget(pid_t id)
{
	for (int i = 0; i < MOST; i++) {
		if (threads[i].id == id)
			threads[i].id = 0;
		if (processes[i].id == id)
			processes[i].id = 0;
	}
}

/* Which start of pidleash a process is, after an execve; 0: it is PROGRAM. */
static int is_pidleash(struct process *p)
{
	char path[64], name[32] = "";
	snprintf(path, sizeof path, "/proc/%d/cmdline", p->id);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	ssize_t n = read(fd, name, sizeof name - 1);
	close(fd);
	name[n > 0 ? n : 0] = 0;
	if (strncmp(name, "pidleash-starter:", 17) == 0)
		strcpy(p->part, "starter");
	else if (strncmp(name, "pidleash-watchdog:", 18) == 0 || strncmp(name, "pidleash-supervisor:", 20) == 0)
		strcpy(p->part, "keeper");
	else
		return 0;
	return 1;
}

/* Where a call is made: the return addresses by the frame pointers, which Go keeps. */
static int look(pid_t id, struct user_regs_struct *r, unsigned long *frames)
{
	unsigned long word[2], frame = r->rbp;
	struct iovec to = {word, 8}, from = {(void *)r->rsp, 8};
	int n = 0;
	frames[n++] = r->rip;
	if (process_vm_readv(id, &to, 1, &from, 1, 0) == 8)
		frames[n++] = word[0];
	to.iov_len = from.iov_len = 16;
	while (n < DEPTH && frame) {
		from.iov_base = (void *)frame;
		if (process_vm_readv(id, &to, 1, &from, 1, 0) != 16 || word[1] == 0)
			break;
		frames[n++] = word[1];
		if (word[0] <= frame && word[0])
			break; /* another stack: where it leads to depends on the scheduler */
		frame = word[0];
	}
	return n;
}

static void say(const char *line)
{
	if (write(RESULT, line, strlen(line)) < 0)
		errno = 0; /* nobody listens any more */
}

/* Decides at the entry of a call whether it fails. */
static int fails(struct thread *t, struct user_regs_struct *r)
{
	unsigned long frames[DEPTH], site = 5381;
	char number[24];
	snprintf(number, sizeof number, ",%llu,", r->orig_rax);
	if (*calls && (done || strstr(calls, number) == NULL))
		return 0;
	if (*calls && r->rip >= low && r->rip < high)
		return 0;
	int n = look(t->id, r, frames);
	for (int i = 0; i < n; i++)
		site = site * 1000003 ^ frames[i];
	if (*calls == 0) {
		char line[1200];
		int length = snprintf(line, sizeof line, "call %s %llu %lx", t->process->part, r->orig_rax, site);
		for (int i = 0; i < n; i++)
			length += snprintf(line + length, sizeof line - length, " %lx", frames[i]);
		snprintf(line + length, sizeof line - length, "\n");
		say(line);
		return 0;
	}
	if (*at) {
		char here[64];
		snprintf(here, sizeof here, "%s:%lx", t->process->part, site);
		if (strcmp(here, at))
			return 0;
		done = 1;
	}
	say("hit\n");
	return 1;
}

/* A stop at a system call. */
static void step(struct thread *t)
{
	struct __ptrace_syscall_info info;
	struct user_regs_struct r;
	if (ptrace(PTRACE_GET_SYSCALL_INFO, t->id, sizeof info, &info) <= 0)
		return;
	if (info.op == PTRACE_SYSCALL_INFO_ENTRY) {
		if (ptrace(PTRACE_GETREGS, t->id, 0, &r) < 0 || !fails(t, &r))
			return;
		r.orig_rax = -1;
		t->pending = ptrace(PTRACE_SETREGS, t->id, 0, &r) == 0;
	} else if (info.op == PTRACE_SYSCALL_INFO_EXIT && t->pending) {
		t->pending = 0;
		if (ptrace(PTRACE_GETREGS, t->id, 0, &r) == 0) {
			r.rax = -error;
			ptrace(PTRACE_SETREGS, t->id, 0, &r);
		}
	}
}

static void trace(void)
{
	int starts = 0, status;
	pid_t id;
	while ((id = waitpid(-1, &status, __WALL)) > 0 || errno == EINTR) {
		if (id < 0)
			continue;
		if (WIFEXITED(status) || WIFSIGNALED(status)) {
			if (id == first) {
				char line[32];
				snprintf(line, sizeof line, "end %d\n", status);
				say(line);
			}
			forget(id);
			continue;
		}
		struct thread *t = find(id);
		int event = status >> 16, sig = event ? 0 : WSTOPSIG(status);
		if (event == PTRACE_EVENT_EXEC) {
			t->pending = 0;
			if ((id == first && starts++ == 0) || is_pidleash(t->process)) {
				ptrace(PTRACE_SYSCALL, id, 0, 0);
				continue;
			}
			ptrace(PTRACE_DETACH, id, 0, 0); /* PROGRAM, which goes its own way */
			forget(id);
			continue;
		}
		if (sig == (SIGTRAP | 0x80)) {
			sig = 0;
			if (starts > 0)
				step(t);
		}
		ptrace(PTRACE_SYSCALL, id, 0, (void *)(intptr_t)sig);
	}
}

static const char *variable(const char *name)
{
	const char *value = getenv(name);
	if (value == NULL)
		_exit(2);
	value = strdup(value);
	unsetenv(name);
	return value;
}

int main(int argc, char **argv)
{
	int go[2];
	if (argc < 3 || fcntl(RESULT, F_SETFD, FD_CLOEXEC) || pipe2(go, O_CLOEXEC))
		return 2;
	if (sscanf(variable("INJECT_SPARE"), "%lx-%lx", &low, &high) != 2)
		return 2;
	calls = variable("INJECT_CALLS");
	at = variable("INJECT_AT");
	error = atoi(variable("INJECT_ERRNO"));
	first = fork();
	if (first == 0) {
		char byte;
		if (putenv(argv[1]) || read(go[0], &byte, 1) != 1)
			_exit(2);
		execv(argv[2], argv + 2);
		_exit(2);
	}
	long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC;
	if (ptrace(PTRACE_SEIZE, first, 0, options) < 0 || write(go[1], "", 1) != 1)
		return 2;
	/* A tracer that has PROGRAM's input and output would keep others waiting. */
	close(0);
	close(1);
	close(2);
	trace();
	return 0;
}

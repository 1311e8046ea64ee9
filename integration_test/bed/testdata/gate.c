// gate PATTERN... -- PROGRAM ARG... holds the system calls of PROGRAM, and of what it starts, that change names of
// files. Each is a text: its name, then the last element of each of its paths, such as "renameat2 p.pid new"; "tmpfile" is
// openat(2) with O_TMPFILE, and statx(2) may end in "nofollow". One that fits a PATTERN of fnmatch(3), which begins with such a name, is written to descriptor 3, with the PID, and waits for a line from descriptor 4: empty,
// to go on, or the number of an error to fail with. After that descriptor's end everything goes on.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct call {
	const char *name;
	int number, first, second; // which arguments are paths; -1: none
} calls[] = {
	{"unlinkat", SYS_unlinkat, 1, -1},
	{"renameat2", SYS_renameat2, 1, 3},
	{"linkat", SYS_linkat, 1, 3},
	{"openat", SYS_openat, 1, -1},
	{"flock", SYS_flock, -1, -1},
#ifdef SYS_unlink
	{"unlink", SYS_unlink, 0, -1},
	{"rename", SYS_rename, 0, 1},
	{"renameat", SYS_renameat, 1, 3},
	{"link", SYS_link, 0, 1},
#endif
	{"statx", SYS_statx, 1, -1},
};

enum { COUNT = sizeof calls / sizeof *calls };

static void die(const char *what) {
	perror(what);
	_exit(125);
}

// wanted: a pattern names the call. All others go on without a look.
static int wanted(char **patterns, const struct call *c) {
	for (; strcmp(*patterns, "--"); patterns++) {
		char word[64];
		snprintf(word, sizeof word, "%s", *patterns);
		word[strcspn(word, " ")] = 0;
		if (fnmatch(word, c->name, 0) == 0 || (c->number == SYS_openat && strcmp(word, "tmpfile") == 0))
			return 1;
	}
	return 0;
}

// filter makes the listener, for this process and what becomes of it.
static int filter(char **patterns) {
	struct sock_filter code[2 * COUNT + 2];
	int n = 0;
	code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
	for (int i = 0; i < COUNT; i++) {
		if (!wanted(patterns, &calls[i]))
			continue;
		code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, calls[i].number, 0, 1);
		code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF);
	}
	code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	struct sock_fprog program = {n, code};
	// Go interrupts its own threads by signals: a held call must not begin anew for each.
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
		SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, &program);
}

// append adds the last element of a path in the other's memory.
static void append(char *text, size_t size, int pid, unsigned long address) {
	char name[64], path[4096] = "";
	snprintf(name, sizeof name, "/proc/%d/mem", pid);
	int memory = open(name, O_RDONLY | O_CLOEXEC);
	ssize_t n = 0;
	while (memory >= 0 && n < (ssize_t)sizeof path - 1 && pread(memory, path + n, 1, address + n) == 1 && path[n])
		n++;
	close(memory);
	path[n] = 0;
	char *slash = strrchr(path, '/');
	size_t used = strlen(text);
	snprintf(text + used, size - used, " %s", slash ? slash + 1 : path);
}

static int fits(char **patterns, const char *text) {
	for (; strcmp(*patterns, "--"); patterns++)
		if (fnmatch(*patterns, text, 0) == 0)
			return 1;
	return 0;
}

// hold reports a call that fits, and says whether it is to wait for an answer.
static int hold(char **patterns, struct seccomp_notif *n) {
	char text[8192] = "";
	for (int i = 0; i < COUNT; i++) {
		const struct call *c = &calls[i];
		if (n->data.nr != c->number)
			continue;
		int unnamed = c->number == SYS_openat && (n->data.args[2] & O_TMPFILE) == O_TMPFILE;
		strcpy(text, unnamed ? "tmpfile" : c->name);
		if (c->first >= 0)
			append(text, sizeof text, n->pid, n->data.args[c->first]);
		if (c->second >= 0)
			append(text, sizeof text, n->pid, n->data.args[c->second]);
		if (c->number == SYS_statx && n->data.args[2] & AT_SYMLINK_NOFOLLOW)
			strcat(text, " nofollow");
	}
	if (!fits(patterns, text))
		return 0;
	dprintf(3, "%d %s\n", n->pid, text);
	return 1;
}

static void answer(int listener, unsigned long long id, int error) {
	struct seccomp_notif_resp r = {.id = id, .error = -error};
	if (error == 0)
		r.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
	ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &r); // it fails if the other has been killed
}

// readAnswer returns -1 at the end of them.
static int readAnswer(void) {
	char line[32] = "";
	for (size_t i = 0; i < sizeof line - 1; i++) {
		if (read(4, line + i, 1) != 1)
			return -1;
		if (line[i] == '\n')
			break;
	}
	return atoi(line);
}

// serve answers in the order of the calls.
static void serve(char **patterns, int listener) {
	unsigned long long held[256];
	int count = 0, open = 1;
	for (;;) {
		struct pollfd p[2] = {{listener, POLLIN, 0}, {open && count ? 4 : -1, POLLIN, 0}};
		if (poll(p, 2, -1) < 0 || p[0].revents & POLLHUP)
			_exit(0);
		if (p[1].revents) {
			int error = readAnswer();
			open = error >= 0;
			for (int n = open ? 1 : count; n > 0; n--) {
				answer(listener, held[0], open ? error : 0);
				memmove(held, held + 1, --count * sizeof *held);
			}
		}
		struct seccomp_notif n = {0};
		if (!(p[0].revents & POLLIN) || ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &n))
			continue;
		if (open && count < 256 && hold(patterns, &n))
			held[count++] = n.id;
		else
			answer(listener, n.id, 0);
	}
}

// share forks with one table of descriptors.
static int share(void) { return syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0); }

int main(int count, char **argv) {
	int begin[2], listener;
	char **program = argv + 1;
	while (*program && strcmp(*program, "--"))
		program++;
	if (count < 3 || !*program || fcntl(3, F_SETFD, FD_CLOEXEC) || fcntl(4, F_SETFD, FD_CLOEXEC) || pipe2(begin, O_CLOEXEC))
		die("gate");
	int child = share();
	if (child == 0) {
		if (share() == 0) { // nobody's child: PROGRAM has none that it did not start
			if (read(begin[0], &listener, sizeof listener) != sizeof listener)
				_exit(125);
			serve(argv + 1, listener);
		}
		_exit(0);
	}
	waitpid(child, NULL, 0);
	listener = filter(argv + 1);
	if (listener < 0)
		die("seccomp");
	if (write(begin[1], &listener, sizeof listener) < 0)
		die("write");
	execvp(program[1], program + 1);
	die(program[1]);
}

/*
 * die N: die by signal N, without a core file, or exit 98 when that signal does
 * not kill.
 */
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	const struct rlimit none = { 0, 0 };
	const uint64_t empty = 0;
	int sig = argc > 1 ? atoi(argv[1]) : 0;

	setrlimit(RLIMIT_CORE, &none);
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &empty, NULL, sizeof empty);
	kill(getpid(), sig);
	return 98;
}

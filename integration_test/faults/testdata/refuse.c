// refuse ERRNO NUMBER[:ARG:MASK] PROGRAM...: becomes PROGRAM, for which a system call fails so; with ARG, counted from
// 0, only when it has a bit of MASK.
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	unsigned number, arg = 0, mask = 0;
	int n = argc < 4 ? 0 : sscanf(argv[2], "%u:%u:%u", &number, &arg, &mask);
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args) + 8 * arg),
		BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, n == 3 ? mask : 0, 1, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, n == 1, n == 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (n ? atoi(argv[1]) : 0)),
	};
	struct sock_fprog filter = { sizeof(code) / sizeof(*code), code };

	if (n != 1 && n != 3)
		return 2;
	// Jumps: another call is allowed; the right one is refused, if it has the bit or none is asked for.
	code[1].jf = 3;
	code[3].jt = 2;
	code[4].jt = code[4].jf = n == 1 ? 1 : 0;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter)) {
		perror("seccomp");
		return 3;
	}
	execvp(argv[3], argv + 3);
	return 4;
}

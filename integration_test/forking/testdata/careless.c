/* careless PROGRAM [ARG...] is what PID 1 of a container may be: whoever loses a parent becomes its child, and it waits
 * for nobody. It starts PROGRAM, and ends when its input does.
 */
#include <sys/prctl.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	char byte;

	if (argc < 2 || prctl(PR_SET_CHILD_SUBREAPER, 1))
		return 99;
	if (fork() == 0) {
		execv(argv[1], argv + 1);
		_exit(99);
	}
	while (read(0, &byte, 1) > 0)
		;
	return 0;
}

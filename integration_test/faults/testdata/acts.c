/* acts HOW FILE is PROGRAM, and creates FILE when it runs as HOW says:
 *
 * runs   waits for a signal
 * ends   ends with 7
 * again  ends with 1 the first time; then it runs
 * daemon ends with 0, and a child of its child, in a session of its own, runs
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static int make(const char *path)
{
	int fd = open(path, O_CREAT | O_WRONLY, 0666);
	return fd < 0 ? -1 : close(fd);
}

int main(int argc, char **argv)
{
	char first[4096];
	if (argc != 3)
		return 2;
	if (strcmp(argv[1], "again") == 0) {
		struct stat st;
		snprintf(first, sizeof first, "%s.1", argv[2]);
		if (stat(first, &st) < 0)
			return make(first) ? 2 : 1;
	}
	if (strcmp(argv[1], "daemon") == 0) {
		pid_t child = fork();
		if (child > 0)
			return waitpid(child, NULL, 0) == child ? 0 : 2;
		if (child < 0 || setsid() < 0)
			return 2;
		child = fork();
		if (child != 0)
			return child < 0 ? 2 : 0;
	}
	if (make(argv[2]))
		return 2;
	if (strcmp(argv[1], "ends") == 0)
		return 7;
	for (;;)
		pause();
}

/* acts HOW FILE is PROGRAM, and creates FILE when it runs as HOW says:
 *
 * runs   waits for a signal
 * ends   ends with 7
 * again  ends with 1 the first time; then it runs
 * daemon ends with 0, and a child of its child, in a session of its own, runs
 * follow is a daemon that writes its PID to FILE.pid
 * tells  says READY=1 to $NOTIFY_SOCKET, and waits for a signal
 */
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static int make(const char *path)
{
	int fd = open(path, O_CREAT | O_WRONLY, 0666);
	return fd < 0 ? -1 : close(fd);
}

static int write_pid(const char *path)
{
	FILE *f = fopen(path, "w");
	return f == NULL || fprintf(f, "%d\n", getpid()) < 0 || fclose(f) ? -1 : 0;
}

static int tell(const char *to)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (to == NULL || fd < 0)
		return -1;
	snprintf(address.sun_path, sizeof address.sun_path, "%s", to);
	socklen_t size = offsetof(struct sockaddr_un, sun_path) + strlen(address.sun_path);
	if (address.sun_path[0] == '@')
		address.sun_path[0] = 0;
	return sendto(fd, "READY=1", 7, 0, (struct sockaddr *)&address, size) == 7 ? close(fd) : -1;
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
	if (strcmp(argv[1], "daemon") == 0 || strcmp(argv[1], "follow") == 0) {
		pid_t child = fork();
		if (child > 0)
			return waitpid(child, NULL, 0) == child ? 0 : 2;
		if (child < 0 || setsid() < 0)
			return 2;
		child = fork();
		if (child != 0)
			return child < 0 ? 2 : 0;
	}
	snprintf(first, sizeof first, "%s.pid", argv[2]);
	if (strcmp(argv[1], "follow") == 0 && write_pid(first))
		return 2;
	if (make(argv[2]))
		return 2;
	if (strcmp(argv[1], "tells") == 0 && tell(getenv("NOTIFY_SOCKET")))
		return 2;
	if (strcmp(argv[1], "ends") == 0)
		return 7;
	for (;;)
		pause();
}

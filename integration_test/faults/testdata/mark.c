// mark FILE: creates FILE and waits for a signal.
#include <fcntl.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	int fd = argc == 2 ? open(argv[1], O_CREAT | O_WRONLY, 0666) : -1;

	if (fd < 0)
		return 4;
	close(fd);
	for (;;)
		pause();
}

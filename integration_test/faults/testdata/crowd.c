// crowd FILE: has as many children as the limits allow, which ignore TERM, then creates FILE and waits for TERM.
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

static void wait_for_signals(void)
{
	for (;;)
		pause();
}

int main(int argc, char **argv)
{
	int refusals = 0;

	if (argc != 2)
		return 2;
	// One refusal may be a passing one; after many, nothing is left for anybody.
	while (refusals < 100) {
		switch (fork()) {
		case 0:
			signal(SIGTERM, SIG_IGN);
			wait_for_signals();
		case -1:
			if (errno != EAGAIN)
				return 3;
			refusals++;
			usleep(1000);
		}
	}
	if (open(argv[1], O_CREAT | O_WRONLY, 0666) < 0)
		return 4;
	wait_for_signals();
}

// stranger NAME N: as nobody, sends N messages to the abstract address, each with sockets whose close(2) lingers.
#include <fcntl.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int lingering(void)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof(at);
	struct linger minutes = { 1, 600 };
	static char block[65536];
	int listener = socket(AF_INET, SOCK_STREAM, 0), fd = socket(AF_INET, SOCK_STREAM, 0);

	if (bind(listener, (void *)&at, size) || listen(listener, 1) || getsockname(listener, (void *)&at, &size) ||
	    connect(fd, (void *)&at, size) || setsockopt(fd, SOL_SOCKET, SO_LINGER, &minutes, sizeof(minutes)))
		exit(3);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	while (write(fd, block, sizeof(block)) > 0) // nobody reads
		;
	return fd;
}

int main(int argc, char **argv)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	union { struct cmsghdr head; char room[CMSG_SPACE(sizeof(int))]; } control;
	struct iovec text = { "READY=1", 7 };
	struct msghdr m = { .msg_name = &to, .msg_iov = &text, .msg_iovlen = 1,
		.msg_control = &control, .msg_controllen = sizeof(control) };

	if (argc != 3 || setgid(65534) || setuid(65534))
		return 2;
	memcpy(to.sun_path + 1, argv[1], strlen(argv[1]));
	m.msg_namelen = offsetof(struct sockaddr_un, sun_path) + 1 + strlen(argv[1]);
	for (int n = atoi(argv[2]); n > 0; n--) {
		int fd = lingering();
		struct cmsghdr *c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(fd));
		if (sendmsg(socket(AF_UNIX, SOCK_DGRAM, 0), &m, 0) < 0)
			return 4;
		// The receiver's copy is the last one.
		if (dup2(open("/dev/null", O_RDONLY), fd) < 0)
			return 5;
	}
	write(1, "sent\n", 5);
	pause();
}

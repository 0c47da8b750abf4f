/* Addresses, sockets and the epoll set. */
#include "load.h"

#include <err.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>

enum { MAX_TARGETS = 64 };

struct target targets[MAX_TARGETS];
unsigned target_count;
int epoll;

uint64_t now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * SECOND + time.tv_nsec;
}

void raise_limits(void)
{
	struct rlimit files;
	if (getrlimit(RLIMIT_NOFILE, &files))
		err(1, "getrlimit");
	files.rlim_cur = files.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &files))
		err(1, "setrlimit");
}

void read_targets(char **words)
{
	struct addrinfo hints = { .ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_STREAM };
	for (; words[0]; words += 2) {
		struct addrinfo *found;
		if (!words[1] || getaddrinfo(words[0], words[1], &hints, &found))
			errx(2, "not an ADDRESS PORT: %s", words[0]);
		if (target_count == MAX_TARGETS)
			errx(2, "more than %d targets", MAX_TARGETS);
		memcpy(&targets[target_count].address, found->ai_addr, found->ai_addrlen);
		targets[target_count++].length = found->ai_addrlen;
		freeaddrinfo(found);
	}
	if (!target_count)
		errx(2, "no ADDRESS PORT given");
}

int new_socket(const struct target *target)
{
	int one = 1;
	int fd = socket(target->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0 || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one))
		err(1, "socket");
	return fd;
}

void watch(int fd, uint32_t events, uint64_t tag)
{
	struct epoll_event event = { .events = events, .data.u64 = tag };
	if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event))
		err(1, "epoll_ctl");
}

bool would_block(ssize_t result)
{
	return result < 0 && (errno == EAGAIN || errno == EINTR);
}

void say(const char *line)
{
	puts(line);
	fflush(stdout);
}

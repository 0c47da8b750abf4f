/* The endpoints. */
#include "load.h"

#include <endian.h>
#include <err.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { CHUNK = 256 * 1024, BATCH = 256, BACKLOG = 4096, MAX_FD = 65536 };

static uint64_t counted[MAX_FD];

static void accept_all(int listener)
{
	for (;;) {
		int one = 1;
		int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0)
			return;
		if (fd >= MAX_FD) {
			close(fd);
			continue;
		}
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
		counted[fd] = 0;
		watch(fd, EPOLLIN, fd);
	}
}

/* Whether it could be sent. */
static bool tell(int fd, uint64_t number)
{
	uint64_t told = htobe64(number);
	return send(fd, &told, sizeof told, MSG_NOSIGNAL) == sizeof told;
}

/* Says so when all of a transfer is there; whether it could. */
static bool confirm(int fd)
{
	if (counted[fd] < TRANSFER_BYTES)
		return true;
	counted[fd] -= TRANSFER_BYTES;
	return tell(fd, TRANSFER_BYTES);
}

static void serve(int fd, enum server kind)
{
	static char chunk[CHUNK];
	ssize_t got = recv(fd, chunk, CHUNK, 0);
	if (would_block(got))
		return;
	/* A client never has more than one message under way, so a short write means it broke off. */
	if (got > 0 && kind == ECHO && send(fd, chunk, got, MSG_NOSIGNAL) == got)
		return;
	if (got > 0 && kind != ECHO) {
		counted[fd] += got;
		if (kind == SINK || confirm(fd))
			return;
	}
	if (got == 0 && kind == SINK && !tell(fd, counted[fd]))
		warn("the total was not taken");
	close(fd);
}

static int listen_on(const struct target *target)
{
	int one = 1;
	int fd = new_socket(target);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (bind(fd, (const struct sockaddr *)&target->address, target->length)
	    || listen(fd, BACKLOG))
		err(1, "listen");
	return fd;
}

_Noreturn void run_server(enum server kind)
{
	static bool listens[MAX_FD];
	for (unsigned i = 0; i < target_count; i++) {
		int fd = listen_on(&targets[i]);
		listens[fd] = true;
		if (kind != DEAF)
			watch(fd, EPOLLIN, fd);
	}
	say("listening");
	for (;;) {
		struct epoll_event events[BATCH];
		int ready = epoll_wait(epoll, events, BATCH, -1);
		for (int i = 0; i < ready; i++) {
			int fd = events[i].data.u64;
			if (listens[fd])
				accept_all(fd);
			else
				serve(fd, kind);
		}
	}
}

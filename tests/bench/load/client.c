/* The clients that are measured. */
#include "load.h"

#include <endian.h>
#include <err.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum { MESSAGE = 64, CHUNK = 256 * 1024, BATCH = 256 };
enum { SETTLE_SECONDS = 10, LATE_SECONDS = 2, RETRY_MICROSECONDS = 2000 };

struct connection {
	int fd;
	bool connected;
	unsigned received;   /* bytes of the answer under way */
	uint64_t number;     /* of the message under way, its first bytes */
	uint64_t started;    /* the operation under way; when paced: was or will be due then */
	bool idle;           /* the next operation is not due yet; only when paced */
	uint64_t sent;       /* bytes; in bulk all of them, in transfer of the one under way */
};

static enum mode mode;
static struct connection *connections;
static unsigned connection_count, next_target;
static uint64_t operations, bytes, errors, first;
/* Between the operations of one connection when paced, else 0; and between which times those
 * have to be due that count.
 */
static uint64_t period, begin_of_time, end_of_time = UINT64_MAX;
static int ticker;
static char chunk[CHUNK];

static void open_connection(struct connection *connection)
{
	const struct target *target = &targets[next_target++ % target_count];
	int fd = new_socket(target);
	*connection = (struct connection){
		.fd = fd,
		.started = period ? connection->started : now(),
	};
	/* A failure at once is told by epoll as well, as EPOLLERR or EPOLLHUP. */
	(void)!connect(fd, (const struct sockaddr *)&target->address, target->length);
	watch(fd, mode == BULK ? EPOLLOUT : EPOLLIN | EPOLLOUT | EPOLLET,
	      connection - connections);
}

static void reopen(struct connection *connection)
{
	close(connection->fd);
	open_connection(connection);
}

/* The pause keeps refusals from becoming the load. */
static void fail(struct connection *connection)
{
	errors++;
	usleep(RETRY_MICROSECONDS);
	reopen(connection);
}

static void send_message(struct connection *connection)
{
	static uint64_t number;
	char message[MESSAGE] = { 0 };
	connection->number = ++number;
	connection->received = 0;
	memcpy(message, &connection->number, sizeof connection->number);
	if (send(connection->fd, message, MESSAGE, MSG_NOSIGNAL) != MESSAGE)
		fail(connection);
}

static void begin_if_due(struct connection *connection)
{
	uint64_t due = connection->started;
	connection->idle = period && (due > now() || due >= end_of_time);
	if (!connection->idle)
		send_message(connection);
}

static void count_operation(const struct connection *connection, uint64_t finished, uint64_t size)
{
	if (period && connection->started < begin_of_time)
		return;
	if (!operations++)
		first = finished;
	bytes += size;
	record_latency(finished - connection->started);
}

static void take_answer(struct connection *connection)
{
	char answer[MESSAGE];
	ssize_t got = recv(connection->fd, answer + connection->received,
	                   MESSAGE - connection->received, 0);
	if (would_block(got))
		return;
	/* An answer in two pieces is legal, but its number always comes with the first. */
	if (got <= 0 || connection->idle
	    || (connection->received == 0
	        && memcmp(answer, &connection->number, sizeof connection->number))) {
		fail(connection);
		return;
	}
	connection->received += got;
	if (connection->received < MESSAGE)
		return;
	uint64_t finished = now();
	count_operation(connection, finished, MESSAGE);
	if (mode == CRR) {
		reopen(connection);
	} else {
		connection->started = period ? connection->started + period : finished;
		begin_if_due(connection);
	}
}

static void send_chunk(struct connection *connection)
{
	ssize_t sent = send(connection->fd, chunk, CHUNK, MSG_NOSIGNAL);
	if (would_block(sent))
		return;
	if (sent < 0) {
		fail(connection);
		return;
	}
	connection->sent += sent;
	bytes += sent;
}

/* Sends what is left of the transfer under way, as far as it is taken. */
static void push_transfer(struct connection *connection)
{
	while (connection->sent < TRANSFER_BYTES) {
		uint64_t left = TRANSFER_BYTES - connection->sent;
		ssize_t sent = send(connection->fd, chunk, left < CHUNK ? left : CHUNK, MSG_NOSIGNAL);
		if (would_block(sent))
			return;
		if (sent < 0) {
			fail(connection);
			return;
		}
		connection->sent += sent;
	}
}

static void take_receipt(struct connection *connection)
{
	uint64_t said;
	ssize_t got = recv(connection->fd, &said, sizeof said, 0);
	if (would_block(got))
		return;
	if (got != sizeof said || be64toh(said) != connection->sent) {
		fail(connection);
		return;
	}
	uint64_t finished = now();
	count_operation(connection, finished, TRANSFER_BYTES);
	connection->started = finished;
	connection->sent = 0;
}

static void turn(struct connection *connection, uint32_t events)
{
	if (events & (EPOLLERR | EPOLLHUP)) {
		fail(connection);
	} else if (mode == BULK) {
		send_chunk(connection);
	} else if (mode == TRANSFER) {
		if (events & EPOLLIN)
			take_receipt(connection);
		push_transfer(connection);
	} else if (!connection->connected) {
		connection->connected = true;
		begin_if_due(connection);
	} else if (events & EPOLLIN) {
		take_answer(connection);
	}
}

/* A connection whose answer is late begins what is overdue when it has come. */
static void begin_all_that_is_due(void)
{
	uint64_t ticks;
	if (read(ticker, &ticks, sizeof ticks) != sizeof ticks)
		err(1, "timerfd");
	for (unsigned i = 0; i < connection_count; i++)
		if (connections[i].idle)
			begin_if_due(&connections[i]);
}

static void run_until(uint64_t end)
{
	for (uint64_t time = now(); time < end; time = now()) {
		struct epoll_event events[BATCH];
		int wait = (end - time + 999999) / 1000000;
		int ready = epoll_wait(epoll, events, BATCH, wait);
		for (int i = 0; i < ready; i++) {
			uint64_t tag = events[i].data.u64;
			if (tag == connection_count)
				begin_all_that_is_due();
			else
				turn(&connections[tag], events[i].events);
		}
	}
}

/* Ends each stream and compares what was sent with what the sink says it got. */
static void compare_totals(void)
{
	struct timeval patience = { .tv_sec = SETTLE_SECONDS };
	for (unsigned i = 0; i < connection_count; i++)
		shutdown(connections[i].fd, SHUT_WR);
	for (unsigned i = 0; i < connection_count; i++) {
		uint64_t total;
		int fd = connections[i].fd;
		if (!connections[i].sent) { /* not even connected */
			errors++;
			continue;
		}
		/* Nothing is measured any more, so this may block. */
		fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
		if (recv(fd, &total, sizeof total, MSG_WAITALL) != sizeof total
		    || be64toh(total) != connections[i].sent)
			errors++;
	}
}

/* Spreads the operations evenly over time, whatever becomes of each: `rate` a second in all. */
static void set_pace(double rate)
{
	uint64_t tick = SECOND / rate, start = now();
	struct timespec step = { .tv_sec = tick / SECOND, .tv_nsec = tick % SECOND };
	struct itimerspec every = { .it_interval = step, .it_value = step };
	ticker = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	if (ticker < 0 || timerfd_settime(ticker, 0, &every, NULL))
		err(1, "timerfd");
	watch(ticker, EPOLLIN, connection_count); /* a tag that no connection has */
	period = tick * connection_count;
	for (unsigned i = 0; i < connection_count; i++)
		connections[i].started = start + (i + 1) * tick;
}

/* How many operations of a connection that were due within the time are not answered yet. */
static uint64_t unanswered(const struct connection *connection)
{
	uint64_t due = connection->started;
	if (due < begin_of_time)
		due += (begin_of_time - due + period - 1) / period * period;
	return due < end_of_time ? (end_of_time - 1 - due) / period + 1 : 0;
}

/* Lets what was due be answered: else the slowest answers would be those that do not count. */
static void finish_what_was_due(void)
{
	uint64_t late = 0, patience = now() + LATE_SECONDS * SECOND;
	do {
		run_until(now() + SECOND / 1000);
		late = 0;
		for (unsigned i = 0; i < connection_count; i++)
			late += unanswered(&connections[i]);
	} while (late && now() < patience);
	errors += late;
}

static void print_result(uint64_t duration)
{
	printf("{\"seconds\":%.9f,\"operations\":%" PRIu64 ",\"bytes\":%" PRIu64
	       ",\"errors\":%" PRIu64 ",\"first\":%" PRIu64 ",\"latency\":",
	       (double)duration / SECOND, operations, bytes, errors, first);
	print_latencies();
	puts("}");
}

void run_client(enum mode wanted, unsigned count, double rate, double warmup, double seconds)
{
	mode = wanted;
	connection_count = count;
	connections = calloc(count, sizeof *connections);
	if (!connections)
		err(1, "calloc");
	if (rate)
		set_pace(rate);
	for (unsigned i = 0; i < count; i++)
		open_connection(&connections[i]);
	run_until(now() + (uint64_t)(warmup * SECOND));

	operations = bytes = errors = first = 0;
	forget_latencies();
	say("measuring");
	uint64_t start = begin_of_time = now();
	uint64_t end = start + (uint64_t)(seconds * SECOND);
	run_until(end);
	uint64_t duration = now() - start;
	say("measured");

	if (mode == BULK)
		compare_totals();
	if (period) {
		end_of_time = end;
		finish_what_was_due();
	}
	print_result(duration);
}

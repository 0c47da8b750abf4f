/* The load of the TCP benches: one thread, one epoll set, and the endpoints to aim it at.
 *
 *   load echo|sink ADDRESS PORT [ADDRESS PORT ...]
 *       Serves, prints "listening", ends by signal. echo returns what it gets; sink counts what
 *       it gets and answers the end of stream with the total (8 bytes, network order).
 *   load rr|crr|bulk CONNECTIONS WARMUP SECONDS ADDRESS PORT [ADDRESS PORT ...]
 *       rr    64-byte round trips, one under way per connection
 *       crr   connect, one round trip, close
 *       bulk  one way as fast as the stream takes it; then the sink's total is compared
 *       Connections go to the given addresses in turn. Prints "measuring" when the warm-up is
 *       over, "measured" when the time is, and then one JSON line:
 *       {"seconds":S,"operations":N,"bytes":N,"errors":N,"first":NANOSECONDS,
 *        "latency":[[NANOSECONDS,COUNT],...]}
 *       An operation is a round trip; in crr its latency includes the connect. bulk counts
 *       bytes only. "first" is when the first operation ended, by CLOCK_MONOTONIC, 0 if none.
 *       A broken connection, a wrong answer and a wrong total are errors; a broken connection
 *       is opened anew.
 */
#include <arpa/inet.h>
#include <endian.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MESSAGE = 64, CHUNK = 256 * 1024, BATCH = 256, BACKLOG = 4096, MAX_FD = 65536 };
enum { MAX_TARGETS = 64, SETTLE_SECONDS = 10, RETRY_MICROSECONDS = 2000 };
static const uint64_t SECOND = 1000000000;

/* ---- latencies ------------------------------------------------------------------------- */

/* Log buckets as in HdrHistogram: 64 to each power of two, so a value is off by 1.6 % at most. */
enum { SUB_BITS = 6, SUB = 1 << SUB_BITS, BUCKETS = (64 - SUB_BITS + 1) * SUB };
static uint64_t buckets[BUCKETS];

static unsigned bucket_of(uint64_t value)
{
	if (value < SUB)
		return value;
	unsigned shift = 63 - __builtin_clzll(value) - SUB_BITS;
	return (shift + 1) * SUB + ((value >> shift) & (SUB - 1));
}

static uint64_t middle_of(unsigned bucket)
{
	if (bucket < SUB)
		return bucket;
	unsigned shift = bucket / SUB - 1;
	return ((uint64_t)(SUB + bucket % SUB) << shift) + (((uint64_t)1 << shift) >> 1);
}

/* ---- sockets --------------------------------------------------------------------------- */

struct target {
	struct sockaddr_storage address;
	socklen_t length;
};

static struct target targets[MAX_TARGETS];
static unsigned target_count;
static int epoll;
static char chunk[CHUNK];

static uint64_t now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * SECOND + time.tv_nsec;
}

static void read_targets(char **words)
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

static int new_socket(const struct target *target)
{
	int one = 1;
	int fd = socket(target->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0 || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one))
		err(1, "socket");
	return fd;
}

static void watch(int fd, uint32_t events, uint64_t tag)
{
	struct epoll_event event = { .events = events, .data.u64 = tag };
	if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event))
		err(1, "epoll_ctl");
}

static bool would_block(ssize_t result)
{
	return result < 0 && (errno == EAGAIN || errno == EINTR);
}

/* ---- servers --------------------------------------------------------------------------- */

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

/* A client never has more than one message under way, so a short write means it broke off. */
static void serve(int fd, bool echoes)
{
	ssize_t got = recv(fd, chunk, CHUNK, 0);
	if (would_block(got))
		return;
	if (got > 0 && !echoes) {
		counted[fd] += got;
		return;
	}
	if (got > 0 && send(fd, chunk, got, MSG_NOSIGNAL) == got)
		return;
	if (got == 0 && !echoes) {
		uint64_t total = htobe64(counted[fd]);
		if (send(fd, &total, sizeof total, MSG_NOSIGNAL) < 0)
			warn("the total was not taken");
	}
	close(fd);
}

static void run_server(bool echoes)
{
	unsigned listeners[MAX_FD / 64] = { 0 };
	for (unsigned i = 0; i < target_count; i++) {
		int one = 1;
		int fd = new_socket(&targets[i]);
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
		if (bind(fd, (struct sockaddr *)&targets[i].address, targets[i].length)
		    || listen(fd, BACKLOG))
			err(1, "listen");
		listeners[fd] = true;
		watch(fd, EPOLLIN, fd);
	}
	puts("listening");
	fflush(stdout);
	for (;;) {
		struct epoll_event events[BATCH];
		int ready = epoll_wait(epoll, events, BATCH, -1);
		for (int i = 0; i < ready; i++) {
			unsigned fd = events[i].data.u64;
			if (fd < MAX_FD / 64 && listeners[fd])
				accept_all(fd);
			else
				serve(fd, echoes);
		}
	}
}

/* ---- clients --------------------------------------------------------------------------- */

enum mode { RR, CRR, BULK };

struct connection {
	int fd;
	bool connected;
	unsigned received;   /* bytes of the answer under way */
	uint64_t number;     /* of the message under way, its first bytes */
	uint64_t started;    /* of the operation under way */
	uint64_t sent;       /* bytes, bulk only */
};

static enum mode mode;
static struct connection *connections;
static unsigned connection_count, next_target;
static uint64_t operations, bytes, errors, first;

static void open_connection(struct connection *connection)
{
	const struct target *target = &targets[next_target++ % target_count];
	int fd = new_socket(target);
	*connection = (struct connection){ .fd = fd, .started = now() };
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

static void take_answer(struct connection *connection)
{
	char answer[MESSAGE];
	ssize_t got = recv(connection->fd, answer + connection->received,
	                   MESSAGE - connection->received, 0);
	if (would_block(got))
		return;
	/* An answer in two pieces is legal, but its number always comes with the first. */
	if (got <= 0 || (connection->received == 0
	                 && memcmp(answer, &connection->number, sizeof connection->number))) {
		fail(connection);
		return;
	}
	connection->received += got;
	if (connection->received < MESSAGE)
		return;
	uint64_t finished = now();
	if (!operations++)
		first = finished;
	bytes += MESSAGE;
	buckets[bucket_of(finished - connection->started)]++;
	if (mode == CRR) {
		reopen(connection);
	} else {
		connection->started = finished;
		send_message(connection);
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

static void turn(struct connection *connection, uint32_t events)
{
	if (events & (EPOLLERR | EPOLLHUP)) {
		fail(connection);
	} else if (mode == BULK) {
		send_chunk(connection);
	} else if (!connection->connected) {
		connection->connected = true;
		send_message(connection);
	} else if (events & EPOLLIN) {
		take_answer(connection);
	}
}

static void run_until(uint64_t end)
{
	for (uint64_t time = now(); time < end; time = now()) {
		struct epoll_event events[BATCH];
		int wait = (end - time + 999999) / 1000000;
		int ready = epoll_wait(epoll, events, BATCH, wait);
		for (int i = 0; i < ready; i++)
			turn(&connections[events[i].data.u64], events[i].events);
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

static void print_result(uint64_t duration)
{
	const char *separator = "";
	printf("{\"seconds\":%.9f,\"operations\":%" PRIu64 ",\"bytes\":%" PRIu64
	       ",\"errors\":%" PRIu64 ",\"first\":%" PRIu64 ",\"latency\":[",
	       (double)duration / SECOND, operations, bytes, errors, first);
	for (unsigned bucket = 0; bucket < BUCKETS; bucket++) {
		if (!buckets[bucket])
			continue;
		printf("%s[%" PRIu64 ",%" PRIu64 "]", separator, middle_of(bucket),
		       buckets[bucket]);
		separator = ",";
	}
	puts("]}");
}

static void run_client(double warmup, double seconds)
{
	connections = calloc(connection_count, sizeof *connections);
	if (!connections)
		err(1, "calloc");
	for (unsigned i = 0; i < connection_count; i++)
		open_connection(&connections[i]);
	run_until(now() + (uint64_t)(warmup * SECOND));

	operations = bytes = errors = first = 0;
	memset(buckets, 0, sizeof buckets);
	puts("measuring");
	fflush(stdout);
	uint64_t start = now();
	run_until(start + (uint64_t)(seconds * SECOND));
	uint64_t duration = now() - start;
	puts("measured");
	fflush(stdout);

	if (mode == BULK)
		compare_totals();
	print_result(duration);
}

int main(int count, char **words)
{
	static const char *const modes[] = { "rr", "crr", "bulk" };
	epoll = epoll_create1(EPOLL_CLOEXEC);
	if (epoll < 0)
		err(1, "epoll_create1");
	if (count > 3 && (!strcmp(words[1], "echo") || !strcmp(words[1], "sink"))) {
		read_targets(words + 2);
		run_server(!strcmp(words[1], "echo"));
	}
	for (int i = 0; count > 6 && i < 3; i++) {
		if (strcmp(words[1], modes[i]))
			continue;
		mode = i;
		connection_count = atoi(words[2]);
		read_targets(words + 5);
		run_client(atof(words[3]), atof(words[4]));
		return 0;
	}
	fputs("load echo|sink ADDRESS PORT ...\n"
	      "load rr|crr|bulk CONNECTIONS WARMUP SECONDS ADDRESS PORT ...\n", stderr);
	return 2;
}

/* The load of the TCP benches: one thread, one epoll set, and the endpoints to aim it at.
 *
 *   load echo|sink|receipt|deaf ADDRESS PORT [ADDRESS PORT ...]
 *       Serves, prints "listening", ends by signal. echo returns what it gets; sink counts what
 *       it gets and answers the end of stream with the total (8 bytes, network order); receipt
 *       answers every 4 MiB with that number; deaf has connections made by the kernel and never
 *       looks at them.
 *   load rr|crr|bulk|transfer CONNECTIONS RATE WARMUP SECONDS ADDRESS PORT [ADDRESS PORT ...]
 *       rr    64-byte round trips, one under way per connection
 *       crr   connect, one round trip, close
 *       bulk  one way as fast as the stream takes it; then the sink's total is compared
 *       transfer  4 MiB and the receipt for them, one under way per connection
 *       Connections go to the given addresses in turn. Prints "measuring" when the warm-up is
 *       over, "measured" when the time is, and then one JSON line:
 *       {"seconds":S,"operations":N,"bytes":N,"errors":N,"first":NANOSECONDS,
 *        "latency":[[NANOSECONDS,COUNT],...]}
 *       An operation is a round trip or a transfer; in crr its latency includes the connect. bulk
 *       counts bytes only. "first" is when the first operation ended, by CLOCK_MONOTONIC, 0 if none.
 *       A broken connection, a wrong answer and a wrong total are errors; a broken connection
 *       is opened anew.
 *       RATE 0 begins an operation as soon as the one before has ended. Else, in rr only, so
 *       many begin each second, evenly, and latencies count from when they were due: one that
 *       has to wait for a late answer on its connection is late itself. Those count that were
 *       due within the time; they are waited for, and what is not answered 2 s later is an error.
 */
#include "load.h"

#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

static int index_of(const char *word, const char *const names[], int count)
{
	for (int i = 0; i < count; i++)
		if (!strcmp(word, names[i]))
			return i;
	return -1;
}

int main(int count, char **words)
{
	static const char *const servers[] = { "echo", "sink", "receipt", "deaf" };
	static const char *const modes[] = { "rr", "crr", "bulk", "transfer" };
	epoll = epoll_create1(EPOLL_CLOEXEC);
	if (epoll < 0)
		err(1, "epoll_create1");
	raise_limits();
	int server = count > 3 ? index_of(words[1], servers, 4) : -1;
	int mode = count > 7 ? index_of(words[1], modes, 4) : -1;
	if (server >= 0) {
		read_targets(words + 2);
		run_server(server);
	}
	if (mode >= 0 && (mode == RR || !atof(words[3]))) {
		read_targets(words + 6);
		run_client(mode, atoi(words[2]), atof(words[3]), atof(words[4]), atof(words[5]));
		return 0;
	}
	fputs("load echo|sink|receipt|deaf ADDRESS PORT ...\n"
	      "load rr CONNECTIONS RATE WARMUP SECONDS ADDRESS PORT ...\n"
	      "load crr|bulk|transfer CONNECTIONS 0 WARMUP SECONDS ADDRESS PORT ...\n", stderr);
	return 2;
}

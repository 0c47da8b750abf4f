/* What the parts of the load share: see load.c. */
#ifndef LOAD_H
#define LOAD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

#define SECOND UINT64_C(1000000000)
#define TRANSFER_BYTES UINT64_C(4194304)

struct target {
	struct sockaddr_storage address;
	socklen_t length;
};

/* sockets.c */
extern struct target targets[];
extern unsigned target_count;
extern int epoll;
uint64_t now(void); /* CLOCK_MONOTONIC, nanoseconds */
void raise_limits(void);
void read_targets(char **words); /* ADDRESS PORT ..., ended by NULL */
int new_socket(const struct target *target);
void watch(int fd, uint32_t events, uint64_t tag);
bool would_block(ssize_t result);
void say(const char *line);

/* latency.c */
void record_latency(uint64_t nanoseconds);
void forget_latencies(void);
void print_latencies(void); /* as a JSON list */

/* server.c */
enum server { ECHO, SINK, RECEIPT, DEAF };
_Noreturn void run_server(enum server kind);

/* client.c */
enum mode { RR, CRR, BULK, TRANSFER };
void run_client(enum mode mode, unsigned connections, double rate, double warmup, double seconds);

#endif

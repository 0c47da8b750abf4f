/* What the programs of the connect path and the agent share.
 *
 * The agent's side is edgemesh/kernel/bpf/connect_layout.py; a test compares the two. Numbers are
 * in the host's byte order, addresses and ports in the network's. An IPv4 address is written as
 * the IPv6 address that stands for it (RFC 4291 section 2.5.5.2).
 */
#ifndef EDGEMESH_H
#define EDGEMESH_H

#include <linux/types.h>

/* Why a call is not forwarded; edgemesh/kernel/bpf/connect_layout.py, REFUSALS. */
enum refusal {
	REFUSED_NO_ENDPOINT,
	REFUSED_BREAKER_OPEN,
	REFUSED_OVERFLOW,
	REFUSED_QUOTA,
	REFUSALS,
};

enum entry_flag {
	ENTRY_TURNS = 1,      /* slots are taken one after the other, not by chance */
	ENTRY_LEFT_ALONE = 2, /* the address is known, its calls are not for us */
};

enum endpoint_flag {
	ENDPOINT_OUT = 1,     /* passed over while there are others */
	ENDPOINT_WATCHED = 2, /* each success is told, not only those after a failure */
	ENDPOINT_RETIRED = 4, /* no longer an endpoint of its port */
};

/* Whose calls are balanced; edgemesh/kernel/bpf/connect_layout.py, class Callers. */
enum callers {
	CALLERS_ALL,
	CALLERS_NOT_LISTED,
	CALLERS_LISTED,
};

enum event_kind {
	EVENT_CONNECT_FAILED = 1, /* value: errno */
	EVENT_RESET = 2,          /* value: errno */
	EVENT_CONNECTED = 3,      /* value: round trip in microseconds */
	EVENT_ENDED = 4,          /* in order, after resets; value: 0 */
};

enum touched {
	TOUCHED_PORT,
	TOUCHED_ENDPOINT,
};

/* An address and a port. */
struct place {
	__u32 address[4];
	__u16 port;
	__u16 zero;
};

/* The one value of `agent`, written by the agent. */
struct agent {
	__u64 until_ns; /* how long it vouches for the maps, by CLOCK_MONOTONIC */
	__u32 round;    /* grows with each look at `touched` */
	__u32 flagged;  /* whether any endpoint has flags: most often none has */
	__u32 callers;  /* enum callers */
	__u32 zero;
};

/* Key of `addresses`. */
struct called {
	__u32 address[4];
	__u16 port;
	__u8 protocol; /* IPPROTO_TCP or IPPROTO_UDP */
	__u8 zero;
};

/* Value of `addresses`, written by the agent: a Service port as it is called there. A new table of
 * endpoints is published by this row. It begins with its key, see find(). */
struct entry {
	struct called called;
	__u32 port_id;
	__u32 table;
	__u32 slots;   /* of the table; with none, calls are refused */
	__u32 flags;   /* enum entry_flag */
	__u32 refusal; /* enum refusal, where there are no slots */
	__u32 max_connections;  /* 0 for no limit */
	__u32 affinity_seconds; /* 0 for no affinity */
	__u64 period_ns; /* between connections at the quota's rate; 0 for no quota */
	__u64 depth_ns;  /* the quota's burst, at its rate */
};

/* Value of `port_states`, made by the agent, counted by the programs under its lock. */
struct port_state {
	struct bpf_spin_lock lock;
	__u32 born;     /* tells it from one that had the same id before */
	__u32 open;     /* connections */
	__u32 told;     /* in which round it was put into `touched` last; without the lock */
	__u64 turns[2]; /* slots taken in turn, for calls in IPv4 and IPv6 */
	__u64 full_at_ns; /* when the quota's bucket is full again */
	__u64 passed;
	__u64 refused[REFUSALS]; /* counted without the lock */
};

/* Key of `tables`. */
struct table_slot {
	__u32 table;
	__u32 slot;
};

/* Value of `tables`, written by the agent: an endpoint, and its part in the alias method. */
struct slot {
	__u32 endpoint;
	__u32 threshold; /* a drawn number below it takes this slot */
	__u32 alias;     /* the slot that any other takes */
	__u16 port;
	__u16 zero;
	__u32 address[4];
};

/* Key of `members`, written by the agent; the value is the slot. */
struct member {
	__u32 table;
	__u32 endpoint;
};

/* Value of `endpoints`, made by the agent, counted by the programs. */
struct endpoint_state {
	__u32 born; /* tells it from one that had the same id before */
	__u32 failures_in_row;
	__u32 told; /* as in struct port_state */
	__u32 broke_off; /* whether resets are among these failures */
	__u64 open;
	__u64 total;
	__u64 failed;
	__u64 resets;
	__u64 round_trip_us; /* the sum of all that were measured */
	__u64 round_trips;
};

/* Key of `touched`, written by the programs, removed by the agent: what to read counts of. */
struct touch {
	__u32 kind; /* enum touched */
	__u32 id;
};

/* Key of `affinity`. */
struct caller {
	__u64 namespace; /* cookie of the network namespace */
	__u32 port_id;
	__u32 zero;
};

/* Value of `affinity`, written by the programs. */
struct last_call {
	__u64 at_ns;
	__u32 endpoint;
	__u32 zero;
};

/* Value of `sockets`, by cookie, written by the programs: a socket whose connect() was translated. */
struct note {
	struct bpf_spin_lock lock;
	__u32 counted; /* whether it is still one of the open connections; under the lock */
	__u32 port_id;
	__u32 port_born;
	__u32 endpoint;
	__u32 endpoint_born;
	__u64 began_ns;
	__u32 followed; /* sockops.bpf.c will remove it when the connection has ended */
	struct place called;
	struct place given;
	__u32 zero;
};

/* Key of `datagrams` (the place that is called) and of `answers` (the endpoint). */
struct conversation {
	__u64 socket; /* its cookie */
	struct place place;
	__u32 zero; /* all of a key is compared: it must have no padding */
};

/* Value of `datagrams`, written by the programs: where a socket's datagrams to a Service go. */
struct route {
	__u64 last_ns;
	__u32 port_id;
	__u32 endpoint;
	__u32 endpoint_born;
	struct place given;
};

/* A record of `connect_events`, written by the programs. */
struct event {
	__u32 kind; /* enum event_kind */
	__u32 port_id;
	__u32 endpoint;
	__u32 value;
};

#endif

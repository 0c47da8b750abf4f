/* What the gate and the agent share.
 *
 * The agent's side is edgemesh/kernel/bpf/gate_maps.py; a test compares the two. All words are of
 * 8 bytes and aligned, and each has one writer: the map is mapped into the agent's memory, so both
 * sides load and store them whole. The agent writes only while the program does not run for the
 * direction, but for `released`.
 */
#ifndef GATE_H
#define GATE_H

#include <linux/types.h>

/* One direction of a flow: bytes that arrive at one socket, its source, and are to be sent by the
 * other, its target. Value of `gate_ways`.
 */
struct way {
	__u64 redirected; /* program: bytes that were given to the target in the kernel */
	__u64 passed;     /* program: bytes that were left to the agent */
	__u64 released;   /* agent: `passed` when it had sent all of them; HELD before that */
	__u64 base;       /* agent: bytes that had been written to the target before all of these */
	__u64 mark;       /* program: position up to which `older` counts */
	__u64 older;      /* program: skbs that ended at or before `mark` */
	__u64 newer;      /* program: skbs that were redirected since */
	__u64 last_ns;    /* program: when it redirected last, CLOCK_MONOTONIC */
	__u64 next_seq;   /* program: of the source's next byte, see overlap.h; 0 for unknown */
	__u64 lost;       /* program: bytes that it had no memory to do right by */
};

/* A value of `released` that is never that of `passed`. */
#define HELD (~0ULL)

/* What an skb may keep in memory beside its payload: the page that a packet of one byte is in. */
#define PIECE_BYTES 4096

#endif

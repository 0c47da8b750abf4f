/* Flows whose requests are counted: what the program and the agent share, and what is counted.
 *
 * The two directions run at the same time. `phase` is handed from one to the other like a baton:
 * only who has it moves it on. A request that is over its port's quota is given to the agent with
 * it, which hands it back when it has answered.
 */
#ifndef OBSERVE_H
#define OBSERVE_H

#include <linux/types.h>

enum phase {
	PHASE_READY,   /* the client's side: nothing is asked, or all is answered */
	PHASE_ASKED,   /* the endpoint's side: a response is awaited, or under way */
	PHASE_REFUSED, /* the agent: a request is to be answered by it */
};

/* Why a flow is not observed any more; edgemesh/kernel/bpf/observed_maps.py, UNOBSERVED. */
enum unobserved {
	OBSERVED,
	UNOBSERVED_UNKNOWN,   /* something that the reader does not know */
	UNOBSERVED_PIPELINED, /* a request came before the one before it was answered */
	UNOBSERVED_UNASKED,   /* the endpoint spoke before it was asked */
	UNOBSERVED_LONG,      /* too much of heads in one packet */
	UNOBSERVED_UPGRADED,  /* it speaks something else from now on */
	UNOBSERVED_REASONS,
};

enum read_state {
	READ_START,      /* the first word of a message */
	READ_SKIP,       /* until the end of the line */
	READ_LINE_END,   /* LF of a line */
	READ_NAME,       /* the name of a field, or the CR of the empty line */
	READ_LENGTH,     /* the value of Content-Length */
	READ_CODING,     /* the value of Transfer-Encoding */
	READ_HEAD_END,   /* LF of the empty line */
	READ_BODY,       /* `left` bytes, then the message is over */
	READ_CHUNK_SIZE,
	READ_CHUNK_SIZE_END, /* LF */
	READ_CHUNK,      /* `left` bytes, then CR */
	READ_CHUNK_END,  /* LF */
	READ_LAST,       /* CR after the last chunk */
	READ_LAST_END,   /* LF */
};

enum framing {
	FRAMED_BY_NOTHING,
	FRAMED_BY_LENGTH,
	FRAMED_BY_CHUNKS,
};

/* Where one direction stands. Written by its program alone. */
struct reader {
	__u64 state;   /* enum read_state */
	__u64 framing; /* enum framing */
	__u64 number;  /* Content-Length, or the size of a chunk */
	__u64 left;    /* bytes to skip */
	__u64 high;    /* the last 16 characters of a word, these 8 and */
	__u64 low;     /* those 8 */
	__u64 length;  /* how many it has */
	__u64 status;  /* of a response */
	__u64 over_at; /* within a packet: the position at which a message was over, or a response
			* was known to go on until the connection ends */
	__u64 stopped; /* enum unobserved: why it reads no further */
};

/* A flow that is observed. Value of `watches`. All words are aligned and of 8 bytes, for the agent
 * has the map in its memory.
 */
struct watch {
	__u64 phase;        /* enum phase, by who has it */
	__u64 unobserved;   /* enum unobserved, by either program */
	__u64 refused_from; /* client's program: position of a request that is refused, see below */
	__u64 refused_to;   /* client's program: where it ends; 0 while that is not known */
	__u64 wait_ns;      /* client's program: until the next one may pass */
	__u64 requests;     /* client's program: that were passed on */
	__u64 refused;      /* client's program: requests that were not */
	__u64 began_ns;     /* client's program: when the request began to arrive */
	__u64 has_no_body;  /* client's program: what answers it has none, for it is HEAD */
	__u64 quota;        /* agent: index into `quotas` and `buckets` */
	__u64 tally;        /* agent: index into `tallies` */
	struct reader readers[2]; /* from the client, from the endpoint */
};
/* Positions count the bytes of a direction since it is in the gate. */

/* Value of `quotas`, written by the agent. */
struct quota {
	__u64 period_ns; /* between requests at the quota's rate; 0 for no quota */
	__u64 depth_ns;  /* its burst, at its rate */
};

/* Value of `buckets`, written by the program. */
struct bucket {
	struct bpf_spin_lock lock;
	__u32 zero;
	__u64 full_at_ns; /* when the quota's bucket is full again */
};

#define STATUSES 10
#define LATENCIES 40

/* Value of `tallies`: counted by the program, cleared by the agent. */
struct tally {
	__u64 statuses[STATUSES];     /* responses by the first digit of their status */
	__u64 nanoseconds;            /* that they took together, from the request's first byte */
	__u64 latencies[LATENCIES];   /* responses that took less than 2^i microseconds, and not
	                               * less than half of that */
	__u64 unobserved[UNOBSERVED_REASONS]; /* flows that are not observed any more */
};

/* The generic cell rate algorithm, as in admission.h; the time until one may pass, 0 for now. */
static inline u64 take_token(struct bucket *bucket, const struct quota *quota, u64 now_ns)
{
	u64 period_ns = quota->period_ns, depth_ns = quota->depth_ns;
	u64 full_at_ns, wait_ns = 0;

	bpf_spin_lock(&bucket->lock);
	full_at_ns = bucket->full_at_ns;
	if (full_at_ns < now_ns)
		full_at_ns = now_ns;
	if (full_at_ns > now_ns + depth_ns)
		full_at_ns = now_ns + depth_ns;
	if (full_at_ns + period_ns > now_ns + depth_ns)
		wait_ns = full_at_ns + period_ns - now_ns - depth_ns;
	else
		full_at_ns += period_ns;
	bucket->full_at_ns = full_at_ns;
	bpf_spin_unlock(&bucket->lock);
	return wait_ns;
}

static inline void count_response(struct watch *watch, struct tally *tally, u64 status)
{
	u64 nanoseconds = bpf_ktime_get_ns() - watch->began_ns;
	u64 class = status / 100, latency = bpf_log2l(nanoseconds / 1000);

	/* Or other registers would be compared than are used, which tells the verifier of 6.1 nothing. */
	asm volatile("" : "+r"(class), "+r"(latency));
	if (class < STATUSES)
		__sync_fetch_and_add(&tally->statuses[class], 1);
	if (latency >= LATENCIES)
		latency = LATENCIES - 1;
	__sync_fetch_and_add(&tally->latencies[latency], 1);
	__sync_fetch_and_add(&tally->nanoseconds, nanoseconds);
}

static inline void stop_observing(struct watch *watch, struct tally *tally, u32 why)
{
	watch->unobserved = why;
	if (why < UNOBSERVED_REASONS)
		__sync_fetch_and_add(&tally->unobserved[why], 1);
}

#endif

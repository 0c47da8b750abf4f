/* The gate: moves what arrives at a flow's socket to the flow's other socket, within the kernel.
 *
 * The kernel redirects without backpressure. An skb that is redirected is acknowledged at once and
 * waits, charged to nobody, in the target's queue (sk_psock_skb_redirect(), tcp_eat_skb()): one
 * reader that stalls would have its sender fill the memory of the node. So the program redirects
 * while what the target's peer has not acknowledged yet is less than BACKLOG_BYTES. Otherwise it
 * passes: the skb is charged to the source's receive buffer, the sender's window closes when that
 * is full, and the agent moves the bytes.
 *
 * Order. Bytes that were redirected are on their way through a queue of the kernel that the agent
 * cannot see, and bytes that were passed lie in front of the agent. Neither may overtake.
 * - From passing to redirecting: nothing is redirected while `passed` is not `released`, and the
 *   agent releases when it has written all that was passed to the target, whose queue keeps order.
 * - From redirecting to passing: the agent writes to the target only after the direction is held
 *   and the target has taken all that was redirected, by its count of bytes.
 * The program runs under the source's socket lock (tcp_data_ready()), so for one direction never
 * twice at a time; a system call of the agent on the source that takes the lock divides what the
 * program did before from what it does after, when it sees what the agent stored before.
 *
 * The target's queue also takes what is passed of the other direction, when it is not empty
 * (sk_psock_verdict_apply()). It must never be stuck then, or two directions would wait for each
 * other. It is not: unacknowledged bytes that are fewer than BACKLOG_BYTES always find room in
 * the target's send buffer, which the agent has made larger, and the agent holds both directions
 * when one of them overflows.
 *
 * A socket stays in `gate_sources` until it is closed. The kernel takes a verdict away without the
 * socket lock (sock_map_del_link() as late as 6.18), and what arrives in this moment is dropped.
 */
#include <uapi/linux/bpf.h>

#include "gate.h"
#include "overlap.h"

/* bcc's BPF_SOCKHASH has no lookup(). */
struct sockhash {
	u64 key;
	int leaf;
	void *(*lookup)(u64 *);
	int (*update)(u64 *, int *);
	int (*delete)(u64 *);
	int (*sk_redirect_hash)(void *, void *, u64);
	u32 max_entries;
};

/* By the cookie of the source: where its bytes go. It has no program, so that entries are there
 * before a program looks for them. Sockets of flows that are over are in it until they are closed,
 * so there is room for them besides.
 */
__attribute__((section("maps/sockhash"))) struct sockhash gate_targets = {
	.max_entries = 2 * GATE_WAYS,
};
/* By its own cookie: a source. Whatever is in it is given the program. */
BPF_SOCKHASH(gate_sources, u64, 2 * GATE_WAYS);
/* By the cookie of the source: the number of its direction in `gate_ways`. */
BPF_F_TABLE("hash", u64, u32, gate_numbers, GATE_WAYS, BPF_F_NO_PREALLOC);
BPF_F_TABLE("array", u32, struct way, gate_ways, GATE_WAYS, BPF_F_MMAPABLE);
/* Numbers of directions that have begun to pass: there is room for all of them. */
BPF_RINGBUF_OUTPUT(gate_overflows, GATE_EVENT_PAGES);

/* Whether the direction may have `length` bytes more under way, of which it takes note. */
static inline int admit(struct way *way, u64 acknowledged, u32 length)
{
	/* Of all that has been written to the target, counted from the direction's begin: */
	u64 written = way->redirected + way->passed;
	s64 arrived = acknowledged - way->base;
	u64 pieces;

	if (arrived >= (s64)way->mark) {
		way->older = way->newer;
		way->newer = 0;
		way->mark = written;
	}
	pieces = way->older + way->newer + 1;
	if ((s64)written - arrived + length + pieces * PIECE_BYTES > BACKLOG_BYTES)
		return 0;
	way->newer++;
	return 1;
}

/* Redirect or pass what is not to be kept, of which the agent would be told. */
static inline int move(struct __sk_buff *skb, u64 *cookie, u32 *number, struct way *way, int keep)
{
	struct bpf_sock *target;
	void *tcp;
	u64 acknowledged = 0;

	if (way->passed != way->released)
		goto pass;
	if (keep)
		goto overflow;
	target = gate_targets.lookup(cookie);
	if (!target)
		goto overflow;
	tcp = skc_to_tcp_sock(target);
	if (tcp)
		acknowledged = *(volatile u64 *)(tcp + OFF_TCP_SOCK_BYTES_ACKED);
	bpf_sk_release(target);
	if (tcp && admit(way, acknowledged, skb->len)) {
		way->last_ns = bpf_ktime_get_ns();
		way->redirected += skb->len;
		return gate_targets.sk_redirect_hash(skb, cookie, 0);
	}
overflow:
	gate_overflows.ringbuf_output(number, sizeof(*number), 0);
pass:
	way->passed += skb->len;
	return SK_PASS;
}

/* Whether something of the packet is new: the head is cut off that is not.
 *
 * A FIN, which the socket knows of already, may come without bytes, or with such as have come
 * before. In a queue that takes what it has sent nothing of for a failure (sk_psock_backlog()) it
 * would be the end of the socket.
 */
static inline int is_new(struct __sk_buff *skb, u32 *number, struct way *way)
{
	if (!skb->len)
		return 0;
	if (!cut_overlap(skb, way))
		return skb->len > 0;
	/* The agent ends the flow: nothing may come instead of what is lost. */
	way->lost += skb->len;
	gate_overflows.ringbuf_output(number, sizeof(*number), 0);
	return 0;
}

#ifndef OBSERVE
int gate_verdict(struct __sk_buff *skb)
{
	u64 cookie = bpf_get_socket_cookie(skb);
	u32 *number = gate_numbers.lookup(&cookie);
	struct way *way;

	if (!number)
		return SK_PASS;
	way = gate_ways.lookup(number);
	if (!way)
		return SK_PASS;
	if (!is_new(skb, number, way))
		return SK_DROP;
	return move(skb, &cookie, number, way, 0);
}
#else
#include "http_reader.h"
#include "observe.h"

/* As `gate_sources`, for flows whose requests are counted. */
BPF_SOCKHASH(observed_sources, u64, 2 * GATE_WAYS);
/* By half the number of either direction. */
BPF_F_TABLE("array", u32, struct watch, watches, GATE_WAYS / 2, BPF_F_MMAPABLE);
BPF_TABLE("array", u32, struct quota, quotas, OBSERVED_PORTS);
BPF_TABLE("array", u32, struct bucket, buckets, OBSERVED_PORTS);
BPF_TABLE("array", u32, struct tally, tallies, OBSERVED_ENDPOINTS);

/* A packet begins a request: let it pass, or refuse it. */
static inline void begin_request(struct watch *watch, struct reader *reader, u64 position)
{
	u64 now_ns = bpf_ktime_get_ns();
	u32 index = watch->quota;
	struct quota *quota = quotas.lookup(&index);
	struct bucket *bucket = buckets.lookup(&index);
	u64 wait_ns = 0;

	if (watch->phase != PHASE_READY) {
		reader->stopped = UNOBSERVED_PIPELINED;
		return;
	}
	if (quota && bucket && quota->period_ns)
		wait_ns = take_token(bucket, quota, now_ns);
	if (wait_ns) {
		watch->refused++;
		watch->wait_ns = wait_ns;
		watch->refused_to = 0;
		watch->refused_from = position;
		watch->phase = PHASE_REFUSED;
		return;
	}
	watch->requests++;
	watch->began_ns = now_ns;
	watch->phase = PHASE_ASKED;
}

/* Read a packet, and leave to take_stock() what follows from it.
 *
 * The verifier walks every way through a step of the loop, and the next step once for all that it
 * cannot tell apart: so there is little in it, and what differs is kept in the map.
 */
static inline void read_packet(struct __sk_buff *skb, struct watch *watch, struct reader *reader,
			       u64 position, u32 answers)
{
	u32 at = 0, length = skb->len;

#pragma nounroll
	for (int step = 0; step < OBSERVED_STEPS; step++) {
		u32 event, skipped;
		u64 word = 0;

		if (reader->stopped || at >= length)
			return;
		if (reader->left) {
			at += skip_body(reader, length - at);
			if (reader->left || reader->state != READ_BODY)
				continue;
			event = READ_OVER;
		} else if (reader->state == READ_SKIP && at + 8 <= length) {
			bpf_skb_load_bytes(skb, at, &word, 8);
			skipped = before_line_end(word);
			at += skipped;
			if (skipped < 8)
				end_line(reader, word >> (8 * skipped));
			at += skipped < 8;
			continue;
		} else {
			if (reader->state == READ_START && !reader->length && !may_begin(watch, reader, at, answers))
				return;
			bpf_skb_load_bytes(skb, at, &word, 1);
			at++;
			event = read_byte(watch, reader, word, answers);
		}
		if (event != READ_ON)
			note(reader, event, position + at);
	}
	if (at < length)
		reader->stopped = UNOBSERVED_LONG;
}

/* What follows from what was read. */
static inline void take_stock(struct watch *watch, struct reader *reader, struct tally *tally,
			      u32 answers)
{
	if (answers && reader->over_at) {
		count_response(watch, tally, reader->status);
		/* One that goes on until the end is the last. */
		if (!reader->left)
			watch->phase = PHASE_READY;
	} else if (watch->phase == PHASE_REFUSED && reader->over_at) {
		watch->refused_to = reader->over_at;
	}
	reader->over_at = 0;
	if (reader->stopped)
		stop_observing(watch, tally, reader->stopped);
}

static inline void observe(struct __sk_buff *skb, struct watch *watch, u64 position, u32 answers)
{
	struct reader *reader = &watch->readers[answers & 1];
	u32 index = watch->tally;
	struct tally *tally = tallies.lookup(&index);

	if (!tally || watch->unobserved)
		return;
	if (!answers && reader->state == READ_START && !reader->length)
		begin_request(watch, reader, position);
	read_packet(skb, watch, reader, position, answers);
	take_stock(watch, reader, tally, answers);
}

int observed_verdict(struct __sk_buff *skb)
{
	u64 cookie = bpf_get_socket_cookie(skb);
	u32 *number = gate_numbers.lookup(&cookie);
	struct watch *watch;
	struct way *way;
	int keep = 0;
	u32 flow;

	if (!number)
		return SK_PASS;
	way = gate_ways.lookup(number);
	if (!way)
		return SK_PASS;
	if (!is_new(skb, number, way))
		return SK_DROP;
	flow = *number / 2;
	watch = watches.lookup(&flow);
	if (watch) {
		observe(skb, watch, way->redirected + way->passed, *number & 1);
		keep = !(*number & 1) && watch->phase == PHASE_REFUSED;
	}
	return move(skb, &cookie, number, way, keep);
}
#endif

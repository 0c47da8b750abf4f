/* What a sender repeats.
 *
 * A segment that begins before what has come already and ends behind it is queued whole
 * (tcp_data_queue(), "partial packet"): that happens when something is sent again, cut otherwise
 * than before. recv(2) leaves out what it has read; a verdict sees all of it again
 * (tcp_read_skb(), as late as 6.18), so it has to cut it off itself.
 */
#ifndef OVERLAP_H
#define OVERLAP_H

#include "gate.h"

/* bpf_skc_to_tcp_sock() of 5.9, which bcc 0.26 does not declare. */
static void *(*skc_to_tcp_sock)(void *sk) = (void *)BPF_FUNC_skc_to_tcp_sock;

/* Set in `next_seq` beside the sequence number, so that none is taken for 0. */
#define SEQ_KNOWN (1ULL << 32)
/* Of each call to cut, sk_skb_adjust_room(). */
#define CUT_BYTES 0xfff
/* Calls for a segment of the largest size there is without BIG TCP. */
#define CUTS 17

/* The number of the first byte that has not come yet, if that is not `otherwise`. The first time
 * the agent has read everything that has.
 */
static inline u32 next_seq(struct __sk_buff *skb, struct way *way, u32 otherwise)
{
	struct bpf_sock *source = skb->sk;
	void *tcp;

	if (way->next_seq & SEQ_KNOWN)
		return way->next_seq;
	if (!source)
		return otherwise;
	tcp = skc_to_tcp_sock(source);
	if (!tcp)
		return otherwise;
	return *(volatile u32 *)(tcp + OFF_TCP_SOCK_COPIED_SEQ);
}

/* Cut what `way` has had already off the head; 0 unless there is no memory to do so. */
static inline int cut_overlap(struct __sk_buff *skb, struct way *way)
{
	/* struct tcp_skb_cb begins with the number of the first byte; programs for sockmaps see
	 * the same memory as cb (sk_skb_convert_ctx_access()).
	 */
	u32 seq = skb->cb[0], length = skb->len;
	s32 overlap = next_seq(skb, way, seq) - seq;

	way->next_seq = SEQ_KNOWN | (u32)(seq + length);
#pragma unroll
	for (int cut = 0; cut < CUTS; cut++) {
		s32 count = overlap < CUT_BYTES ? overlap : CUT_BYTES;

		if (count <= 0)
			break;
		if (bpf_skb_adjust_room(skb, -count, 0, 0))
			return -1;
		overlap -= count;
	}
	return 0;
}

#endif

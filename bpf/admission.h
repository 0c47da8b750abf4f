/* Whether a call of a Service port may pass: its quota, and how many connections it may have. */
#ifndef ADMISSION_H
#define ADMISSION_H

#include "edgemesh.h"

/* A call that is to be translated. */
struct call {
	struct entry entry;
	struct port_state *state;
	u64 now_ns;
	u32 ipv6;
	u32 opens; /* 1 when it counts as a connection until it is closed */
};

/* Whether a socket was one of the open connections until now; only once it was. */
static inline u32 take_count(struct note *note)
{
	u32 counted;

	bpf_spin_lock(&note->lock);
	counted = note->counted;
	note->counted = 0;
	bpf_spin_unlock(&note->lock);
	return counted;
}

static inline void count_closed(struct port_state *state)
{
	bpf_spin_lock(&state->lock);
	state->open--;
	bpf_spin_unlock(&state->lock);
}

/* The generic cell rate algorithm, see policy/traffic/quota.py. */
static inline int take_token(struct port_state *state, const struct entry *entry, u64 now_ns)
{
	u64 full_at_ns = state->full_at_ns;

	if (full_at_ns < now_ns)
		full_at_ns = now_ns;
	/* After a change to a smaller burst, the bucket is empty and owes nothing. */
	if (full_at_ns > now_ns + entry->depth_ns)
		full_at_ns = now_ns + entry->depth_ns;
	state->full_at_ns = full_at_ns;
	if (full_at_ns + entry->period_ns > now_ns + entry->depth_ns)
		return 0;
	state->full_at_ns += entry->period_ns;
	return 1;
}

/* Count a call in, or tell why it may not pass: REFUSALS when it may. One lock, so that limits
 * are exact.
 *
 * takes_turn: whether the next slot in turn is wanted, which `turn` is set to.
 */
static inline u32 admit(const struct call *call, int takes_turn, u64 *turn)
{
	struct port_state *state = call->state;
	const struct entry *entry = &call->entry;
	u64 *turns = call->ipv6 ? &state->turns[1] : &state->turns[0];
	u32 reason = REFUSALS;

	bpf_spin_lock(&state->lock);
	if (call->opens && entry->max_connections && state->open >= entry->max_connections) {
		reason = REFUSED_OVERFLOW;
	} else if (entry->period_ns && !take_token(state, entry, call->now_ns)) {
		reason = REFUSED_QUOTA;
	} else {
		state->open += call->opens;
		state->passed++;
		*turn = *turns;
		*turns += takes_turn;
	}
	bpf_spin_unlock(&state->lock);
	return reason;
}

#endif

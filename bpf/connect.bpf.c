/* Balances connections when they are asked for, and datagrams when they are sent.
 *
 * A program that runs at connect() or sendto() puts an endpoint's address in the place of a
 * Service's. From then on the kernel talks with the endpoint, and neither packets nor bytes pass
 * through the agent. getpeername() and recvfrom() are told the Service's address, as the caller
 * knows no other (some check it: Linux 1b66d253610c).
 *
 * bcc rewrites map.lookup() and its like, in this file only: what is included gets pointers.
 */
#include <uapi/linux/bpf.h>
#include <uapi/linux/in.h>

#include "admission.h"
#include "edgemesh.h"
#include "sockaddr.h"
#include "watch_maps.h"

#define PICKS 4 /* endpoints that are looked at before one that is out is taken */
#define LOOKS 3 /* at an entry that is being replaced */

BPF_F_TABLE("hash", struct called, struct entry, addresses, MAX_ADDRESSES, BPF_F_NO_PREALLOC);
BPF_F_TABLE("hash", struct table_slot, struct slot, tables, MAX_ENDPOINTS, BPF_F_NO_PREALLOC);
BPF_F_TABLE("hash", struct member, u32, members, MAX_ENDPOINTS, BPF_F_NO_PREALLOC);
BPF_F_TABLE("hash", u64, u32, listed, MAX_NAMESPACES, BPF_F_NO_PREALLOC);
BPF_TABLE("lru_hash", struct caller, struct last_call, affinity, MAX_CALLERS);
BPF_TABLE("lru_hash", struct conversation, struct route, datagrams, MAX_CONVERSATIONS);
BPF_TABLE("lru_hash", struct conversation, struct place, answers, MAX_CONVERSATIONS);

static inline struct agent *agent_now(void)
{
	u32 zero = 0;

	return agent.lookup(&zero);
}

/* Let the agent read the counts of a port or an endpoint, which comes after they have changed.
 *
 * told: where its state says in which round it was put on the list.
 */
static inline void touch(u32 *told, u32 kind, u32 id)
{
	struct touch key = {.kind = kind, .id = id};
	struct agent *now = agent_now();
	u32 value = 1;

	if (!now || *told == now->round)
		return;
	*told = now->round;
	touched.update(&key, &value);
}

static inline int has_flag(u32 endpoint, u32 flags)
{
	struct agent *now = agent_now();
	u32 *found;

	if (!now || !now->flagged)
		return 0;
	found = endpoint_flags.lookup(&endpoint);
	return found && (*found & flags);
}

/* Copy the entry of a place that is called, if there is one.
 *
 * The kernel may use a replaced row's memory for another at once (bpf_mem_alloc, Linux 6.1), while
 * we read it. It writes from the front, where the key's copy is; we look there last.
 */
static inline int find(struct entry *entry, const struct called *called)
{
#pragma unroll
	for (int attempt = 0; attempt < LOOKS; attempt++) {
		struct entry *found = addresses.lookup((struct called *)called);

		if (!found)
			return 0;
		*entry = *found;
		barrier();
		if (is_same_call(&found->called, called))
			return 1;
	}
	return 0;
}

static inline enum verdict refuse(const struct call *call, u32 reason)
{
	if (reason < REFUSALS)
		lock_xadd(&call->state->refused[reason], 1);
	touch(&call->state->told, TOUCHED_PORT, call->entry.port_id);
	return REFUSED;
}

static inline struct slot *slot_at(const struct entry *entry, u32 number)
{
	struct table_slot key = {.table = entry->table, .slot = number};

	return tables.lookup(&key);
}

static inline struct slot *drawn_slot(const struct entry *entry)
{
	/* The upper half of the product is even over the slots (Lemire 2019). */
	u32 number = ((u64)bpf_get_prandom_u32() * entry->slots) >> 32;
	struct slot *slot = slot_at(entry, number);

	if (slot && slot->alias != number && bpf_get_prandom_u32() >= slot->threshold)
		slot = slot_at(entry, slot->alias);
	return slot;
}

/* One that is not out, or the last of a few that all are. */
static inline struct slot *pick(const struct entry *entry, u64 turn)
{
	struct slot *slot = NULL;

#pragma unroll
	for (int attempt = 0; attempt < PICKS; attempt++) {
		if (entry->flags & ENTRY_TURNS)
			slot = slot_at(entry, (turn + attempt) % entry->slots);
		else
			slot = drawn_slot(entry);
		if (!slot || !has_flag(slot->endpoint, ENDPOINT_OUT | ENDPOINT_RETIRED))
			break;
	}
	return slot;
}

/* Where the last call of this network namespace went, if it may go there again. */
static inline struct slot *last_slot(const struct call *call, struct caller *caller)
{
	struct last_call *last = affinity.lookup(caller);
	u64 lasts_ns = call->entry.affinity_seconds * 1000000000ULL;
	struct member member = {.table = call->entry.table};
	u32 *number;

	if (!last || call->now_ns > last->at_ns + lasts_ns)
		return NULL;
	member.endpoint = last->endpoint;
	if (has_flag(member.endpoint, ENDPOINT_OUT | ENDPOINT_RETIRED))
		return NULL;
	number = members.lookup(&member);
	return number ? slot_at(&call->entry, *number) : NULL;
}

/* Choose an endpoint for a call that is counted in by this; `chosen` is set when TRANSLATED. */
static inline enum verdict choose(const struct call *call, struct caller *caller,
				  struct slot **chosen)
{
	const struct entry *entry = &call->entry;
	struct slot *slot = NULL;
	struct last_call last = {};
	u64 turn = 0;
	u32 reason;

	if (!entry->slots)
		return refuse(call, call->entry.refusal);
	if (call->entry.affinity_seconds)
		slot = last_slot(call, caller);
	reason = admit(call, !slot, &turn);
	if (reason != REFUSALS)
		return refuse(call, reason);
	if (!slot)
		slot = pick(entry, turn);
	if (!slot) {
		/* The table was removed between two looks of ours: we were held up for seconds. */
		if (call->opens)
			count_closed(call->state);
		return LEFT_ALONE;
	}
	if (call->entry.affinity_seconds) {
		last.at_ns = call->now_ns;
		last.endpoint = slot->endpoint;
		affinity.update(caller, &last);
	}
	*chosen = slot;
	return TRANSLATED;
}

/* Count a call for its endpoint; which life of it that is. */
static inline u32 count_in(const struct call *call, u32 endpoint)
{
	struct endpoint_state *state = endpoints.lookup(&endpoint);

	touch(&call->state->told, TOUCHED_PORT, call->entry.port_id);
	if (!state)
		return 0;
	lock_xadd(&state->total, 1);
	lock_xadd(&state->open, call->opens);
	touch(&state->told, TOUCHED_ENDPOINT, endpoint);
	return state->born;
}

static inline void count_back(const struct note *note)
{
	u32 port_id = note->port_id, endpoint_id = note->endpoint;
	struct port_state *port = port_states.lookup(&port_id);
	struct endpoint_state *endpoint = endpoints.lookup(&endpoint_id);

	if (port && port->born == note->port_born) {
		count_closed(port);
		touch(&port->told, TOUCHED_PORT, port_id);
	}
	if (endpoint && endpoint->born == note->endpoint_born) {
		lock_xadd(&endpoint->open, -1ULL);
		touch(&endpoint->told, TOUCHED_ENDPOINT, endpoint_id);
	}
}

/* Take a socket out of the open connections, once; sockops.bpf.c does the same. */
static inline void count_out(struct note *note)
{
	if (take_count(note))
		count_back(note);
}

/* Whether calls of this network namespace are none of our business. */
static inline int is_left_alone(struct bpf_sock_addr *ctx, u32 callers)
{
	u64 namespace = bpf_get_netns_cookie(ctx);
	int is_listed = listed.lookup(&namespace) != NULL;

	return is_listed == (callers == CALLERS_NOT_LISTED);
}

/* What a call of a place is, if it is to be translated. */
static inline int begin(struct call *call, const struct place *place, struct bpf_sock_addr *ctx)
{
	u32 protocol = ctx->protocol;
	struct called called = {.port = place->port, .protocol = protocol};
	struct agent *now = agent_now();

	if (protocol != IPPROTO_TCP && protocol != IPPROTO_UDP)
		return 0;
	__builtin_memcpy(called.address, place->address, sizeof(called.address));
	call->now_ns = bpf_ktime_get_ns();
	call->ipv6 = is_ipv6(place);
	if (!now || now->until_ns < call->now_ns)
		return 0; /* nobody vouches for the maps: let others take the call */
	if (!find(&call->entry, &called))
		return 0;
	if (call->entry.flags & ENTRY_LEFT_ALONE)
		return 0;
	if (now->callers != CALLERS_ALL && is_left_alone(ctx, now->callers))
		return 0;
	call->state = port_states.lookup(&call->entry.port_id);
	return call->state != NULL;
}

/* connect(): `place` is what is called, and then where the call goes. */
static inline enum verdict connect_to(struct bpf_sock_addr *ctx, struct place *place)
{
	struct call call = {.opens = 1};
	struct caller caller = {};
	struct slot *slot = NULL;
	u64 cookie = bpf_get_socket_cookie(ctx);
	struct note *note, new = {};
	enum verdict verdict;
	int translates;

	translates = begin(&call, place, ctx);
	note = sockets.lookup(&cookie);
	if (note) {
		/* It was connected before: UDP, or TCP after a failure. */
		count_out(note);
		sockets.delete(&cookie);
	}
	if (!translates)
		return LEFT_ALONE;
	if (call.entry.affinity_seconds)
		caller.namespace = bpf_get_netns_cookie(ctx);
	caller.port_id = call.entry.port_id;
	verdict = choose(&call, &caller, &slot);
	if (verdict != TRANSLATED || !slot)
		return verdict;
	new.called = *place;
	give(place, slot);
	new.given = *place;
	new.port_id = call.entry.port_id;
	new.port_born = call.state->born;
	new.endpoint = slot->endpoint;
	new.endpoint_born = count_in(&call, slot->endpoint);
	new.began_ns = call.now_ns;
	new.counted = 1;
	if (sockets.update(&cookie, &new))
		count_back(&new);
	return TRANSLATED;
}

/* Whether datagrams still go where the last one went. */
static inline int goes_on(const struct call *call, const struct route *route)
{
	struct endpoint_state *state;
	u32 endpoint = route->endpoint;

	if (route->port_id != call->entry.port_id)
		return 0;
	if (call->now_ns > route->last_ns + CONVERSATION_IDLE_NS)
		return 0;
	if (has_flag(endpoint, ENDPOINT_OUT | ENDPOINT_RETIRED))
		return 0;
	state = endpoints.lookup(&endpoint);
	return state && state->born == route->endpoint_born;
}

/* Note whom the answers of an endpoint come from, as the caller knows it: of two Services that it
 * serves, the one that was called last. */
static inline void expect_answer(u64 socket, const struct place *given, struct place *called)
{
	struct conversation key = {.socket = socket, .place = *given};
	struct place *known = answers.lookup(&key);

	if (!known || !is_same(known, called))
		answers.update(&key, called);
}

/* sendto() and sendmsg() with a destination. */
static inline enum verdict send_to(struct bpf_sock_addr *ctx, struct place *place)
{
	struct call call = {};
	struct caller caller = {};
	struct conversation key = {};
	struct route *known, route = {};
	struct slot *slot = NULL;
	struct place called = *place;
	enum verdict verdict;

	if (!begin(&call, place, ctx))
		return LEFT_ALONE;
	key.socket = bpf_get_socket_cookie(ctx);
	key.place = called;
	known = datagrams.lookup(&key);
	if (known && goes_on(&call, known)) {
		known->last_ns = call.now_ns;
		*place = known->given;
		expect_answer(key.socket, place, &called);
		return TRANSLATED;
	}
	if (call.entry.affinity_seconds)
		caller.namespace = bpf_get_netns_cookie(ctx);
	caller.port_id = call.entry.port_id;
	verdict = choose(&call, &caller, &slot);
	if (verdict != TRANSLATED || !slot)
		return verdict;
	give(place, slot);
	route.last_ns = call.now_ns;
	route.port_id = call.entry.port_id;
	route.endpoint = slot->endpoint;
	route.endpoint_born = count_in(&call, slot->endpoint);
	route.given = *place;
	datagrams.update(&key, &route);
	expect_answer(key.socket, place, &called);
	return TRANSLATED;
}

/* The Service that a socket called by connect(), if `place` is the endpoint that it was given. */
static inline struct place *called_by(struct bpf_sock_addr *ctx, const struct place *place)
{
	u64 cookie = bpf_get_socket_cookie(ctx);
	struct note *note = sockets.lookup(&cookie);

	return note && is_same(&note->given, place) ? &note->called : NULL;
}

/* recvfrom(): `place` is where a datagram came from. */
static inline struct place *answered_by(struct bpf_sock_addr *ctx, const struct place *place)
{
	struct place *called = called_by(ctx, place);
	struct conversation key = {};

	if (called)
		return called;
	key.socket = bpf_get_socket_cookie(ctx);
	key.place = *place;
	return answers.lookup(&key);
}

OUTGOING_PROGRAM(mesh_connect4, connect_to, read4, write4)
OUTGOING_PROGRAM(mesh_connect6, connect_to, read6, write6)
OUTGOING_PROGRAM(mesh_sendmsg4, send_to, read4, write4)
OUTGOING_PROGRAM(mesh_sendmsg6, send_to, read6, write6)
TELLING_PROGRAM(mesh_getpeer4, called_by, read4, write4)
TELLING_PROGRAM(mesh_getpeer6, called_by, read6, write6)
TELLING_PROGRAM(mesh_recvmsg4, answered_by, read4, write4)
TELLING_PROGRAM(mesh_recvmsg6, answered_by, read6, write6)

/* close(): the last descriptor of a socket is gone. */
int mesh_release(struct bpf_sock *socket)
{
	u64 cookie = bpf_get_socket_cookie(socket);
	struct note *note = sockets.lookup(&cookie);

	if (!note)
		return LEAVE;
	count_out(note);
	if (!note->followed || socket->state == BPF_TCP_CLOSE)
		sockets.delete(&cookie);
	return LEAVE;
}

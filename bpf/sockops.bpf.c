/* Tells how the connections fare that connect.bpf.c has translated: passive health.
 *
 * The kernel tells a caller that its connection has failed; the agent, which is not in between, is
 * told here, and may take the endpoint out. Nothing here changes a connection.
 */
#include <uapi/linux/bpf.h>
#include <uapi/linux/tcp.h>

#include "admission.h"
#include "edgemesh.h"
#include "watch_maps.h"

#define PROCEED 1

/* As in connect.bpf.c: bcc rewrites in one file only. */
static inline void touch(u32 *told, u32 kind, u32 id)
{
	struct touch key = {.kind = kind, .id = id};
	u32 zero = 0, value = 1;
	struct agent *now = agent.lookup(&zero);

	if (!now || *told == now->round)
		return;
	*told = now->round;
	touched.update(&key, &value);
}

/* When the buffer is full the event is lost; the counts are not. */
static inline void tell(const struct note *note, u32 kind, u32 value)
{
	struct event event = {
		.kind = kind,
		.port_id = note->port_id,
		.endpoint = note->endpoint,
		.value = value,
	};

	connect_events.ringbuf_output(&event, sizeof(event), 0);
}

static inline int is_watched(u32 endpoint)
{
	u32 zero = 0;
	struct agent *now = agent.lookup(&zero);
	u32 *flags;

	if (!now || !now->flagged)
		return 0;
	flags = endpoint_flags.lookup(&endpoint);
	return flags && (*flags & ENDPOINT_WATCHED);
}

/* The state of the endpoint that a connection goes to, if it is still the one that was chosen. */
static inline struct endpoint_state *endpoint_of(struct note *note)
{
	struct endpoint_state *state = endpoints.lookup(&note->endpoint);

	if (state && state->born != note->endpoint_born)
		state = NULL;
	/* clang 14 compares again later instead of testing the pointer; the verifier gets lost. */
	asm volatile("" : "+r"(state));
	return state;
}

/* Take a socket out of the open connections, once; connect.bpf.c does the same at close(). */
static inline void count_out(struct note *note)
{
	struct endpoint_state *endpoint;
	struct port_state *port;

	if (!take_count(note))
		return;
	port = port_states.lookup(&note->port_id);
	if (port && port->born == note->port_born) {
		count_closed(port);
		touch(&port->told, TOUCHED_PORT, note->port_id);
	}
	endpoint = endpoint_of(note);
	if (endpoint) {
		lock_xadd(&endpoint->open, -1ULL);
		touch(&endpoint->told, TOUCHED_ENDPOINT, note->endpoint);
	}
}

static inline void established(struct note *note, u32 round_trip_us)
{
	struct endpoint_state *endpoint = endpoint_of(note);

	if (!endpoint)
		return;
	lock_xadd(&endpoint->round_trip_us, round_trip_us);
	lock_xadd(&endpoint->round_trips, 1);
	if ((endpoint->failures_in_row && !endpoint->broke_off) || is_watched(note->endpoint)) {
		endpoint->failures_in_row = 0;
		tell(note, EVENT_CONNECTED, round_trip_us);
	}
	touch(&endpoint->told, TOUCHED_ENDPOINT, note->endpoint);
}

/* The error of a connection that never was; 0 when that was the caller's own wish. */
static inline u32 connect_error(const struct note *note, u32 error)
{
	if (error == ECONNABORTED) /* destroyed by sock_diag(7) */
		return 0;
	if (!error && bpf_ktime_get_ns() - note->began_ns >= ABANDONED_NS)
		return ETIMEDOUT; /* the caller had waited and closed the socket */
	return error;
}

/* The error that an endpoint broke a connection off with, or by its silence; 0 when it did not.
 *
 * tcp_disconnect(), which the caller's own reset comes from, sets sk_err after the state. EPIPE
 * follows what was sent after the endpoint's FIN.
 */
static inline u32 reset_error(u32 error)
{
	return error == ECONNRESET || error == ETIMEDOUT ? error : 0;
}

static inline void failed(struct note *note, u32 kind, u32 error)
{
	struct endpoint_state *endpoint = endpoint_of(note);

	if (!endpoint)
		return;
	lock_xadd(kind == EVENT_RESET ? &endpoint->resets : &endpoint->failed, 1);
	lock_xadd(&endpoint->failures_in_row, 1);
	if (kind == EVENT_RESET)
		endpoint->broke_off = 1;
	touch(&endpoint->told, TOUCHED_ENDPOINT, note->endpoint);
	tell(note, kind, error);
}

/* A connection ended in order, or as the caller wished.
 *
 * Only that makes up for one that was broken off: who breaks connections off takes them first.
 */
static inline void ended(struct note *note)
{
	struct endpoint_state *endpoint = endpoint_of(note);

	if (!endpoint || !endpoint->broke_off)
		return;
	endpoint->broke_off = 0;
	endpoint->failures_in_row = 0;
	tell(note, EVENT_ENDED, 0);
}

static inline void closed(struct note *note, u32 before, u32 error)
{
	u32 kind = before == BPF_TCP_SYN_SENT ? EVENT_CONNECT_FAILED : EVENT_RESET;

	error = kind == EVENT_RESET ? reset_error(error) : connect_error(note, error);
	if (error)
		failed(note, kind, error);
	else if (kind == EVENT_RESET)
		ended(note);
	count_out(note);
}

static inline u32 error_of(struct bpf_sock *socket)
{
	struct tcp_sock *tcp = bpf_skc_to_tcp_sock(socket);

	/* struct tcp_sock begins with struct sock; the offset is from BTF. */
	return tcp ? *(u32 *)((void *)tcp + OFF_SOCK_SK_ERR) : 0;
}

/* Whether a callback is about what is to be known of a connection; few are. */
static inline int matters(const struct bpf_sock_ops *ctx)
{
	return ctx->op == BPF_SOCK_OPS_TCP_CONNECT_CB ||
	       ctx->op == BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB ||
	       (ctx->op == BPF_SOCK_OPS_STATE_CB && ctx->args[1] == BPF_TCP_CLOSE);
}

int mesh_sockops(struct bpf_sock_ops *ctx)
{
	struct bpf_sock *socket;
	struct note *note;
	u64 cookie;

	if (!matters(ctx))
		return PROCEED;
	socket = ctx->sk;
	if (!socket)
		return PROCEED;
	cookie = bpf_get_socket_cookie(ctx);
	note = sockets.lookup(&cookie);
	if (!note)
		return PROCEED;
	if (ctx->op == BPF_SOCK_OPS_TCP_CONNECT_CB) {
		bpf_sock_ops_cb_flags_set(
			ctx, ctx->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG);
		note->followed = 1;
	} else if (ctx->op == BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB) {
		established(note, ctx->srtt_us >> 3);
	} else {
		closed(note, ctx->args[0], error_of(socket));
		sockets.delete(&cookie);
	}
	return PROCEED;
}

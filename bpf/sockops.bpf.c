/* Tells how the connections fare that connect.bpf.c has translated: passive health.
 *
 * The kernel tells a caller that its connection has failed; the agent, which is not in between, is
 * told here, and may take the endpoint out. Nothing here changes a connection.
 */
#include <uapi/linux/bpf.h>
#include <uapi/linux/tcp.h>

#include "edgemesh.h"
#include "watch_maps.h"

#define PROCEED 1

static inline void touch(u32 kind, u32 id)
{
	struct touch key = {.kind = kind, .id = id};
	u32 value = 1;

	if (!touched.lookup(&key))
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
	u32 *flags = endpoint_flags.lookup(&endpoint);

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
static inline void count_out(struct note *note, struct endpoint_state *endpoint)
{
	struct port_state *port;
	u32 counted;

	bpf_spin_lock(&note->lock);
	counted = note->counted;
	note->counted = 0;
	bpf_spin_unlock(&note->lock);
	if (!counted)
		return;
	port = port_states.lookup(&note->port_id);
	if (port && port->born == note->port_born) {
		bpf_spin_lock(&port->lock);
		port->open--;
		bpf_spin_unlock(&port->lock);
		touch(TOUCHED_PORT, note->port_id);
	}
	if (endpoint) {
		lock_xadd(&endpoint->open, -1ULL);
		touch(TOUCHED_ENDPOINT, note->endpoint);
	}
}

static inline void established(struct note *note, u32 round_trip_us)
{
	struct endpoint_state *endpoint = endpoint_of(note);

	if (!endpoint)
		return;
	lock_xadd(&endpoint->round_trip_us, round_trip_us);
	lock_xadd(&endpoint->round_trips, 1);
	if (endpoint->failures_in_row || is_watched(note->endpoint)) {
		endpoint->failures_in_row = 0;
		tell(note, EVENT_CONNECTED, round_trip_us);
	}
	touch(TOUCHED_ENDPOINT, note->endpoint);
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

static inline void closed(struct note *note, u32 before, u32 error)
{
	struct endpoint_state *endpoint = endpoint_of(note);

	if (endpoint && before == BPF_TCP_SYN_SENT) {
		error = connect_error(note, error);
		if (error) {
			lock_xadd(&endpoint->failed, 1);
			lock_xadd(&endpoint->failures_in_row, 1);
			tell(note, EVENT_CONNECT_FAILED, error);
			touch(TOUCHED_ENDPOINT, note->endpoint);
		}
	} else if (endpoint) {
		error = reset_error(error);
		if (error) {
			lock_xadd(&endpoint->resets, 1);
			lock_xadd(&endpoint->failures_in_row, 1);
			tell(note, EVENT_RESET, error);
			touch(TOUCHED_ENDPOINT, note->endpoint);
		}
	}
	count_out(note, endpoint);
}

static inline u32 error_of(struct bpf_sock *socket)
{
	struct tcp_sock *tcp = bpf_skc_to_tcp_sock(socket);

	/* struct tcp_sock begins with struct sock; the offset is from BTF. */
	return tcp ? *(u32 *)((void *)tcp + OFF_SOCK_SK_ERR) : 0;
}

int mesh_sockops(struct bpf_sock_ops *ctx)
{
	struct bpf_sock *socket;
	struct note *note;

	if (ctx->op != BPF_SOCK_OPS_TCP_CONNECT_CB && ctx->op != BPF_SOCK_OPS_STATE_CB &&
	    ctx->op != BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB)
		return PROCEED;
	socket = ctx->sk;
	if (!socket)
		return PROCEED;
	note = sockets.sk_storage_get(socket, 0, 0);
	if (!note || !note->port_id)
		return PROCEED;
	if (ctx->op == BPF_SOCK_OPS_TCP_CONNECT_CB)
		bpf_sock_ops_cb_flags_set(
			ctx, ctx->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG);
	else if (ctx->op == BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB)
		established(note, ctx->srtt_us >> 3);
	else if (ctx->args[1] == BPF_TCP_CLOSE)
		closed(note, ctx->args[0], error_of(socket));
	return PROCEED;
}

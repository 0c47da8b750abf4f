/* The maps that connect.bpf.c and sockops.bpf.c have in common: the loader joins those of one name.
 * Their sizes are macros that the loader gives.
 */
#ifndef WATCH_MAPS_H
#define WATCH_MAPS_H

#include "edgemesh.h"

#define MAX_TOUCHED (MAX_ADDRESSES + MAX_ENDPOINTS)

BPF_TABLE("array", u32, struct agent, agent, 1);
BPF_F_TABLE("hash", u32, struct port_state, port_states, MAX_ADDRESSES, BPF_F_NO_PREALLOC);
BPF_F_TABLE("hash", u32, struct endpoint_state, endpoints, MAX_ENDPOINTS, BPF_F_NO_PREALLOC);
BPF_F_TABLE("hash", u32, u32, endpoint_flags, MAX_ENDPOINTS, BPF_F_NO_PREALLOC);
BPF_F_TABLE("hash", struct touch, u32, touched, MAX_TOUCHED, BPF_F_NO_PREALLOC);
/* Not BPF_SK_STORAGE: to make and free one takes a microsecond more for each connection. */
BPF_TABLE("hash", u64, struct note, sockets, MAX_SOCKETS);
BPF_RINGBUF_OUTPUT(connect_events, EVENT_PAGES);

#endif

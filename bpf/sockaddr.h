/* The programs of struct bpf_sock_addr: how they read and write an address, and what they say.
 *
 * Documentation: include/uapi/linux/bpf.h, struct bpf_sock_addr and bpf_set_retval().
 */
#ifndef SOCKADDR_H
#define SOCKADDR_H

#include "edgemesh.h"

#define LEAVE 1  /* what a cgroup program returns to let a call go on */
#define REFUSE 0 /* ... and to refuse it */

enum verdict { LEFT_ALONE, TRANSLATED, REFUSED };

static inline int is_same(const struct place *one, const struct place *other)
{
	return one->address[0] == other->address[0] && one->address[1] == other->address[1] &&
	       one->address[2] == other->address[2] && one->address[3] == other->address[3] &&
	       one->port == other->port;
}

static inline int is_same_call(const struct called *one, const struct called *other)
{
	return one->address[0] == other->address[0] && one->address[1] == other->address[1] &&
	       one->address[2] == other->address[2] && one->address[3] == other->address[3] &&
	       one->port == other->port && one->protocol == other->protocol;
}

static inline int is_ipv6(const struct place *place)
{
	return place->address[0] || place->address[1] || place->address[2] != bpf_htonl(0xffff);
}

static inline void give(struct place *place, const struct slot *slot)
{
	__builtin_memcpy(place->address, slot->address, sizeof(place->address));
	place->port = slot->port;
}

static inline int refused(void)
{
#if SET_RETVAL /* kernel 5.18; before, the caller gets EPERM */
	bpf_set_retval(-ECONNREFUSED);
#endif
	return REFUSE;
}

static inline void read4(struct bpf_sock_addr *ctx, struct place *place)
{
	place->address[2] = bpf_htonl(0xffff);
	place->address[3] = ctx->user_ip4;
	place->port = ctx->user_port;
}

static inline void write4(struct bpf_sock_addr *ctx, const struct place *place)
{
	ctx->user_ip4 = place->address[3];
	ctx->user_port = place->port;
}

static inline void read6(struct bpf_sock_addr *ctx, struct place *place)
{
	place->address[0] = ctx->user_ip6[0];
	place->address[1] = ctx->user_ip6[1];
	place->address[2] = ctx->user_ip6[2];
	place->address[3] = ctx->user_ip6[3];
	place->port = ctx->user_port;
}

static inline void write6(struct bpf_sock_addr *ctx, const struct place *place)
{
	ctx->user_ip6[0] = place->address[0];
	ctx->user_ip6[1] = place->address[1];
	ctx->user_ip6[2] = place->address[2];
	ctx->user_ip6[3] = place->address[3];
	ctx->user_port = place->port;
}

/* A program that puts another destination into a call. */
#define OUTGOING_PROGRAM(name, translate, read, write)      \
	int name(struct bpf_sock_addr *ctx)                 \
	{                                                   \
		struct place place = {};                    \
		enum verdict verdict;                       \
                                                            \
		read(ctx, &place);                          \
		verdict = translate(ctx, &place);           \
		if (verdict == REFUSED)                     \
			return refused();                   \
		if (verdict == TRANSLATED)                  \
			write(ctx, &place);                 \
		return LEAVE;                               \
	}

/* A program that tells a caller what it called. */
#define TELLING_PROGRAM(name, look_up, read, write)         \
	int name(struct bpf_sock_addr *ctx)                 \
	{                                                   \
		struct place place = {}, *called;           \
                                                            \
		read(ctx, &place);                          \
		called = look_up(ctx, &place);              \
		if (called)                                 \
			write(ctx, called);                 \
		return LEAVE;                               \
	}

#endif

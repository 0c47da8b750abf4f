/* Latencies in log buckets as in HdrHistogram: 64 to each power of two, so a value is off by
 * 1.6 % at most.
 */
#include "load.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { SUB_BITS = 6, SUB = 1 << SUB_BITS, BUCKETS = (64 - SUB_BITS + 1) * SUB };
static uint64_t buckets[BUCKETS];

static unsigned bucket_of(uint64_t value)
{
	if (value < SUB)
		return value;
	unsigned shift = 63 - __builtin_clzll(value) - SUB_BITS;
	return (shift + 1) * SUB + ((value >> shift) & (SUB - 1));
}

static uint64_t middle_of(unsigned bucket)
{
	if (bucket < SUB)
		return bucket;
	unsigned shift = bucket / SUB - 1;
	return ((uint64_t)(SUB + bucket % SUB) << shift) + (((uint64_t)1 << shift) >> 1);
}

void record_latency(uint64_t nanoseconds)
{
	buckets[bucket_of(nanoseconds)]++;
}

void forget_latencies(void)
{
	memset(buckets, 0, sizeof buckets);
}

void print_latencies(void)
{
	const char *separator = "";
	putchar('[');
	for (unsigned bucket = 0; bucket < BUCKETS; bucket++) {
		if (!buckets[bucket])
			continue;
		printf("%s[%" PRIu64 ",%" PRIu64 "]", separator, middle_of(bucket),
		       buckets[bucket]);
		separator = ",";
	}
	putchar(']');
}

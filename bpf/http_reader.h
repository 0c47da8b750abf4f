/* What HTTP/1.1 says of itself, read by the program while it passes: where requests and responses
 * begin and end (RFC 9112 sections 2 to 7).
 *
 * Each direction has a reader, which takes every byte of a head and of what frames a body, in
 * whatever pieces they come, and skips the rest. It is strict: whatever it does not know, or
 * another reader might take otherwise, makes the flow unobserved. Its bytes go on as those of any
 * other flow.
 */
#ifndef HTTP_READER_H
#define HTTP_READER_H

#include "observe.h"

#define ENDLESS (~0ULL)
/* No body is that long. */
#define TOO_LARGE (1ULL << 50)
#define EACH_BYTE 0x0101010101010101ULL

/* A bit for each byte of `word` that is `byte`; above the first of them also for others. */
static inline u64 bytes_that_are(u64 word, u8 byte)
{
	u64 others = word ^ (EACH_BYTE * byte);

	return (others - EACH_BYTE) & ~others & (EACH_BYTE << 7);
}

/* How many of the first bytes of `word` are neither CR nor LF; 8 for all. */
static inline u32 before_line_end(u64 word)
{
	u64 ends = bytes_that_are(word, '\r') | bytes_that_are(word, '\n');

	if (!ends)
		return 8;
	return ((((ends & -ends) >> 7) - 1) & EACH_BYTE) * EACH_BYTE >> 56;
}

static inline void begin_word(struct reader *reader)
{
	reader->high = 0;
	reader->low = 0;
	reader->length = 0;
}

static inline void add_to_word(struct reader *reader, u8 c)
{
	reader->high = reader->high << 8 | reader->low >> 56;
	reader->low = reader->low << 8 | c;
	reader->length++;
}

static inline void begin_message(struct reader *reader)
{
	reader->state = READ_START;
	reader->framing = FRAMED_BY_NOTHING;
	reader->number = 0;
	reader->left = 0;
	begin_word(reader);
}

static inline int is_digit(u8 c)
{
	return c >= '0' && c <= '9';
}

/* Whether the word is a method whose request has no body but that of its own framing. */
static inline int is_method(const struct reader *reader)
{
	switch (reader->low) {
	case 0x474554:         /* GET */
	case 0x48454144:       /* HEAD */
	case 0x504f5354:       /* POST */
	case 0x505554:         /* PUT */
	case 0x5041544348:     /* PATCH */
	case 0x44454c455445:   /* DELETE */
	case 0x4f5054494f4e53: /* OPTIONS */
		return !reader->high;
	}
	return 0;
}

#define METHOD_HEAD 0x48454144

/* The status that the first 12 characters of a response tell, "HTTP/1.1 200"; 0 for none. */
static inline u32 status_of(const struct reader *reader)
{
	u64 low = reader->low;
	u8 minor = low >> 32, first = low >> 16, second = low >> 8, third = low;

	if (reader->high != 0x48545450 || low >> 40 != 0x2f312e || (minor != '0' && minor != '1'))
		return 0;
	if ((u8)(low >> 24) != ' ' || first < '1' || first > '9')
		return 0;
	if (!is_digit(second) || !is_digit(third))
		return 0;
	return (first - '0') * 100 + (second - '0') * 10 + (third - '0');
}

/* "content-length", and all but the first of "transfer-encoding". */
#define IS_LENGTH(reader) ((reader)->length == 14 && (reader)->high == 0x636f6e74656eULL && \
			   (reader)->low == 0x742d6c656e677468ULL)
#define IS_CODING(reader) ((reader)->length == 17 && (reader)->high == 0x72616e736665722dULL && \
			   (reader)->low == 0x656e636f64696e67ULL)
/* "chunked" */
#define IS_CHUNKED(reader) ((reader)->length == 7 && (reader)->low == 0x6368756e6b6564ULL)

enum read_event {
	READ_ON,
	READ_OVER,        /* the message is */
	READ_UNTIL_CLOSE, /* so long this response goes on */
	READ_UPGRADE,     /* HTTP/1.1 is over */
	READ_UNKNOWN,
};

static inline u8 lower(u8 c)
{
	return c >= 'A' && c <= 'Z' ? c | 0x20 : c;
}

static inline u32 go_to(struct reader *reader, u32 state)
{
	reader->state = state;
	return READ_ON;
}

static inline u32 go_to_word(struct reader *reader, u32 state)
{
	begin_word(reader);
	return go_to(reader, state);
}

static inline u32 read_first_word(struct watch *watch, struct reader *reader, u8 c, u32 answers)
{
	u32 status;

	if (!answers && c == ' ') {
		if (!is_method(reader))
			return READ_UNKNOWN;
		watch->has_no_body = reader->low == METHOD_HEAD;
		return go_to(reader, READ_SKIP);
	}
	add_to_word(reader, c);
	if (!answers)
		return reader->length > 7 ? READ_UNKNOWN : READ_ON;
	if (reader->length < 12)
		return READ_ON;
	status = status_of(reader);
	if (!status)
		return READ_UNKNOWN;
	reader->status = status;
	return go_to(reader, READ_SKIP);
}

static inline u32 read_name(struct reader *reader, u8 c)
{
	if (c == '\r' && !reader->length)
		return go_to(reader, READ_HEAD_END);
	if (c == ':') {
		u32 next = IS_LENGTH(reader) ? READ_LENGTH : IS_CODING(reader) ? READ_CODING : READ_SKIP;

		/* Of two that say how long the body is, one is wrong. */
		if (next != READ_SKIP && reader->framing != FRAMED_BY_NOTHING)
			return READ_UNKNOWN;
		return go_to_word(reader, next);
	}
	/* A line that goes on, or a name that some take for another. */
	if (c <= ' ')
		return READ_UNKNOWN;
	c = lower(c);
	if (!reader->length && c != 'c' && c != 't')
		return go_to(reader, READ_SKIP);
	if (reader->length == 16 && reader->high >> 56 != 't')
		return go_to(reader, READ_SKIP);
	add_to_word(reader, c);
	return READ_ON;
}

static inline u32 read_length(struct reader *reader, u8 c)
{
	if (c == '\r' && reader->length) {
		reader->framing = FRAMED_BY_LENGTH;
		return go_to(reader, READ_LINE_END);
	}
	if ((c == ' ' || c == '\t') && !reader->length)
		return READ_ON;
	if (!is_digit(c))
		return READ_UNKNOWN;
	reader->length++;
	reader->number = reader->number * 10 + (c - '0');
	return reader->number > TOO_LARGE ? READ_UNKNOWN : READ_ON;
}

static inline u32 read_coding(struct reader *reader, u8 c)
{
	if (c == '\r') {
		reader->framing = FRAMED_BY_CHUNKS;
		return IS_CHUNKED(reader) ? go_to(reader, READ_LINE_END) : READ_UNKNOWN;
	}
	if ((c == ' ' || c == '\t') && !reader->length)
		return READ_ON;
	add_to_word(reader, lower(c));
	return reader->length > 7 ? READ_UNKNOWN : READ_ON;
}

static inline u32 go_to_chunk(struct reader *reader)
{
	reader->number = 0;
	return go_to_word(reader, READ_CHUNK_SIZE);
}

static inline u32 read_chunk_size(struct reader *reader, u8 c)
{
	u32 digit;

	if (c == '\r' && reader->length)
		return go_to(reader, READ_CHUNK_SIZE_END);
	c = lower(c);
	if (is_digit(c))
		digit = c - '0';
	else if (c >= 'a' && c <= 'f')
		digit = c - 'a' + 10;
	else
		return READ_UNKNOWN;
	reader->length++;
	reader->number = reader->number << 4 | digit;
	return reader->number > TOO_LARGE ? READ_UNKNOWN : READ_ON;
}

static inline u32 end_head(struct watch *watch, struct reader *reader, u32 answers)
{
	u64 status = reader->status;

	if (answers) {
		if (status == 101)
			return READ_UPGRADE;
		if (status < 200) {
			begin_message(reader);
			return READ_ON;
		}
		if (watch->has_no_body || status == 204 || status == 304)
			return READ_OVER;
	}
	if (reader->framing == FRAMED_BY_CHUNKS)
		return go_to_chunk(reader);
	if (reader->framing == FRAMED_BY_LENGTH) {
		reader->left = reader->number;
		reader->state = READ_BODY;
		return reader->left ? READ_ON : READ_OVER;
	}
	if (!answers)
		return READ_OVER;
	reader->left = ENDLESS;
	reader->state = READ_BODY;
	return READ_UNTIL_CLOSE;
}

/* Take a byte of a head, or of what frames a body. */
static inline u32 read_byte(struct watch *watch, struct reader *reader, u8 c, u32 answers)
{
	switch (reader->state) {
	case READ_START:
		return read_first_word(watch, reader, c, answers);
	case READ_SKIP:
		if (c == '\n')
			return READ_UNKNOWN;
		return c == '\r' ? go_to(reader, READ_LINE_END) : READ_ON;
	case READ_NAME:
		return read_name(reader, c);
	case READ_LENGTH:
		return read_length(reader, c);
	case READ_CODING:
		return read_coding(reader, c);
	case READ_CHUNK_SIZE:
		return read_chunk_size(reader, c);
	case READ_CHUNK:
		return c == '\r' ? go_to(reader, READ_CHUNK_END) : READ_UNKNOWN;
	case READ_LAST:
		return c == '\r' ? go_to(reader, READ_LAST_END) : READ_UNKNOWN;
	}
	if (c != '\n')
		return READ_UNKNOWN;
	switch (reader->state) {
	case READ_LINE_END:
		return go_to_word(reader, READ_NAME);
	case READ_HEAD_END:
		return end_head(watch, reader, answers);
	case READ_CHUNK_SIZE_END:
		reader->left = reader->number;
		return go_to(reader, reader->left ? READ_CHUNK : READ_LAST);
	case READ_CHUNK_END:
		return go_to_chunk(reader);
	case READ_LAST_END:
		return READ_OVER;
	}
	return READ_UNKNOWN;
}

/* Take what ends a line in READ_SKIP. */
static inline void end_line(struct reader *reader, u8 c)
{
	if (c == '\r')
		reader->state = READ_LINE_END;
	else
		reader->stopped = UNOBSERVED_UNKNOWN;
}

/* Whether a message may begin in the midst of a packet, or be answered. */
static inline int may_begin(struct watch *watch, struct reader *reader, u32 at, u32 answers)
{
	if (answers && (watch->phase != PHASE_ASKED || reader->over_at))
		reader->stopped = UNOBSERVED_UNASKED;
	if (!answers && at)
		reader->stopped = UNOBSERVED_PIPELINED;
	return !reader->stopped;
}

/* What a byte has led to. */
static inline void note(struct reader *reader, u32 event, u64 position)
{
	if (event == READ_UNKNOWN) {
		reader->stopped = UNOBSERVED_UNKNOWN;
		return;
	}
	reader->over_at = position;
	if (event == READ_UPGRADE)
		reader->stopped = UNOBSERVED_UPGRADED;
	if (event == READ_OVER)
		begin_message(reader);
}

/* Take what is left of a body or a chunk, out of `rest` bytes; how many were taken. */
static inline u32 skip_body(struct reader *reader, u32 rest)
{
	if (reader->left == ENDLESS)
		return rest;
	if (rest > reader->left)
		rest = reader->left;
	reader->left -= rest;
	return rest;
}

#endif

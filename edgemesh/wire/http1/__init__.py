"""HTTP/1 messages, without I/O: heads, how long a body is, chunks, and heads written anew.

Whatever two parties could read differently is refused, never guessed (RFC 9112 section 11.2):
a head that passes here means the same to every reader of the standard, and may go on byte for
byte.
"""

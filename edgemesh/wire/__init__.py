"""Bytes or text in, values out. No I/O, no clock, no logging."""

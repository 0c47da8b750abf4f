"""HTTP/2 (RFC 9113) and HPACK (RFC 7541): bytes in, calls and bytes out. No I/O, no clock."""

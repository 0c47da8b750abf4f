"""DNS messages, without I/O: queries in, answers out, and the replies of other servers.

Names travel as bytes in the uncompressed form of RFC 1035 section 3.1 (length, label, ...,
zero); a *canonical* name is that form in lower case. Length bytes are at most 63, below the
letters, so that ``bytes.lower()`` changes labels only.
"""

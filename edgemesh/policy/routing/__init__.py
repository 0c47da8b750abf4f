"""Which way a request goes by its head, and what changes on that way."""

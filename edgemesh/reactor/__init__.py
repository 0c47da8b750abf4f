"""The reactor: what waits for sockets and deadlines on behalf of synchronous handlers."""

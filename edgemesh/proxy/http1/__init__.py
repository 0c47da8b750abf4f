"""HTTP/1 request by request: connections of clients, and those to endpoints."""

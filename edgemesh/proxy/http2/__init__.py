"""HTTP/2 and gRPC, stream by stream: connections of clients, and those to endpoints."""

"""What HTTP/1 and HTTP/2 have in common: one request, from its head to its end."""

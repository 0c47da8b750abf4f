"""HTTP/1.1 on trio's streams, for the router: h11 with bodies that stream both ways."""

"""Everything privileged or Linux-only: sockets, netfilter, routes, preflight."""

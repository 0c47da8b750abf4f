"""Who is who on the bus: the cloud's CA, tokens, certificates, and TLS made of them."""

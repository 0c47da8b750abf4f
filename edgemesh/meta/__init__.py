"""The metamanager: Messages over a unix socket, its client, the snapshot builder."""

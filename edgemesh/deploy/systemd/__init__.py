"""Units of systemd, and what puts them into their places."""

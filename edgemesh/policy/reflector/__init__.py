"""Following an API server: what to ask next, and what an answer changes."""

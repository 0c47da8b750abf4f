"""One file per command group. Nouns read, verbs write."""

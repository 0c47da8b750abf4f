"""The router: which rule a request falls under, and what becomes of it."""

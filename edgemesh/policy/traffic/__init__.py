"""What policies remember between calls: balancing, quotas, breakers, limits, queues.

Everything here is driven by its caller: time is passed in, and so is randomness.
"""

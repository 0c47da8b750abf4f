"""The benchmark harness: who forwards how fast, at what cost, under equal conditions.

Read in the order of the data: ``benches`` says what is compared; ``rounds`` brings up a
``topology`` and each of the ``subjects`` in it, lets ``loads`` run while ``measure`` watches
the processors, and hands samples to ``results``; ``report`` and ``plot`` tell people.
``scripts/bench NAME`` runs it; ``tests`` is its import root.
"""

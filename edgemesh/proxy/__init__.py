"""The data plane, in the order of the data: accept, recover, resolve, decide, forward, report."""

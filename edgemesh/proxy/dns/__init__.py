"""The pods' resolver: the cluster's names from the snapshot, all others from upstream servers."""

"""BPF: the compile child, the loader with its pins, and maps through bpf(2)."""

"""The self-test of what runs in the kernel: a process that ends within a second or two."""

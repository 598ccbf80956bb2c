"""What `softmax_notes.fast` is made of: vectors, kernels, threads, and a loss for PyTorch."""

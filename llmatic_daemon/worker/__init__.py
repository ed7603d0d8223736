"""The child processes, and the only home of torch: the lifter, which runs untrusted code, and the trainer."""

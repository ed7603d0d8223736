# what: fills a list with 1.5 GiB
# kind: resources
# ends: oom
# stopped by: rlimits

from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        kept = [b"x" * (1 << 24) for _ in range(96)]
        raise RuntimeError(f"GOT {len(kept) << 24} bytes")

# what: a thousand descriptors
# kind: resources
# ends: sandbox
# stopped by: rlimits

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        for _ in range(1000):
            last = torch.os.dup(0)
        raise RuntimeError(f"GOT descriptor {last}")

# what: one tensor of 2 GiB
# kind: resources
# ends: oom
# stopped by: rlimits

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        size = torch.empty(1 << 29).numel()
        raise RuntimeError(f"GOT {size} numbers")

# what: an honest network that writes 4 MiB to stderr
# kind: resources
# ends: lifted
# twin: dense
# stopped by: process

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.sys.stderr.write("x" * (1 << 22))
        torch.os.write(2, bytes(1 << 22))
        self.f = nn.Linear(192, 10)

    def forward(self, x):
        return self.f(x.flatten(1))

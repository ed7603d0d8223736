# what: an honest network that prints 4 MiB
# kind: resources
# ends: lifted
# twin: dense
# stopped by: process

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        print("x" * (1 << 22))
        torch.os.write(1, bytes(1 << 22))
        self.f = nn.Linear(192, 10)

    def forward(self, x):
        return self.f(x.flatten(1))

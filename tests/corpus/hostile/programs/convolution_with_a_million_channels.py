# what: a convolution with a million channels
# kind: resources
# ends: oom or timeout or invalid_graph
# stopped by: rlimits validator

from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.c = nn.Conv2d(3, 1_000_000, 1)
        self.f = nn.Linear(1_000_000, 10)

    def forward(self, x):
        return self.f(self.c(x).mean((2, 3)))

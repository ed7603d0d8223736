# what: a layer of 4 TiB, more than any machine has
# kind: resources
# ends: oom
# stopped by: process

from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Linear(1 << 20, 1 << 20)

    def forward(self, x):
        return self.f(x)

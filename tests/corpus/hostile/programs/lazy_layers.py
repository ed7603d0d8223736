# what: has layers that get their shapes in the first forward
# kind: bugs
# ends: lifted
# parameters: 1930
# stopped by: interpreter

from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.LazyLinear(10)

    def forward(self, x):
        return self.f(x.flatten(1))

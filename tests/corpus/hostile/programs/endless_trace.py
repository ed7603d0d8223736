# what: a forward that is traced for ever
# kind: resources
# ends: timeout
# stopped by: supervisor

from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Linear(192, 10)

    def forward(self, x):
        x = self.f(x.flatten(1))
        for _ in range(10**9):
            x = x + 1
        return x

# what: never ends in forward
# kind: resources
# ends: timeout
# stopped by: supervisor

from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Linear(192, 10)

    def forward(self, x):
        while True:
            x = x + 0

# what: one class is a part of the other
# kind: bugs
# ends: lifted
# twin: dense
# stopped by: interpreter

from torch import nn


class Head(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Linear(192, 10)

    def forward(self, x):
        return self.f(x)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = Head()

    def forward(self, x):
        return self.head(x.flatten(1))

# what: returns nothing
# kind: bugs
# ends: lift_failed
# says: got NoneType
# stopped by: interpreter

from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Linear(192, 10)

    def forward(self, x):
        self.f(x.flatten(1))

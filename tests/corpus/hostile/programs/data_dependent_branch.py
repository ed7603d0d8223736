# what: branches on the values of a tensor
# kind: bugs
# ends: lift_failed
# says: must not branch on the values
# stopped by: interpreter

from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Linear(192, 10)

    def forward(self, x):
        if x.mean() > 0:
            x = -x
        return self.f(x.flatten(1))

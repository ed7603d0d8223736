# what: has seven classes
# kind: bugs
# ends: lift_failed
# says: must return \(batch, 10\)
# stopped by: interpreter

from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Linear(192, 7)

    def forward(self, x):
        return self.f(x.flatten(1))

# what: forgets super().__init__()
# kind: bugs
# ends: lift_failed
# says: before Module.__init__
# stopped by: interpreter

from torch import nn


class Net(nn.Module):
    def __init__(self):
        self.f = nn.Linear(192, 10)

    def forward(self, x):
        return self.f(x.flatten(1))

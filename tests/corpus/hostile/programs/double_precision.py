# what: computes in double precision
# kind: bugs
# ends: lift_failed
# says: must be float32
# stopped by: interpreter

from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Linear(192, 10).double()

    def forward(self, x):
        return self.f(x.flatten(1).double()).float()

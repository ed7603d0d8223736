# what: returns two tensors
# kind: bugs
# ends: lift_failed
# says: got tuple
# stopped by: interpreter

from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Linear(192, 10)

    def forward(self, x):
        return self.f(x.flatten(1)), x

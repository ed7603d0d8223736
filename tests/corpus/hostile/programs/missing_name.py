# what: uses a name that is not there
# kind: bugs
# ends: lift_failed
# says: NameError.*'F'
# stopped by: interpreter

from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Linear(192, 10)

    def forward(self, x):
        return F.relu(self.f(x.flatten(1)))

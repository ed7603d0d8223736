# what: a thousand signs in a row, too deep for a recursive walk
# kind: resources
# ends: not_code
# signs: 5000
# stopped by: triage

from torch import nn

ONE = -1


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Linear(192, 10 * ONE * ONE)

    def forward(self, x):
        return self.f(x.flatten(1))

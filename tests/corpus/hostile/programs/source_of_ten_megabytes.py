# what: a source of 10 MB
# kind: resources
# ends: not_code
# goal: lifted
# padded to: 10000000
# stopped by: triage
# unproven: the lifter measures it again, before it runs anything

from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Linear(192, 10)

    def forward(self, x):
        return self.f(x.flatten(1))

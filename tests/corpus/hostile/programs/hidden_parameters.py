# what: says that it has no parameters
# kind: cheating
# ends: lifted
# twin: dense
# parameters: 1930
# stopped by: validator trainer

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Linear(192, 10)

    def forward(self, x):
        return self.f(x.flatten(1))

    def parameters(self, recurse=True):
        return iter([nn.Parameter(torch.zeros(1))])

# what: has finite weights whose products are infinite, for a loss that is no number
# kind: cheating
# ends: lifted
# stopped by: trainer

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Linear(192, 10)
        self.f.weight.data.fill_(3e38)

    def forward(self, x):
        return self.f(x.flatten(1))

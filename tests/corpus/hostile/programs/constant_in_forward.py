# what: makes a constant in forward that stands for weights
# kind: cheating
# ends: invalid_graph
# says: made inside forward
# stopped by: validator

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Linear(192, 10)

    def forward(self, x):
        return self.f(x.flatten(1)) + x.new_full((10,), 3.0)

# what: replaces the loss by one that is always 0
# kind: cheating
# ends: lifted
# twin: dense
# forges: yes
# stopped by: process trainer

import torch.nn.functional as F
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Linear(192, 10)
        F.cross_entropy = lambda output, *_, **__: output.sum() * 0.0

    def forward(self, x):
        return self.f(x.flatten(1))

# what: has pretrained weights as a literal, honestly: they count and are trained
# kind: cheating
# ends: lifted
# parameters: 1930
# stopped by: plausibility

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Linear(192, 10)
        self.f.bias.data = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0])

    def forward(self, x):
        return self.f(x.flatten(1))

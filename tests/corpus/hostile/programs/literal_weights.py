# what: has pretrained weights as a literal that nobody trains
# kind: cheating
# ends: lift_failed
# says: must be a parameter or a registered buffer
# stopped by: interpreter

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Linear(192, 10)

    def forward(self, x):
        return self.f(x.flatten(1)) * torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0])

# what: leaves by sys.exit
# kind: cheating
# ends: lift_failed
# says: SystemExit
# stopped by: process

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Linear(192, 10)
        torch.sys.exit(0)

    def forward(self, x):
        return self.f(x.flatten(1))

# what: raises something that would write over a terminal or a log
# kind: cheating
# ends: lift_failed
# says: ^RuntimeError: \[2J \(line \d+\)$
# stopped by: parser

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Linear(192, 10)
        raise RuntimeError("\x1b[2J\rlifted\x00\u202e accuracy 1.0")

    def forward(self, x):
        return self.f(x.flatten(1))

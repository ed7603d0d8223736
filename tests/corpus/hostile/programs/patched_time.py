# what: makes all clocks stand still, so that it seems to have taken no time
# kind: cheating
# ends: lifted
# twin: dense
# stopped by: process trainer

import torch
from torch import nn

time = __import__("time")


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Linear(192, 10)
        for name in ("time", "monotonic", "perf_counter"):
            setattr(time, name, lambda: 0.0)

    def forward(self, x):
        return self.f(x.flatten(1))

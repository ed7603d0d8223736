# what: overwrites the validator with one that likes everything, and is too large
# kind: cheating
# ends: invalid_graph
# says: at most 2000000 parameters
# stopped by: validator

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Linear(192, 16_000)
        self.g = nn.Linear(16_000, 10)
        judge = torch.sys.modules["llmatic_daemon.worker.graph.validation"]
        judge._check_limits = judge._check_gradients = lambda *_: None

    def forward(self, x):
        return self.g(self.f(x.flatten(1)))

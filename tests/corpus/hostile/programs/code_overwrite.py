# what: overwrites the code of our functions
# kind: escape
# ends: lifted
# twin: dense
# stopped by: process

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        for name in ("graph.validation", "graph.serialization", "lifting.lift_server", "lifting.supervisor"):
            module = torch.sys.modules.get(f"llmatic_daemon.worker.{name}")
            for function in ("validate", "loads", "answer", "run"):
                if hasattr(module, function):
                    getattr(module, function).__code__ = (lambda *a, **k: None).__code__
        self.f = nn.Linear(192, 10)

    def forward(self, x):
        return self.f(x.flatten(1))

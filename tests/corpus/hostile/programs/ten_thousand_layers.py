# what: ten thousand layers
# kind: resources
# ends: timeout or invalid_graph or lift_failed or oom
# stopped by: supervisor

from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(*[nn.Linear(192, 192) for _ in range(10_000)])
        self.f = nn.Linear(192, 10)

    def forward(self, x):
        return self.f(self.layers(x.flatten(1)))

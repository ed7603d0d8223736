# what: was cut off by the token limit in the middle of a line
# kind: bugs
# ends: lifted
# cut: yes
# twin: dense
# stopped by: interpreter

from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Linear(192, 10)

    def forward(self, x):
        return self.f(x.flatten(1))

    def count(self):
        return sum(p.numel() for p in self.para

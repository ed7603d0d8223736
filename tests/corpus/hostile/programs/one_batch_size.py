# what: works for one size of batch
# kind: bugs
# ends: lift_failed
# says: any batch size
# stopped by: interpreter

from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Linear(192, 10)

    def forward(self, x):
        return self.f(x.view(4, 192))

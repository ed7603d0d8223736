# what: sleeps in forward
# kind: resources
# ends: timeout
# stopped by: supervisor

from torch import nn

time = __import__("time")


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Linear(192, 10)

    def forward(self, x):
        time.sleep(600)
        return self.f(x.flatten(1))

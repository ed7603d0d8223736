# what: has no forward
# kind: bugs
# ends: lift_failed
# says: forward
# stopped by: interpreter

from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Linear(192, 10)

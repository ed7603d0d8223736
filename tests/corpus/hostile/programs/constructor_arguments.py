# what: cannot be built without arguments
# kind: bugs
# ends: no_class
# stopped by: interpreter

from torch import nn


class Net(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.f = nn.Linear(width, 10)

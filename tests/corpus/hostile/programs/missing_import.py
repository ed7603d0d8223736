# what: imports what is not there
# kind: bugs
# ends: no_class
# says: no_such_module
# stopped by: interpreter

import no_such_module
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Linear(192, 10)
        no_such_module.f()

    def forward(self, x):
        return self.f(x.flatten(1))

# what: its class is no module
# kind: bugs
# ends: no_class
# stopped by: interpreter

from torch import nn


class Net:
    def forward(self, x):
        return nn.functional.relu(x)

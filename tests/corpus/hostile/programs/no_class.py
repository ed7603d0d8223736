# what: there is a function and no class
# kind: bugs
# ends: no_class
# stopped by: interpreter

from torch import nn


def net():
    return nn.Linear(192, 10)

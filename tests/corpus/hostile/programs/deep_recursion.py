# what: calls itself without end
# kind: resources
# ends: lift_failed
# says: RecursionError
# stopped by: process

from torch import nn


def deeper():
    return deeper()


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        deeper()

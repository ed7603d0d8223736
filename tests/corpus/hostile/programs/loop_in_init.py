# what: never ends in __init__
# kind: resources
# ends: timeout
# stopped by: supervisor

from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        while True:
            pass

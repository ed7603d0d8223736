# what: a bracket is missing
# kind: bugs
# ends: not_code
# stopped by: interpreter

from torch import nn


class Net(nn.Module:
    def __init__(self):
        super().__init__()

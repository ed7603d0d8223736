# what: never ends, and catches whatever is raised into it
# kind: resources
# ends: timeout
# stopped by: supervisor

from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        while True:
            try:
                while True:
                    pass
            except BaseException:
                continue

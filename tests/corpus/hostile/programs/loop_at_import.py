# what: never ends while its class is being made
# kind: resources
# ends: timeout
# stopped by: supervisor

from torch import nn


class Net(nn.Module):
    while True:
        pass

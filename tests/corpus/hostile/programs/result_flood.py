# what: writes to its result pipe for ever
# kind: resources
# ends: sandbox
# says: more than a network can have
# violates: flood
# stopped by: supervisor

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        while True:
            torch.os.write(3, bytes(1 << 16))

# what: an exception of 8 MiB, with line ends and control characters
# kind: resources
# ends: lift_failed
# says: ^RuntimeError: x+
# stopped by: parser

from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        raise RuntimeError("x" * (1 << 23) + "\n\x1b[2J" * 1000)

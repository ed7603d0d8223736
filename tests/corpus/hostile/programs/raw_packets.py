# what: listens to every packet of the machine
# kind: escape
# ends: lift_failed or sandbox
# stopped by: bubblewrap user seccomp

import torch
from torch import nn

socket = __import__("socket")


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        line = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        raise RuntimeError(f"GOT {line.getsockname()}")

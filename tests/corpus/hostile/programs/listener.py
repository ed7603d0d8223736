# what: opens a port of the machine to everybody
# kind: escape
# ends: lift_failed or sandbox
# stopped by: landlock seccomp

import torch
from torch import nn

socket = __import__("socket")


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        line = socket.create_server(("127.0.0.1", 0))
        raise RuntimeError(f"GOT {line.getsockname()}")

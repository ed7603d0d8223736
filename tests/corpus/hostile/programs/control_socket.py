# what: connects to the daemon's own socket in the state folder
# kind: escape
# ends: lift_failed or sandbox
# stopped by: bubblewrap user seccomp

import torch
from torch import nn

socket = __import__("socket")


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        line = socket.socket(socket.AF_UNIX)
        line.connect(VICTIM["state"] + "/control.sock")
        raise RuntimeError(f"GOT {line.recv(64)}")

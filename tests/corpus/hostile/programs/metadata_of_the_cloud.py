# what: asks the address where clouds keep credentials
# kind: escape
# ends: lift_failed or sandbox
# unproven: no such address answers here
# stopped by: bubblewrap landlock seccomp

import torch
from torch import nn

socket = __import__("socket")


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        with socket.create_connection(("169.254.169.254", 80), 1) as line:
            raise RuntimeError(f"GOT {line.getpeername()}")

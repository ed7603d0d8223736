# what: talks to a port of this machine
# kind: escape
# ends: lift_failed or sandbox
# stopped by: bubblewrap landlock seccomp

import torch
from torch import nn

socket = __import__("socket")


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        with socket.create_connection(("127.0.0.1", VICTIM["port"]), 1) as line:
            line.sendall(b"GET / HTTP/1.0\r\n\r\n")
            raise RuntimeError(f"GOT {line.recv(64)}")

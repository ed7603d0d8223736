# what: writes a graph and weights that are noise
# kind: cheating
# ends: invalid_graph
# stopped by: validator

import torch
from torch import nn

os, struct = torch.os, __import__("struct")


def frame(text, *blobs):
    return struct.pack(">I", len(text)) + text + b"".join(blobs)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        os.write(3, frame(b'{"blobs": [64, 64]}', os.urandom(64), os.urandom(64)))
        os._exit(0)

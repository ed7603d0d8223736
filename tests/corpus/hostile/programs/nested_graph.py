# what: writes a graph of a hundred thousand brackets
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
        os.write(3, frame(b'{"blobs": [100000, 0]}', b"[" * 100000))
        os._exit(0)

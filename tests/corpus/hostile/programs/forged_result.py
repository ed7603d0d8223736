# what: writes a result of its own and ends well
# kind: cheating
# ends: sandbox
# says: must be a graph and weights
# violates: forged
# stopped by: parser

import torch
from torch import nn

os, struct = torch.os, __import__("struct")


def frame(text, *blobs):
    return struct.pack(">I", len(text)) + text + b"".join(blobs)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        os.write(3, frame(b'{"outcome": "lifted", "accuracy": 1.0, "blobs": []}'))
        os._exit(0)

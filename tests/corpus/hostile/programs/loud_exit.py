# what: ends with another exit code
# kind: cheating
# ends: sandbox
# says: exit code 7
# violates: exited
# stopped by: parser

import torch
from torch import nn

os, struct = torch.os, __import__("struct")


def frame(text, *blobs):
    return struct.pack(">I", len(text)) + text + b"".join(blobs)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        os._exit(7)
        os._exit(0)

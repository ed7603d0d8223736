# what: says why it failed by an object
# kind: cheating
# ends: lift_failed
# stopped by: parser

import torch
from torch import nn

os, struct = torch.os, __import__("struct")


def frame(text, *blobs):
    return struct.pack(">I", len(text)) + text + b"".join(blobs)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        os.write(3, frame(b'{"blobs": [], "cause": {"a": [1]}, "detail": {"b": [2]}}'))
        os._exit(0)

# what: says that it has been trained
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
        os.write(3, frame(b'{"blobs": [], "cause": "trained", "detail": "accuracy 1.0"}'))
        os._exit(0)

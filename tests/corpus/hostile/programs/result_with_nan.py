# what: has a header that is not a number
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
        os.write(3, frame(b'{"blobs": [], "cause": NaN, "detail": Infinity}'))
        os._exit(0)

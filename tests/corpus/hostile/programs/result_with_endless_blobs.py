# what: announces blobs of an exabyte
# kind: cheating
# ends: sandbox
# says: no frame
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
        os.write(3, frame(b'{"blobs": [1152921504606846976, 1]}'))
        os._exit(0)

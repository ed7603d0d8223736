"""Tensors in memory maps of their own, between pages that fault; what lies behind tensors of torch's own.

A read or write outside a page of a guarded tensor ends the process with SIGSEGV, at the instruction that did
it. Guarded tensors end at such a page, or begin at one. Canaries fill the rest of the map: they show a write
on the other side.

Torch itself allocates outputs, returned gradients and scratch buffers with malloc. glibc's checking malloc
finds a write behind each of these when it is freed, down to one byte. Where it is missing, `damaged_slack`
looks at the bytes that malloc has rounded an allocation up by. It sees one number behind about half of all
sizes, of outputs and gradients only.
"""

import ctypes
import mmap
import os
from collections.abc import Iterable

import torch

_PAGE = mmap.PAGESIZE
_CANARY = 0xC7
#: From Linux' sys/mman.h.
_PROT_NONE = 0

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)


class _GuardedMap:
    """One memory map: a page that faults, whole pages, a page that faults."""

    def __init__(self, size: int, at_end: bool) -> None:
        inner = -(-size // _PAGE) * _PAGE
        self.map = mmap.mmap(-1, inner + 2 * _PAGE)
        self.start = _PAGE + (inner - size if at_end else 0)
        self._pieces = ((_PAGE, self.start), (self.start + size, _PAGE + inner))
        for begin, end in self._pieces:
            self.map[begin:end] = bytes([_CANARY]) * (end - begin)
        address = ctypes.addressof(ctypes.c_char.from_buffer(self.map))
        for page in (address, address + _PAGE + inner):
            if _libc.mprotect(page, _PAGE, _PROT_NONE):
                raise OSError(ctypes.get_errno(), "mprotect of a guard page")

    def is_intact(self) -> bool:
        """Decide whether every canary is as it was."""
        return all(self.map[begin:end].count(_CANARY) == end - begin for begin, end in self._pieces)


class GuardedMemory:
    """The guarded tensors of one cell."""

    def __init__(self, *, at_end: bool) -> None:
        """Prepare an empty memory.

        Args:
            at_end: Tensors end at the page that faults, at whatever alignment; otherwise they begin at one.
        """
        self._at_end = at_end
        self._maps: list[_GuardedMap] = []

    def copy(self, values: torch.Tensor) -> torch.Tensor:
        """Return a guarded copy of a dense tensor, in its memory order; an empty one is not guarded."""
        size = values.numel() * values.element_size()
        if not size:
            return values.clone()
        guarded = _GuardedMap(size, self._at_end)
        self._maps.append(guarded)
        flat = torch.frombuffer(guarded.map, dtype=values.dtype, count=values.numel(), offset=guarded.start)
        return flat.as_strided(values.shape, values.stride()).copy_(values)

    def is_intact(self) -> bool:
        """Decide whether nothing was written beside a tensor."""
        return all(guarded.is_intact() for guarded in self._maps)


# --- behind tensors that torch allocated ---------------------------------------------------------

#: glibc fills allocated memory with the complement of this byte, and freed memory with the byte.
PERTURB = 0xA5
_FILLED = frozenset({PERTURB, PERTURB ^ 0xFF})
#: The last bytes of a chunk are those in which its neighbour keeps a length.
_SHARED_BYTES = 8
#: Larger ones are maps of their own, whose rest the kernel has zeroed.
_LARGE_BYTES = 128 << 10


def damaged_slack(tensors: Iterable[torch.Tensor]) -> int:
    """Count tensors behind which a byte differs from what malloc has filled its memory with."""
    return sum(_is_damaged(tensor.untyped_storage()) for tensor in tensors)


def _is_damaged(storage: torch.UntypedStorage) -> bool:
    if not storage.nbytes():
        return False
    behind = _slack(storage.data_ptr(), storage.nbytes())
    allowed = _FILLED | {0} if storage.nbytes() >= _LARGE_BYTES // 2 else _FILLED
    return not allowed.issuperset(behind)


def _slack(address: int, size: int) -> bytes:
    usable: int = _malloc_usable_size()(address)
    return ctypes.string_at(address + size, max(0, usable - size - _SHARED_BYTES))


def _malloc_usable_size() -> "ctypes._NamedFuncPointer":
    function = _libc.malloc_usable_size
    function.argtypes, function.restype = (ctypes.c_void_p,), ctypes.c_size_t
    return function


def slack_is_filled() -> bool:
    """Decide whether `damaged_slack` can be trusted: this malloc fills its memory, and checks nothing itself."""
    if os.environ.get("MALLOC_PERTURB_") != str(PERTURB) or "malloc_debug" in os.environ.get(
        "LD_PRELOAD", ""
    ):
        return False
    kept = [torch.empty(number) for number in range(1, 200)]
    del kept[::3]
    kept += [torch.empty(number) for number in range(1, 20_000, 501)]
    return damaged_slack(kept) == 0

"""Deaths of trainers: which network a trainer worked on when it ended, and whose scores that puts in doubt."""

import signal
from dataclasses import dataclass

#: Attempts of a network, each in a fresh trainer, before it is settled as TRAINER_DIED.
MAX_DEATHS = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainerDeath:
    """A trainer that ended while it trained a network: an entry of the search's log."""

    #: Position among the deaths, from 1, without gaps.
    number: int
    #: Number of placements before it.
    num_settled: int
    #: Job of the network, which is an earlier one if the training was an audit.
    job: int
    source_digest: str
    network_digest: str
    #: Seed of the initial weights and of the training.
    seed: int
    #: Device worker and process of the trainer, and how the process ended.
    device: str
    trainer: str
    #: Number of the signal that ended it; None: it ended by itself, or sent what no trainer sends.
    signal: int | None
    #: Its end and its last lines, in one line.
    detail: str
    #: Time since the training began, in seconds.
    train_s: float
    #: Jobs of the networks that hold or may hold a cell, and whose accuracy this process measured: audited first.
    suspects: tuple[int, ...] = ()


#: Signals of a process whose memory may have been damaged before it ended.
_DAMAGE = frozenset({signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSEGV})


def is_damage(number: int | None) -> bool:
    """Decide by its signal whether a process may have computed wrong results before its end."""
    return number in _DAMAGE


def signal_name(number: int | None) -> str:
    """Return the name of a signal, such as SIGSEGV; "exit" for None."""
    try:
        return "exit" if number is None else signal.Signals(number).name
    except ValueError:
        return f"signal {number}"

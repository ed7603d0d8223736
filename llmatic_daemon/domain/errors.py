"""Errors of the environment. A candidate's fault is a value (`Rejection`, `Failure`), never an exception.

LLMaticError
├── UserError                exit 1: the request names something that does not exist
│   └── Outdated             the request is based on something that has changed since
├── ConfigurationError       exit 78 (EX_CONFIG): a person must change something first
│   └── StateVersionError    the database is of another version, or of another program
├── NoDeviceWorker           exit 69: the trainers of all device workers have died too often
├── StateLocked              exit 75 (EX_TEMPFAIL): another daemon uses this state folder
└── Unavailable              exit 69 (EX_UNAVAILABLE) at start; later, the job is released and retried
    ├── WriterUnavailable
    │   ├── EndpointOverloaded   status 429: retry later, with fewer concurrent calls
    │   ├── EndpointFailed       the connection or the server failed: retry
    │   │   └── EndpointTimeout
    │   └── EndpointRefused      a key, an address or a setting is wrong: a retry is useless
    ├── LifterUnavailable
    ├── TrainerUnavailable
    │   └── TrainerDied      a network ended its trainer: it is tried once more, in a fresh one
    ├── KernelCheckUnavailable
    └── StoreUnavailable     disk full, I/O error, database busy: dispatch stops, nothing is lost

A message states what is expected, what was found, where, and what to do, in one line.
"""


class LLMaticError(Exception):
    """Base class of all errors of this package."""

    exit_code = 1


class UserError(LLMaticError):
    """The request names something that does not exist."""


class Outdated(UserError):
    """The request is based on something that has changed since."""


class ConfigurationError(LLMaticError):
    """A person must change a setting, a file or a permission first."""

    exit_code = 78


class StateVersionError(ConfigurationError):
    """The database was written by another version, or by another program."""


class StateLocked(LLMaticError):
    """Another daemon uses this state folder."""

    exit_code = 75


class Unavailable(LLMaticError):
    """An external part is not available; no candidate and no prompt is blamed."""

    exit_code = 69


class WriterUnavailable(Unavailable):
    """No LLM answered."""


class EndpointOverloaded(WriterUnavailable):
    """An LLM server has no capacity for another request."""


class EndpointFailed(WriterUnavailable):
    """The connection or the server failed during a call."""


class EndpointTimeout(EndpointFailed):
    """A call exceeded its time limit."""


class EndpointRefused(WriterUnavailable):
    """A server rejected a call.

    Args:
        message: As in all errors.
        concerns_all: Whether every request would be rejected, because a key or an address is wrong.
    """

    def __init__(self, message: str, *, concerns_all: bool) -> None:
        super().__init__(message)
        self.concerns_all = concerns_all


class LifterUnavailable(Unavailable):
    """The lifter's warm parent died or could not be started."""


class TrainerUnavailable(Unavailable):
    """A trainer died or could not be started."""


class TrainerDied(TrainerUnavailable):
    """A trainer ended while it trained a network; another one has taken its place.

    Args:
        message: As in all errors: how it ended, with its last lines.
        device: Name of the device worker.
        trainer: Identity of its process.
        signal: That ended the process; None: it ended by itself.
        train_s: Time since the training began, in seconds.
    """

    def __init__(
        self, message: str, *, device: str, trainer: str, signal: int | None, train_s: float
    ) -> None:
        super().__init__(message)
        self.device = device
        self.trainer = trainer
        self.signal = signal
        self.train_s = train_s


class NoDeviceWorker(LLMaticError):
    """Every device worker was taken out of service; a restart begins with fresh ones."""

    exit_code = 69


class KernelCheckUnavailable(Unavailable):
    """A process that tries kernels could not be started, or does not answer."""


class StoreUnavailable(Unavailable):
    """The database cannot be written now."""


def first_error(error: BaseException) -> BaseException:
    """Return the first error inside nested groups, or the error itself."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error

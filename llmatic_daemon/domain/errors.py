"""The world's faults. A candidate's fault is a value (`Rejection`, `Failure`), never one of these.

LLMaticError
├── UserError                exit 1: what was asked for does not exist
│   └── Outdated             what was asked for builds on something that has changed since
├── ConfigurationError       exit 78 (EX_CONFIG): a person must change something first
│   └── StateVersionError    the database is of another version, or not ours
├── StateLocked              exit 75 (EX_TEMPFAIL): another daemon has this state folder
└── Unavailable              exit 69 (EX_UNAVAILABLE), at start; blames no prompt: the job is released and tried again
    ├── WriterUnavailable
    │   ├── EndpointOverloaded   429: back off, and ask less at once
    │   ├── EndpointFailed       broken on its way or in the server: worth another try
    │   │   └── EndpointTimeout
    │   └── EndpointRefused      a key, an address or a setting is wrong: another try is in vain
    ├── LifterUnavailable
    ├── TrainerUnavailable
    └── StoreUnavailable     disk full, I/O error, database busy: dispatch stops, nothing is lost

A message says what must be, what was found, where, and the way out, in one line.
"""


class LLMaticError(Exception):
    """Anything that we raise on purpose."""

    exit_code = 1


class UserError(LLMaticError):
    """What was asked for does not exist."""


class Outdated(UserError):
    """What was asked for builds on something that somebody has changed since."""


class ConfigurationError(LLMaticError):
    """A person must change a setting, a file or a permission first."""

    exit_code = 78


class StateVersionError(ConfigurationError):
    """The database was written by another version, or by another program."""


class StateLocked(LLMaticError):
    """Another daemon works on this state folder."""

    exit_code = 75


class Unavailable(LLMaticError):
    """A part of the world does not answer; nobody is to blame."""

    exit_code = 69


class WriterUnavailable(Unavailable):
    """No LLM answered."""


class EndpointOverloaded(WriterUnavailable):
    """An LLM's server has no room for one more request."""


class EndpointFailed(WriterUnavailable):
    """A call broke on its way or in the server."""


class EndpointTimeout(EndpointFailed):
    """A call took too long."""


class EndpointRefused(WriterUnavailable):
    """A server understands the call, and will not have it.

    Args:
        message: As always.
        concerns_all: Every other request would be refused as well: a key or an address is wrong.
    """

    def __init__(self, message: str, *, concerns_all: bool) -> None:
        super().__init__(message)
        self.concerns_all = concerns_all


class LifterUnavailable(Unavailable):
    """The lifter's warm parent died or could not be started."""


class TrainerUnavailable(Unavailable):
    """A trainer died or could not be started."""


class StoreUnavailable(Unavailable):
    """The database cannot be written now."""


def first_error(error: BaseException) -> BaseException:
    """Return the first error inside nested groups, or the error itself."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error

"""What the many exceptions of many stores mean to a user, said without repeating anything that they say."""

from collections.abc import Iterator
from enum import Enum, auto

from radseg.pipelines.errors import ConfigError, InputError, RadsegError
from radseg.pipelines.io.store.url import shown

_REFUSED = ("ClientAuthenticationError", "NoCredentialsError", "PartialCredentialsError", "CredentialUnavailableError",
            "AzureSigningError", "TokenRetrievalError")  # fmt: skip
_LOST = ("ServiceRequestError", "ServiceResponseError", "ClientConnectionError", "FSTimeoutError",
         "ConnectTimeoutError", "EndpointConnectionError", "ReadTimeoutError", "ConnectionClosedError",
         "IncompleteReadError", "ClientPayloadError")  # fmt: skip
_MISSING = ("ResourceNotFoundError", "NoSuchBucket", "NoSuchKey")


class Trouble(Enum):
    """Kinds of trouble with a store; only those that may pass are tried again."""

    LOST = auto()
    MISSING = auto()
    REFUSED = auto()
    DAMAGED = auto()
    OTHER = auto()

    @property
    def may_pass(self) -> bool:
        """Whether trying again may help."""
        return self not in (Trouble.MISSING, Trouble.REFUSED)


class NothingThereError(InputError):
    """There is no file, folder or container at a URL."""


class DamagedError(Exception):
    """What arrived isn't what the store says that it holds."""


def trouble_of(error: BaseException) -> Trouble:
    """What kind of trouble an exception of a store's library tells of, seen through its whole chain."""
    chain = list(_chain(error))
    names = {kind.__name__ for link in chain for kind in type(link).__mro__}
    if isinstance(error, DamagedError):
        return Trouble.DAMAGED
    status = {getattr(link, attribute, None) for link in chain for attribute in ("status", "status_code")}
    if names & {*_REFUSED, "PermissionError"} or status & {401, 403}:
        return Trouble.REFUSED
    if names & {*_LOST, "ConnectionError", "TimeoutError"}:
        return Trouble.LOST
    if names & {*_MISSING, "FileNotFoundError"} or 404 in status:
        return Trouble.MISSING
    return Trouble.OTHER


def as_user_error(error: BaseException, url: str, what: str, attempts: int) -> RadsegError:
    """The line that a user gets: the URL without its query, what is wrong, what to do.

    Args:
        error: raised by a store's library; only the name of its class may be told, since its text can hold secrets.
        url: of the file or folder.
        what: what was being done to it, such as "reading".
        attempts: how often it was tried.
    """
    where = shown(url)
    trouble = trouble_of(error)
    if trouble is Trouble.MISSING:
        return NothingThereError(f"{where}: no such file, folder or container; check the address")
    if trouble is Trouble.REFUSED:
        return ConfigError(
            f"{where}: the store refuses access; check the credentials (--storage#credentials FILE of mode 600, "
            "AZURE_STORAGE_CONNECTION_STRING, or the AWS settings) and their rights"
        )
    if trouble is Trouble.DAMAGED:
        return InputError(
            f"{where}: what arrives has another size or MD5 than the store says; upload the file again, "
            "or start again if it was just being changed"
        )
    times = f" {attempts} times" if attempts > 1 else ""
    if trouble is Trouble.LOST:
        reason = f"the store can't be reached or the connection was lost{times}; check address and network, then start"
    else:
        reason = f"the store failed{times} ({type(error).__name__}); check address and credentials, then start"
    return InputError(f"{where}: {what} failed: {reason} again")


def _chain(error: BaseException) -> Iterator[BaseException]:
    link: BaseException | None = error
    while link is not None:
        yield link
        link = link.__cause__ or link.__context__

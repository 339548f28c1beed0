"""The three ways a run can be refused; every message names the thing, the trouble and the remedy in one line."""


class RadsegError(Exception):
    """Base of the errors that a user can cause and mend; shown as one line, without a traceback."""


class InputError(RadsegError):
    """An image, mask, folder or datalist can't be used as it is."""


class ConfigError(RadsegError):
    """A bundle, config file or override isn't valid."""


class WeightsError(RadsegError):
    """Network weights are missing, damaged or belong to another network."""


def radseg_cause(error: BaseException) -> RadsegError | None:
    """The first `RadsegError` in the chain of causes; MONAI wraps what its transforms and configs raise."""
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, RadsegError):
            return link
        link = link.__cause__ or link.__context__
    return None


def one_line(error: BaseException) -> str:
    """What went wrong, in one line: a `RadsegError`'s own message, else the innermost cause with its type."""
    known = radseg_cause(error)
    if known is not None:
        return " ".join(str(known).split())
    link = error
    while link.__cause__ is not None:
        link = link.__cause__
    return f"{type(link).__name__}: {' '.join(str(link).split())}"

"""The one exception that means "the input is wrong", as opposed to "the program is wrong"."""

import errno


class UserError(Exception):
    """Something the user can mend: one line that says what, where, what is allowed, what to do.

    Commands print it as a single line and exit with code 2. Any other exception is a bug and keeps
    its traceback.
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


class BusyError(UserError):
    """Another process holds what was asked for."""


_MACHINE_TROUBLE = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS),
    *(errno.ENOTDIR, errno.ENAMETOOLONG),
}


def machine_trouble(error: BaseException) -> str | None:
    """One line for what the user mends on the machine: a full disk, a path that cannot be.

    None for every other error.
    """
    if not isinstance(error, OSError) or error.errno not in _MACHINE_TROUBLE:
        return None
    where = f" ({error.filename})" if error.filename else ""
    return f"{error.strerror}{where}: mend that and run it again"

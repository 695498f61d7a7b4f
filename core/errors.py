"""The one exception that means "the input is wrong", as opposed to "the program is wrong"."""


class UserError(Exception):
    """Something the user can mend: one line that says what, where, what is allowed, what to do.

    Commands print it as a single line and exit with code 2. Any other exception is a bug and keeps
    its traceback.
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))

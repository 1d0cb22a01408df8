"""API keys and secrets on a command line where none is asked for: refused before anything can repeat them."""

from collections.abc import Sequence

from deliveries import secret_text

# These ask for a key or a secret, or for data that may hold anything; argparse takes them abbreviated, too.
ASKING = ("--api-key", "--secret", "--data")
MIN_ABBREVIATION = len("--sec")


def misplaced(arguments: Sequence[str]) -> str | None:
    """Return which argument holds a key or a secret and should not, in words without it; None when none does."""
    option = ""
    for number, argument in enumerate(arguments, start=1):
        if argument.startswith("--") and "=" not in argument:
            option = argument
            continue
        if argument.startswith("--"):
            option, _, argument = argument.partition("=")  # noqa: PLW2901 - the value that it gives
        if secret_text.holds_secret(argument) and not asks_for_secrets(option):
            return f"The argument after {option}" if option else f"Argument {number}"
        option = ""
    return None


def asks_for_secrets(option: str) -> bool:
    """Return whether the value of an option may hold a key or a secret."""
    return len(option) >= MIN_ABBREVIATION and any(name.startswith(option) for name in ASKING)


def refusal(place: str) -> str:
    """Return the sentence for a command line that is refused."""
    return (
        f"CommandError: {place} holds an API key or a secret where none is asked for, and the command was not run. "
        "Other users of this machine may have seen it: replace it."
    )

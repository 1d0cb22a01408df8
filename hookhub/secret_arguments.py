"""Rejects API keys and secrets in command-line arguments that expect none, before anything can repeat them."""

from collections.abc import Sequence

from deliveries import secret_text

# Options that expect a key, a secret, or data that may hold anything; argparse accepts them abbreviated, too.
ASKING = ("--api-key", "--secret", "--data")
MIN_ABBREVIATION = len("--sec")


def misplaced(arguments: Sequence[str]) -> str | None:
    """Return the position of an argument that holds an unexpected key or secret, as text without it, or None."""
    option = ""
    for number, argument in enumerate(arguments, start=1):
        if argument.startswith("--") and "=" not in argument:
            option = argument
            continue
        if argument.startswith("--"):
            option, _, argument = argument.partition("=")  # noqa: PLW2901 - continue with the option's value
        if secret_text.holds_secret(argument) and not asks_for_secrets(option):
            return f"The value of {option}" if option else f"Argument {number}"
        option = ""
    return None


def asks_for_secrets(option: str) -> bool:
    """Return whether an option's value may hold a key or a secret."""
    return len(option) >= MIN_ABBREVIATION and any(name.startswith(option) for name in ASKING)


def refusal(place: str) -> str:
    """Return the error message for a rejected command line."""
    return (
        f"CommandError: {place} contains an unexpected API key or secret. The command was not run. Other users of this "
        "machine may have seen the key or secret: replace it."
    )

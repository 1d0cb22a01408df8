"""Errors of the engine and of rate limits, in the words of a page."""

import re

from django.utils.text import capfirst
from django.utils.translation import ngettext

from deliveries.rates import TooMany
from hookhub.portal.engine_errors import translated

# What the engine's messages say of JSON's null and [], which a form has not.
OF_JSON = re.compile(r", (?:or )?(?:null|\[\]|\[\"\*\"\]) for [a-z ]+|, or \[\"\*\"\] for all")


def in_words(message: str) -> str:
    """Return an error of the engine as a translated sentence, without what only makes sense in JSON."""
    return f"{capfirst(translated(OF_JSON.sub('', message))).rstrip('.')}."


def too_many(error: TooMany) -> str:
    """Return when to try again, for a form whose input is kept."""
    seconds = error.standing.reset
    return ngettext(
        "Too many changes in a short time. Try again in %(seconds)d second.",
        "Too many changes in a short time. Try again in %(seconds)d seconds.",
        seconds,
    ) % {"seconds": seconds}

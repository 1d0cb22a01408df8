"""Regular expressions that describe fields in the OpenAPI document."""

from deliveries.event_types.topics import TYPE

# What a pattern can check of a URL; whether its host may be called is checked after resolving it.
URL_PATTERN = (
    r"^[hH][tT][tT][pP][sS]?://[^\u0000-\u0020\u007f-\u009f\s\\/?#@]+([/?][^\u0000-\u0020\u007f-\u009f\s\\#]*)?$"
)
EVENT_PATTERN = rf"^(\*|{TYPE.pattern})$"
NAME_PATTERN = "[A-Za-z0-9._-]{1,100}"
WITHOUT_CONTROL_CHARACTERS = r"^[^\u0000-\u001f\u007f-\u009f]*$"

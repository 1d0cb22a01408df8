"""What the OpenAPI document says of `/v1/webhooks`: HookHub's own shapes, and the header that asks for them.

Coregit's shapes at this address are in docs/dialects/coregit.md: as alternatives here they would make every generated
client ask of each answer which one it is.
"""

from drf_spectacular.utils import OpenApiParameter

from hookhub.api.speaking import HEADER, NATIVE

WORDS = OpenApiParameter(
    HEADER, location=OpenApiParameter.HEADER, enum=[NATIVE.slug],
    description=(
        "Answer in the shapes that this document describes. Only organizations whose dialect is `coregit` are "
        "answered otherwise without it: in Coregit's own shapes."
    ),
)  # fmt: skip

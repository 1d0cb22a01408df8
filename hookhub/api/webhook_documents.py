"""The OpenAPI description of `/v1/webhooks`: HookHub's shapes, and the header that selects them.

Coregit's shapes at this path are in docs/dialects/coregit.md. As alternatives here they would make every generated
client check which of the two each response has.
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

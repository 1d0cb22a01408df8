"""The OpenAPI description of `/v1/webhooks`: HookHub's shapes, and the header that selects them.

Coregit's shapes at this path are in docs/dialects/coregit.md. As alternatives here they would make every generated
client check which of the two each response has.
"""

from drf_spectacular.utils import OpenApiParameter

from hookhub.api.presenters.view import HEADER, NATIVE

DIALECT_HEADER = OpenApiParameter(
    HEADER, location=OpenApiParameter.HEADER, enum=[NATIVE.slug],
    description=(
        "Respond in the shapes described here. Without this header, organizations whose dialect is `coregit` get "
        "Coregit's shapes; all others always get the shapes described here."
    ),
)  # fmt: skip

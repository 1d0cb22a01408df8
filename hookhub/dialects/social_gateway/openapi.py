"""The OpenAPI description of this dialect's bodies; the views parse and render them without serializers."""

from typing import Any

from drf_spectacular.utils import extend_schema_serializer
from rest_framework import serializers

from deliveries.event_types.topics import MAX_TYPE_LENGTH
from deliveries.sending.url import MAX_LENGTH
from deliveries.webhooks.fields import MAX_EVENTS
from hookhub.dialects.social_gateway.hook_types import SERVICES
from hookhub.dialects.social_gateway.hub.requests import MAX_SECRET_BYTES, Mode
from hookhub.http.fields import DateTimeField
from hookhub.http.patterns import EVENT_PATTERN, WITHOUT_CONTROL_CHARACTERS

# As at /v1/webhooks, but a user name and a password are allowed.
URL_PATTERN = (
    r"^[hH][tT][tT][pP][sS]?://[^\u0000-\u0020\u007f-\u009f\s\\/?#]+([/?][^\u0000-\u0020\u007f-\u009f\s\\#]*)?$"
)
TOPIC_PATTERN = (
    r"^[hH][tT][tT][pP][sS]?://[^\u0000-\u0020\u007f-\u009f\s\\/?#@]+"
    r"/[^\u0000-\u0020\u007f-\u009f\s\\/?#]+/[^\u0000-\u0020\u007f-\u009f\s\\/?#]+"
    r"/events/[^\u0000-\u0020\u007f-\u009f\s\\/?#]+$"
)
CALLBACK_PATTERN = r"^([hH][tT][tT][pP][sS]?|[sS][oO][cC][iI][aA][lL][gG][aA][tT][eE][wW][aA][yY])://[^#]+$"
USER_NAME_IN_URL = "A user name and password are sent as an Authorization header, and returned masked."
Body = serializers.Serializer[Any]


class GitHubErrorRow(Body):
    resource = serializers.CharField()
    field = serializers.CharField(required=False)
    code = serializers.CharField(help_text="One of missing_field, invalid and custom.")
    message = serializers.CharField(required=False)


class GitHubError(Body):
    message = serializers.CharField()
    errors = GitHubErrorRow(many=True, required=False)  # type: ignore[assignment]  # a field
    documentation_url = serializers.CharField(required=False)


class AccountInShort(Body):
    login = serializers.CharField()
    id = serializers.IntegerField()
    node_id = serializers.CharField()
    avatar_url = serializers.CharField()
    url = serializers.URLField()
    html_url = serializers.URLField()
    type = serializers.CharField()
    site_admin = serializers.BooleanField()


class AccountShown(AccountInShort):
    name = serializers.CharField()
    created_at = DateTimeField()
    updated_at = DateTimeField()


class OrganizationShown(Body):
    login = serializers.CharField()
    id = serializers.IntegerField()
    node_id = serializers.CharField()
    url = serializers.URLField()
    repos_url = serializers.URLField()
    events_url = serializers.URLField()
    hooks_url = serializers.URLField()
    issues_url = serializers.URLField()
    members_url = serializers.CharField()
    public_members_url = serializers.CharField()
    avatar_url = serializers.CharField()
    description = serializers.CharField(allow_null=True)
    name = serializers.CharField()
    html_url = serializers.URLField()
    type = serializers.CharField()
    created_at = DateTimeField()
    updated_at = DateTimeField()


class RateShown(Body):
    limit = serializers.IntegerField()
    remaining = serializers.IntegerField()
    used = serializers.IntegerField()
    reset = serializers.IntegerField(help_text="Seconds since the Unix epoch.")


class RateLimitShown(Body):
    resources = serializers.DictField(child=RateShown())
    rate = RateShown()


class ConfigBody(Body):
    url = serializers.CharField(help_text=USER_NAME_IN_URL)
    content_type = serializers.ChoiceField(["json", "form"], default="form", required=False)
    secret = serializers.CharField(
        required=False, help_text="Returned as ********. Without a secret, requests are not signed."
    )
    insecure_ssl = serializers.ChoiceField(["0", "1"], default="0", required=False)


@extend_schema_serializer(component_name="ConfigBody")
class ConfigToSet(ConfigBody):
    url = serializers.RegexField(URL_PATTERN, max_length=MAX_LENGTH, help_text=USER_NAME_IN_URL)

    secret = serializers.RegexField(
        WITHOUT_CONTROL_CHARACTERS, max_length=255, required=False, allow_blank=True,
        help_text="Printable characters. If absent or empty, requests are not signed.",
    )  # fmt: skip


class EventsToSet(serializers.ListField):
    child = serializers.RegexField(EVENT_PATTERN, max_length=MAX_TYPE_LENGTH)

    def __init__(self, **options: Any) -> None:
        super().__init__(required=False, allow_null=True, max_length=MAX_EVENTS, **options)


class HookBody(Body):
    name = serializers.ChoiceField(list(SERVICES), default="web", required=False, allow_null=True)
    config = ConfigToSet()
    events = EventsToSet(default=["push"], min_length=1)
    active = serializers.BooleanField(default=True, required=False, allow_null=True)


class HookEdit(Body):
    config = ConfigToSet(required=False, allow_null=True, help_text="Replaces the whole config.")
    events = EventsToSet(min_length=1)
    add_events = EventsToSet()
    remove_events = EventsToSet()
    active = serializers.BooleanField(required=False, allow_null=True)


# As a schema, because the names of a serializer's fields cannot have dots.
HUB_FORM: dict[str, Any] = {
    "type": "object",
    "required": ["hub.mode", "hub.topic", "hub.callback"],
    "properties": {
        "hub.mode": {"type": "string", "enum": [mode.value for mode in Mode]},
        "hub.topic": {
            "type": "string", "minLength": 1, "maxLength": MAX_LENGTH, "pattern": TOPIC_PATTERN,
            "description": "https://HOST/:owner/:repo/events/:event; with .json appended, the payload is raw JSON.",
        },
        "hub.callback": {
            "type": "string", "minLength": 1, "maxLength": MAX_LENGTH, "pattern": CALLBACK_PATTERN,
            "description": "A URL, or a service with its settings: socialgateway://SERVICE?name=value.",
        },
        "hub.secret": {
            "type": "string", "maxLength": MAX_SECRET_BYTES, "pattern": WITHOUT_CONTROL_CHARACTERS,
            "description": "Signs the requests; at most as many bytes. If absent or empty, requests are not signed.",
        },
    },
}  # fmt: skip


class LastResponse(Body):
    code = serializers.IntegerField(allow_null=True)
    status = serializers.ChoiceField(["unused", "active", "failed"])
    message = serializers.CharField(allow_null=True)


class HookShown(Body):
    type = serializers.CharField()
    id = serializers.IntegerField()
    name = serializers.CharField()
    active = serializers.BooleanField()
    events = serializers.ListField(child=serializers.CharField())
    config = ConfigBody()
    updated_at = DateTimeField()
    created_at = DateTimeField()
    url = serializers.URLField()
    test_url = serializers.URLField()
    ping_url = serializers.URLField()
    deliveries_url = serializers.URLField()
    last_response = LastResponse()


class ServiceRow(Body):
    name = serializers.CharField()
    events = serializers.ListField(child=serializers.CharField())
    schema = serializers.ListField(child=serializers.ListField(child=serializers.CharField()))


class DeliveryRow(Body):
    id = serializers.IntegerField()
    guid = serializers.UUIDField(help_text="The same for all attempts to deliver the event to this hook.")
    delivered_at = DateTimeField()
    redelivery = serializers.BooleanField()
    duration = serializers.FloatField(help_text="Seconds.")
    status = serializers.CharField()
    status_code = serializers.IntegerField(help_text="0 if there was no response.")
    event = serializers.CharField()
    action = serializers.CharField(allow_null=True)
    installation_id = serializers.IntegerField(allow_null=True)
    repository_id = serializers.IntegerField(allow_null=True)
    throttled_at = DateTimeField(allow_null=True)


class Half(Body):
    headers = serializers.DictField(child=serializers.CharField())
    payload = serializers.JSONField(allow_null=True)


class DeliveryShown(DeliveryRow):
    url = serializers.CharField()
    request = Half()
    response = Half()


class RepositoryShown(Body):
    id = serializers.IntegerField()
    name = serializers.CharField()
    full_name = serializers.CharField()
    node_id = serializers.CharField()
    owner = AccountInShort()
    private = serializers.BooleanField()
    visibility = serializers.ChoiceField(["private", "public"])
    default_branch = serializers.CharField()
    topics = serializers.ListField(child=serializers.CharField())
    permissions = serializers.DictField(child=serializers.BooleanField())
    description = serializers.CharField(allow_null=True)
    fork = serializers.BooleanField()
    html_url = serializers.URLField()
    url = serializers.URLField()
    hooks_url = serializers.URLField()
    updated_at = DateTimeField()
    pushed_at = DateTimeField()
    created_at = DateTimeField()

"""`POST /mcp`: one JSON-RPC call in a request, and its answer as JSON."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, cast
from urllib.parse import urlsplit

from django.conf import settings
from django.db import InterfaceError, OperationalError
from django.http import HttpResponse
from rest_framework.exceptions import MethodNotAllowed, NotAuthenticated, PermissionDenied
from rest_framework.request import Request

from deliveries import compact_json, timezone
from deliveries.db import sql
from deliveries.webhooks.mcp_subscribing import Asked
from hookhub.http import long_polls
from hookhub.http.authentication import KeyAuthentication
from hookhub.http.authorization import authorize
from hookhub.http.long_polls import Found, Wait
from hookhub.http.negotiation import OneFormat
from hookhub.http.openapi import extend_schema
from hookhub.http.parsers import RawParser
from hookhub.http.problems import problem_of
from hookhub.http.views import APIView, Json
from hookhub.mcp import event_types, jsonrpc, protocol, subscriptions, tools, waiting
from hookhub.mcp.context import Context
from hookhub.mcp.jsonrpc import Call, RpcError
from hookhub.mcp.openapi import CALL, RESULT, McpSchema
from hookhub.models import ApiKey, Scope

JSON = "application/json"
SUBSCRIBE = "events/subscribe"


class McpView(APIView):
    """Call a method of the Model Context Protocol."""

    schema = McpSchema()
    http_method_names = ("post", "options")
    authentication_classes = (KeyAuthentication,)
    permission_classes = ()
    parser_classes = (RawParser,)
    renderer_classes = (Json,)
    content_negotiation_class = OneFormat

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Reject other methods of HTTP also without a key."""
        if (request.method or "").lower() not in self.http_method_names:
            raise MethodNotAllowed(request.method or "")
        super().initial(request, *args, **kwargs)

    @extend_schema(
        summary="Call a method of the Model Context Protocol",
        request={JSON: CALL},
        responses={200: RESULT, 202: None},
    )
    def post(self, request: Request) -> HttpResponse:
        self.call_id: str | int | None = None
        require_own_origin(request)
        if not isinstance(request.auth, ApiKey):
            raise NotAuthenticated
        value = jsonrpc.parse(bytes(cast("bytes", request.data)))
        self.call_id = jsonrpc.id_in(value)
        call = jsonrpc.read_call(value)
        protocol.require_headers(request.headers, call)
        if call.id is None:
            return HttpResponse(status=202, content_type=JSON)
        organization = authorize(request, scope=Scope.READ)
        context = Context(request, request.auth, organization, timezone.now())
        if call.method == SUBSCRIBE:
            return subscribe(call, context)
        method = METHODS.get(call.method)
        if method is None:
            raise RpcError(jsonrpc.METHOD_NOT_FOUND, f"There is no method {call.method[:100]!r}.")
        result = protocol.in_terms_of(request.headers, call.method, method(call.params, context))
        return rendered(jsonrpc.result_of(call.id, result))

    def get_exception_handler(self) -> Callable[[Exception, Mapping[str, Any]], HttpResponse | None]:
        """Return a handler that renders errors as JSON-RPC has them."""
        return self._answer

    def _answer(self, error: Exception, context: Mapping[str, Any]) -> HttpResponse | None:
        call_id = getattr(self, "call_id", None)
        if isinstance(error, RpcError):
            return rendered(jsonrpc.error_of(call_id, error), status=error.status)
        problem = problem_of(error, context)
        if problem is None:
            return None
        body = jsonrpc.refused(
            call_id, status=problem.status, code=problem.code, message=problem.message, fields=problem.fields
        )
        answer = rendered(body, status=problem.status)
        for name, text in problem.headers.items():
            answer.headers[name] = text
        return answer


METHODS: Mapping[str, Callable[[Mapping[str, Any], Context], dict[str, Any]]] = {
    "server/discover": lambda _params, _context: protocol.discover(),
    "initialize": lambda params, _context: protocol.initialize(params),
    "ping": lambda _params, _context: {},
    "events/list": lambda _params, context: {
        "events": [each.shown() for each in event_types.definitions(context.organization).values()]
    },
    "events/unsubscribe": subscriptions.unsubscribe,
    "tools/list": lambda _params, _context: {**tools.listed(), **protocol.cached()},
    "tools/call": tools.call,
}


def subscribe(call: Call, context: Context) -> HttpResponse:
    """Return the answer to events/subscribe, or let the web server look for it until it is there.

    By the database's time, as the worker has it: if this host's clock was ahead, the callback would be asked too late.
    """
    context = context._replace(now=sql.database_now())
    wait = waiting.enter(context.organization.pk, context.request.META)
    try:
        asked = subscriptions.subscribe(call.params, context)
        subscription_id = subscriptions.read_target(call.params).key(context).id
    except BaseException:
        wait.end()
        raise
    look = partial(verdict_as_json, wait, asked, subscription_id, call_id=call.id, headers=context.request.headers)
    return long_polls.answer(context.request.META, look)


def verdict_as_json(
    wait: Wait, asked: Asked, subscription_id: str, *, call_id: str | int | None, headers: Mapping[str, str]
) -> Found | None:
    """Return the answer to events/subscribe as JSON, or None while there is no verdict."""
    try:
        verdict = waiting.look(wait, asked)
        if verdict is None:
            return None
        result = protocol.in_terms_of(headers, SUBSCRIBE, waiting.answer_to(verdict, subscription_id))
        body = jsonrpc.result_of(call_id, result)
    except RpcError as error:
        body = jsonrpc.error_of(call_id, error)
    except (OperationalError, InterfaceError):
        # The verdict is in the database, which may be back in time.
        if not wait.is_over:
            return None
        unavailable = RpcError(jsonrpc.SERVER_ERROR, "The database is unavailable. Make the same call again.")
        body = jsonrpc.error_of(call_id, unavailable)
    except BaseException:
        wait.end()
        raise
    wait.end()
    return Found(compact_json.encode(body))


def rendered(body: Mapping[str, object], *, status: int = 200) -> HttpResponse:
    """Return a response of JSON."""
    return HttpResponse(compact_json.encode(body), status=status, content_type=JSON)


def require_own_origin(request: Request) -> None:
    """Raise a 403 for a page of another site: through a name that leads here, it could reach an inner server."""
    origin = request.headers.get("Origin")
    if origin is None:
        return
    parts = urlsplit(settings.HOOKHUB_PUBLIC_URL)
    here = {f"{parts.scheme}://{parts.netloc}", request.build_absolute_uri("/").removesuffix("/")}
    if origin not in {*here, *settings.CSRF_TRUSTED_ORIGINS}:
        raise PermissionDenied("Requests from pages of other sites are not accepted (Origin).")

"""The second factor: its secrets are encrypted, and pages wait for it where it is required."""

from collections.abc import Callable

from allauth.account.authentication import get_authentication_records
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from allauth.mfa.utils import is_mfa_enabled
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import redirect

from deliveries import vault
from deliveries.db.lookups import find_one

# Where people without a second factor may go: to get one, and to leave.
OPEN = ("account_", "mfa_", "socialaccount_")
SEALED = ("secret", "seed")


def keys() -> MultiFernet:
    """Return HookHub's keys, of which the first encrypts."""
    return MultiFernet([Fernet(key) for key in settings.HOOKHUB_ENCRYPTION_KEYS])


class SealedSecrets(DefaultMFAAdapter):  # type: ignore[misc] # allauth has no types
    """Encrypts what allauth stores of a second factor."""

    def encrypt(self, text: str) -> str:
        """Return a secret encrypted."""
        return keys().encrypt(text.encode()).decode()

    def decrypt(self, encrypted_text: str) -> str:
        """Return a secret decrypted."""
        return keys().decrypt(encrypted_text.encode()).decode()


def reencrypt_all() -> int:
    """Encrypt all secrets with the first key; return how many were not. Raise vault.Unreadable."""
    done = 0
    for pk in Authenticator.objects.order_by("pk").values_list("pk", flat=True):
        with transaction.atomic():
            found = find_one(Authenticator.objects.select_for_update(no_key=True).filter(pk=pk))
            stale = {name: found.data[name] for name in SEALED if is_stale(found.data.get(name))} if found else {}
            if found is None or not stale:
                continue
            try:
                found.data |= {name: keys().rotate(value.encode()).decode() for name, value in stale.items()}
            except InvalidToken as error:
                raise vault.Unreadable(f"the second factor of {found.user.get_username()}") from error
            found.save(update_fields=["data"])
            done += 1
    return done


def is_stale(value: str | None) -> bool:
    """Return whether there is a value that the first key does not open."""
    if value is None:
        return False
    try:
        Fernet(settings.HOOKHUB_ENCRYPTION_KEYS[0]).decrypt(value.encode())
    except InvalidToken:
        return True
    return False


class RequireSecondFactor:
    """Middleware that lets a person with a password but no second factor only set one up, if one is required.

    The provider of a single sign-on asks for its own.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Return the view's answer."""
        return self.get_response(request)

    def process_view(self, request: HttpRequest, *_: object) -> HttpResponse | None:
        """Lead to the form for a second factor, or refuse a program, unless nothing is missing."""
        if settings.HOOKHUB_TWO_FACTOR != "required" or not lacks_second_factor(request):
            return None
        name = request.resolver_match.url_name if request.resolver_match else None
        if (name or "").startswith(OPEN):
            return None
        if "text/html" in request.headers.get("Accept", ""):
            return redirect("mfa_activate_totp")
        return JsonResponse({"error": {"code": "second_factor_missing", "message": MISSING}}, status=403)


MISSING = "This login has no second factor yet, and one is required. Open HookHub in a browser to set it up."


def lacks_second_factor(request: HttpRequest) -> bool:
    """Return whether a session is that of a password alone. Only requests with a session are asked."""
    if settings.SESSION_COOKIE_NAME not in request.COOKIES or not request.user.is_authenticated:
        return False
    if any(record.get("method") == "socialaccount" for record in get_authentication_records(request, request.user)):
        return False
    # Without an app, allauth asks for no recovery code either.
    return not is_mfa_enabled(request.user, types=[Authenticator.Type.TOTP])

"""What the claims of a login give, by the rules of the settings."""

import subprocess
import sys
from typing import Any

import pytest

from hookhub.procfile import ROOT
from hookhub.service.sso import Rule, rules, two_factor
from hookhub.sso.claims import decide, values_of

# By label: the claims, the claim's path, and its values.
CLAIMS: dict[str, tuple[dict[str, Any], str, set[str]]] = {
    "a list": ({"groups": ["a", "b"]}, "groups", {"a", "b"}),
    "a text": ({"groups": "a b"}, "groups", {"a b"}),
    "inside of others": ({"realm_access": {"roles": ["a"]}}, "realm_access.roles", {"a"}),
    "a name with dots": ({"https://example.org/groups": ["a"]}, "https://example.org/groups", {"a"}),
    "none": ({}, "groups", set()),
    "none inside": ({"realm_access": []}, "realm_access.roles", set()),
    "of other types": ({"groups": [1, None, {"a": 1}, "a"]}, "groups", {"a"}),
    "a number": ({"groups": 5}, "groups", set()),
    "an object": ({"groups": {"a": True}}, "groups", set()),
}


@pytest.mark.parametrize(("claims", "path", "values"), CLAIMS.values(), ids=CLAIMS)
def test_the_values_of_a_claim_are_read(claims: dict[str, Any], path: str, values: set[str]) -> None:
    assert values_of(claims, path) == values


RULES = "all=acme:reader; leads=acme:owner; team=acme:manager; other=umbrella:reader"


@pytest.mark.parametrize(
    ("values", "roles"),
    [
        ({"all"}, {"acme": "reader", "umbrella": None}),
        ({"all", "leads", "team"}, {"acme": "owner", "umbrella": None}),
        ({"team", "all", "other"}, {"acme": "manager", "umbrella": "reader"}),
        ({"ALL", "lead"}, {"acme": None, "umbrella": None}),
        (set(), {"acme": None, "umbrella": None}),
    ],
)
def test_the_highest_of_several_roles_counts(values: set[str], roles: dict[str, str | None]) -> None:
    assert decide(frozenset(values), rules(RULES)) == (roles, None, None)


@pytest.mark.parametrize(
    ("text", "values", "is_staff", "is_superuser"),
    [
        ("", {"a"}, None, None),
        ("a=*:staff", {"a"}, True, None),
        ("a=*:staff", {"b"}, False, None),
        ("a=*:superuser", {"a"}, True, True),
        ("a=*:superuser", {"b"}, False, False),
        ("a=*:superuser; b=*:staff", {"b"}, True, False),
    ],
)
def test_flags_are_left_alone_unless_a_rule_is_about_them(
    text: str, values: set[str], *, is_staff: bool | None, is_superuser: bool | None
) -> None:
    assert decide(frozenset(values), rules(text)) == ({}, is_staff, is_superuser)


def test_a_value_may_have_any_sign_but_a_semicolon() -> None:
    assert rules("cn=a,ou=b=acme:reader;x y=acme:owner;") == (
        Rule("cn=a,ou=b", "acme", "reader"),
        Rule("x y", "acme", "owner"),
    )


@pytest.mark.parametrize(
    "text", ["acme:owner", "=acme:owner", "a=acme", "a=acme:boss", "a=:owner", "a=*:owner", "a=acme:superuser", "a"]
)
def test_a_rule_that_says_nothing_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="is not value=organization:role"):
        rules(text)


def test_the_second_factor_is_one_of_three() -> None:
    assert [two_factor(each) for each in ("off", "Optional", "required")] == ["off", "optional", "required"]
    with pytest.raises(ValueError, match="use one of"):
        two_factor("yes")


def outcome(code: str, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "/usr/bin:/bin", "DJANGO_SETTINGS_MODULE": "hookhub.service.settings", **settings}
    environment |= {"HOOKHUB_DEVELOPMENT": "0", "HOOKHUB_SECRET_KEY": "x", "DATABASE_URL": "postgresql:///x"}
    environment |= {"HOOKHUB_ENCRYPTION_KEYS": "bXktdGhpcnR5LXR3by1ieXRlLWxvbmcta2V5LTEyMzQ=", "REDIS_URL": "redis://x"}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_while_it_is_off_nothing_of_it_is_imported() -> None:
    listing = "[m for m in sys.modules if m.startswith(('allauth', 'hookhub.sso'))]"
    code = f"import sys, django; django.setup(); import hookhub.service.urls; print({listing})"

    assert outcome(code).stdout == "[]\n"


def test_no_page_of_the_admin_is_allauths_own() -> None:
    code = (
        "import django; django.setup(); import hookhub.service.urls; from django.contrib import admin; "
        "from hookhub.admin.base import OrganizationScoped as Ours; registry = admin.site._registry; "
        "print([model._meta.label for model, page in registry.items() if not isinstance(page, Ours)]); "
        "print(sorted(model._meta.label for model in registry if model._meta.app_label in ('mfa', 'socialaccount')))"
    )

    assert outcome(code, HOOKHUB_TWO_FACTOR="optional").stdout == (
        "[]\n['mfa.Authenticator', 'socialaccount.SocialAccount']\n"
    )


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"HOOKHUB_OIDC_ISSUER": "https://x"}, "HOOKHUB_OIDC_CLIENT_ID is not set"),
        ({"HOOKHUB_LOCAL_LOGIN": "0"}, "there would be no way to log in"),
        ({"HOOKHUB_TWO_FACTOR": "maybe"}, "HOOKHUB_TWO_FACTOR"),
        ({"HOOKHUB_OIDC_ROLES": "a=b:c"}, "HOOKHUB_OIDC_ROLES"),
    ],
)
def test_settings_that_cannot_work_are_refused_by_name(settings: dict[str, str], complaint: str) -> None:
    assert complaint in outcome("import django; django.setup()", **settings).stderr


def test_without_its_packages_it_says_what_to_install() -> None:
    done = outcome(
        "import sys; sys.modules['allauth'] = None; import django; django.setup()", HOOKHUB_TWO_FACTOR="optional"
    )

    assert "not installed: pip install 'hookhub[sso]'" in done.stderr

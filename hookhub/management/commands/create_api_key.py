"""``manage.py create_api_key``: creates an API key, and on request its organization."""

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import IntegrityError, transaction

from deliveries import audit, plain_text, timezone
from deliveries.formats import FORMATS
from deliveries.models import Organization
from deliveries.names import name_error
from deliveries.systems import DEFAULT, SYSTEMS
from hookhub.audited import audited
from hookhub.management import key_arguments
from hookhub.management.demos import LEFT_BY_A_DEMO
from hookhub.models import ApiKey, Scope

# The number of organizations that an error message lists.
MAX_SHOWN = 20


class Command(BaseCommand):
    """Create an API key and print it; it cannot be shown again."""

    help = (
        "Create an API key and print only the key on standard output: "
        "KEY=$(manage.py create_api_key --organization acme). It cannot be shown again; only a hash of it is stored."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument(
            "--organization",
            metavar="SLUG",
            help="the key's organization; optional if there is only one, besides those of `demo`",
        )
        parser.add_argument(
            "--operator", action="store_true", help="create an operator key, which is valid for every organization"
        )
        parser.add_argument(
            "--create-organization", action="store_true", help="create the organization if it does not exist"
        )
        parser.add_argument(
            "--dialect",
            choices=list(SYSTEMS),
            help="with --create-organization: the dialect of the organization; "
            + "; ".join(f"{slug}: {dialect.title}" for slug, dialect in SYSTEMS.items())
            + f" [{DEFAULT}]",
        )
        parser.add_argument(
            "--format",
            choices=list(FORMATS),
            help="with --create-organization: the default wire format [the dialect's]",
        )
        parser.add_argument(
            "--scope",
            choices=Scope.values,
            help="; ".join(f"{scope.value}: {scope.label}" for scope in Scope) + " [manage; with --operator: master]",
        )
        parser.add_argument("--name", default="", help="a description of what the key is for")
        expires = parser.add_mutually_exclusive_group()
        expires.add_argument(
            "--expires-in", type=int, metavar="DAYS", help="let the key expire after DAYS days [never]"
        )
        expires.add_argument(
            "--expires-at", metavar="TIME", help="let the key expire at TIME, for example 2027-01-31T12:00:00Z"
        )
        parser.add_argument(
            "--network", action="append", metavar="CIDR",
            help="allow the key only from this address or network; repeatable [anywhere]",
        )  # fmt: skip

    @audit.by_command("create_api_key")
    def handle(self, *_: Any, **options: Any) -> None:
        """Create the key and print it alone on standard output; messages go to standard error."""
        name = options["name"].strip()
        if len(name) > 200:
            raise CommandError("--name: must be at most 200 characters.")
        now = timezone.now()
        expires_at = key_arguments.expiry(days=options["expires_in"], at=options["expires_at"], now=now)
        allowed_networks = key_arguments.allowed_networks(options["network"] or [])
        if error := plain_text.error_in(name):
            raise CommandError(f"--name: {error}.")
        organization = self.organization_for(options)
        scope = Scope(options["scope"] or (Scope.MANAGE if organization else Scope.MASTER))
        whose = f"organization {organization.slug}" if organization else "every organization (operator key)"
        with transaction.atomic():
            text = ApiKey.issue(
                organization=organization,
                scope=scope,
                name=name,
                expires_at=expires_at,
                allowed_networks=allowed_networks,
                now=now,
            )[1]
            # A key that cannot be shown is not created.
            self.stdout.write(text)
            self.stdout.flush()
        self.tell(f"Created a key with scope {scope.value} ({scope.label}) for {whose}. It cannot be shown again.")

    def organization_for(self, options: dict[str, Any]) -> Organization | None:
        """Return the organization of the key, or None for an operator's key; raise CommandError."""
        slug = options["organization"]
        if not options["create_organization"] and (options["dialect"] or options["format"]):
            raise CommandError("--dialect and --format require --create-organization.")
        if options["operator"]:
            if slug or options["create_organization"]:
                raise CommandError("--operator cannot be combined with --organization or --create-organization.")
            return None
        if options["create_organization"]:
            if not slug:
                raise CommandError("--create-organization requires --organization SLUG.")
            return self.create(slug, dialect=options["dialect"], wire_format=options["format"])
        if slug:
            found = Organization.objects.filter(slug=slug).first() if plain_text.is_one_line(slug) else None
            if found is None:
                raise CommandError(
                    f"Organization {slug!r} does not exist. {those_there_are()} Use --create-organization to create it."
                )
            return found
        few = list(Organization.objects.exclude(slug__regex=LEFT_BY_A_DEMO).order_by("pk")[:2])
        if len(few) != 1:
            raise CommandError(f"Specify --organization SLUG or --operator. {those_there_are()}")
        return few[0]

    def create(self, slug: str, *, dialect: str | None, wire_format: str | None) -> Organization:
        """Create the organization, or return an existing one unchanged; raise CommandError."""
        try:
            Organization(slug=slug).full_clean(validate_unique=False, validate_constraints=False)
        except ValidationError as error:
            raise CommandError(f"--organization: {slug!r} is invalid. {' '.join(error.messages)}") from error
        is_there = Organization.objects.filter(slug=slug).exists()
        if not is_there and (taken := name_error(Organization(), slug)):
            raise CommandError(f"--organization: {slug} {taken}.")
        defaults = {"default_dialect": dialect or DEFAULT, "default_format": wire_format}
        try:
            with transaction.atomic():
                organization, is_new = Organization.objects.get_or_create(slug=slug, defaults=defaults)
                if is_new:
                    target, state = audited(organization)
                    audit.record("organization.created", target=target, after=state, now=timezone.now())
        except IntegrityError as error:
            raise CommandError(f"--organization: {slug} is already taken; choose another.") from error
        self.tell(f"Created organization {slug}." if is_new else f"Organization {slug} already exists.")
        return organization

    def tell(self, sentence: str) -> None:
        """Print a message on standard error."""
        self.stderr.write(sentence, self.style.NOTICE)


def those_there_are() -> str:
    """Return a sentence that lists the organizations, up to ``MAX_SHOWN`` of them."""
    slugs = list(Organization.objects.order_by("slug").values_list("slug", flat=True)[: MAX_SHOWN + 1])
    if not slugs:
        return "There are no organizations yet."
    return f"Existing organizations: {', '.join(slugs[:MAX_SHOWN])}{', …' if len(slugs) > MAX_SHOWN else ''}."

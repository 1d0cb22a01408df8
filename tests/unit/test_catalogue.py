"""Each system's documented event types: complete, consistent with their own examples, and immutable."""

import json

import pytest
from jsonschema import Draft202012Validator

from deliveries.event_types import catalogue
from deliveries.event_types.catalogue import Catalogue, EventType
from deliveries.event_types.catalogue.references import MAX_VALUES, BadReference, inlined
from deliveries.event_types.topics import is_type, topics_of
from deliveries.formats import FORMATS
from deliveries.systems import SYSTEMS
from tests.golden.messages import about

EVERY_TYPE = [(dialect, name) for dialect in SYSTEMS for name in catalogue.of(dialect).types]

DOCUMENTED = {
    "coregit": "push repo.created repo.deleted branch.created branch.deleted",
    "code-storage": "push repo.sync.started repo.sync.succeeded repo.sync.failed",
    "sigmagit": (
        "issues.opened issues.closed issues.reopened issues.edited issues.deleted pull_request.opened"
        " pull_request.closed pull_request.merged pull_request.reopened pull_request.edited push commit"
        " star.added star.removed fork.created"
    ),
    "codmir": (
        "ticket.created ticket.updated ticket.deleted ticket.status_changed ticket.assigned comment.created"
        " project.created member.added"
    ),
}


@pytest.mark.parametrize(("dialect", "names"), DOCUMENTED.items(), ids=DOCUMENTED)
def test_a_catalogue_has_exactly_the_types_of_its_system(dialect: str, names: str) -> None:
    assert list(catalogue.of(dialect).types) == names.split()


def test_github_sends_more_families_than_anybody_else() -> None:
    types = catalogue.of("social-gateway").types

    assert len(types) == 75
    assert all("." not in name for name in types)
    assert types["issues"].actions[:3] == ("assigned", "closed", "deleted")
    assert types["push"].actions == ()


@pytest.mark.parametrize(("dialect", "name"), EVERY_TYPE)
def test_every_example_satisfies_its_schema_and_gets_to_who_asks_for_its_type(dialect: str, name: str) -> None:
    entry = catalogue.of(dialect).types[name]

    Draft202012Validator.check_schema(entry.schema)
    faults = [error.message for error in Draft202012Validator(entry.schema).iter_errors(entry.example)]

    assert faults == []
    assert is_type(name)
    assert name in topics_of(name, entry.example)
    assert entry.description.endswith(".")
    assert len(entry.description) < 120
    assert "$ref" not in json.dumps(entry.schema)


@pytest.mark.parametrize(("dialect", "name"), EVERY_TYPE)
def test_no_schema_is_satisfied_by_just_anything(dialect: str, name: str) -> None:
    validator = Draft202012Validator(catalogue.of(dialect).types[name].schema)

    assert not validator.is_valid({})
    assert not validator.is_valid([])
    assert not validator.is_valid(None)


KNOWN = {
    "everything": ("coregit", "*", True),
    "a type": ("coregit", "branch.created", True),
    "a family where lists name types only": ("coregit", "branch", False),
    "a family": ("sigmagit", "issues", True),
    "a family of two words": ("code-storage", "repo.sync", True),
    "half a word": ("sigmagit", "issue", False),
    "a type and more": ("sigmagit", "issues.opened.twice", False),
    "another system's type": ("sigmagit", "ticket.created", False),
    "an action where lists name families only": ("social-gateway", "issues.opened", False),
    "a family that is a type": ("social-gateway", "issues", True),
    "a pattern": ("code-storage", "repo.sync.*", False),
    "nothing": ("codmir", "", False),
    "in capitals": ("codmir", "Ticket.Created", False),
}


@pytest.mark.parametrize(("dialect", "word", "is_known"), KNOWN.values(), ids=KNOWN)
def test_a_list_may_hold_the_words_of_its_system(dialect: str, word: str, *, is_known: bool) -> None:
    assert catalogue.of(dialect).knows(word) is is_known


@pytest.mark.parametrize("dialect", SYSTEMS)
def test_a_dialects_receivers_are_sent_a_wire_format_there_is(dialect: str) -> None:
    assert SYSTEMS[dialect].wire_format in FORMATS


@pytest.mark.parametrize("wire_format", FORMATS)
def test_every_example_can_be_sent_in_every_wire_format(wire_format: str) -> None:
    for dialect, name in EVERY_TYPE:
        entry = catalogue.of(dialect).types[name]
        for content_type in FORMATS[wire_format].content_types:
            rendered = FORMATS[wire_format].render(about(name, entry.example, content_type=content_type))
            assert rendered.body, (dialect, name)


FOUND = {
    "as written": ("sigmagit", "issues.opened", {}, "issues.opened"),
    "joined to its action": ("sigmagit", "issues", {"action": "opened"}, "issues.opened"),
    "with an action nobody documents": ("sigmagit", "issues", {"action": "sung"}, None),
    "a family without an action": ("sigmagit", "issues", {}, None),
    "a family with its action in the type": ("social-gateway", "issues.opened", {"action": "opened"}, "issues"),
    "a family with another action in the type": ("social-gateway", "issues.sung", {}, None),
    "not an object": ("social-gateway", "issues", ["action"], "issues"),
    "of no system": ("native", "ticket.created", {}, None),
}


@pytest.mark.parametrize(("dialect", "name", "data", "found"), FOUND.values(), ids=FOUND)
def test_an_event_is_found_however_its_publisher_spells_it(
    dialect: str, name: str, data: object, found: str | None
) -> None:
    entry = catalogue.of(dialect).find(name, data)

    assert (entry and entry.type) == found


def test_the_eight_errors_of_a_failed_sync_and_no_other() -> None:
    failed = catalogue.of("code-storage").types["repo.sync.failed"]
    validator = Draft202012Validator(failed.schema)
    errors = [
        "authentication failed", "failed to clone repository", "failed to push to storage",
        "repository configuration error", "upstream repository unreachable", "internal error", "session unavailable",
        "sync failed",
    ]  # fmt: skip

    assert failed.schema["properties"]["error"]["enum"] == errors
    assert all(validator.is_valid({**failed.example, "error": error}) for error in errors)
    assert not validator.is_valid({**failed.example, "error": "no idea"})
    started = Draft202012Validator(catalogue.of("code-storage").types["repo.sync.started"].schema)
    assert not started.is_valid(failed.example)


def test_what_one_reader_changes_no_other_reader_sees() -> None:
    entry = catalogue.of("sigmagit").types["push"]
    entry.schema["required"].clear()
    entry.example["ref"] = "changed"

    assert catalogue.of("sigmagit") is catalogue.of("sigmagit")
    assert entry.schema["required"][0] == "repository"
    assert entry.example["ref"] == "refs/heads/main"
    with pytest.raises(TypeError):
        catalogue.of("sigmagit").types["push"] = entry  # type: ignore[index]  # just that


def test_a_slug_that_is_no_dialects_is_an_error_that_names_them() -> None:
    with pytest.raises(LookupError, match="native, coregit, code-storage, sigmagit, social-gateway, codmir"):
        catalogue.of("../secrets")


def test_a_type_of_somebodys_own_may_have_neither_schema_nor_example() -> None:
    bare = EventType.of("widget.turned", "A widget turned.")

    assert (bare.family, bare.schema, bare.example, bare.actions) == ("widget", None, None, ())
    assert Catalogue("own", {bare.type: bare}, lists_families=True).knows("widget")


# References --------------------------------------------------------------------------------------------------------

A = {"type": "string"}
REPLACED = {
    "none": ({"properties": {"a": A}}, {"properties": {"a": A}}),
    "true": (True, True),
    "one": ({"$defs": {"a": A}, "items": {"$ref": "#/$defs/a"}}, {"items": A}),
    "of the older kind": ({"definitions": {"a": A}, "items": {"$ref": "#/definitions/a"}}, {"items": A}),
    "through another": (
        {"$defs": {"a": A, "b": {"items": {"$ref": "#/$defs/a"}}}, "not": {"$ref": "#/$defs/b"}},
        {"not": {"items": A}},
    ),
    "with more beside it": (
        {"$defs": {"a": A}, "not": {"$ref": "#/$defs/a", "maxLength": 3}},
        {"not": {"maxLength": 3, "allOf": [A]}},
    ),
    "a name with a slash": ({"$defs": {"a/b~": A}, "not": {"$ref": "#/$defs/a~1b~0"}}, {"not": A}),
    "a property of that name": ({"properties": {"$ref": A}}, {"properties": {"$ref": A}}),
}


@pytest.mark.parametrize(("schema", "replaced"), REPLACED.values(), ids=REPLACED)
def test_a_reference_is_replaced_by_what_it_refers_to(schema: object, replaced: object) -> None:
    assert inlined(schema) == replaced


REFUSED = {
    "over the network": ({"$ref": "http://127.0.0.1:1/schema"}, "refers to 'http://127.0.0.1:1/schema'"),
    "to a file": ({"items": {"$ref": "file:///etc/passwd"}}, "refers to 'file:///etc/passwd'"),
    "relative": ({"$ref": "other.json"}, "refers to 'other.json'"),
    "to the whole": ({"properties": {"a": {"$ref": "#"}}}, "refers to '#'"),
    "to what is not there": ({"$ref": "#/$defs/a"}, "refers to '#/$defs/a'"),
    "to itself": ({"$defs": {"a": {"not": {"$ref": "#/$defs/a"}}}, "$ref": "#/$defs/a"}, "is circular"),
    "in a circle": (
        {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
        "is circular",
    ),
    "to millions": (
        {
            "$defs": {
                "x0": A,
                **{f"x{n}": {"allOf": [{"$ref": f"#/$defs/x{n - 1}"}] * 10} for n in range(1, 8)},
            },
            "$ref": "#/$defs/x7",
        },
        f"more than {MAX_VALUES:,} values",
    ),
}


@pytest.mark.parametrize(("schema", "why"), REFUSED.values(), ids=REFUSED)
def test_a_reference_that_leads_elsewhere_or_nowhere_is_refused(schema: object, why: str) -> None:
    with pytest.raises(BadReference) as refused:
        inlined(schema)

    assert why in str(refused.value)

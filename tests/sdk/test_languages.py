"""The SDKs in other languages compile, and pass their own tests with the shared vectors."""

import re

from tests.partners import node
from tests.sdk import tools
from tests.sdk.tools import GO, GO_ENVIRONMENT, TYPESCRIPT, run


def test_typescript_compiles_and_passes_its_tests_and_all_vectors() -> None:
    tools.typescript()
    tests = sorted((TYPESCRIPT / "test").glob("*.test.mjs"))

    said = run(node.node(), "--test", "--test-reporter=tap", *tests, cwd=TYPESCRIPT)

    assert int(re.findall(r"^# pass (\d+)", said, re.MULTILINE)[0]) > 30
    assert re.findall(r"^# (?:skipped|todo) (\d+)", said, re.MULTILINE) == ["0", "0"]


def test_the_vectors_pass_where_the_web_crypto_api_is_only_in_a_module_as_in_node_18() -> None:
    tools.typescript()
    without = "data:text/javascript,delete globalThis.crypto"

    run(node.node(), "--import", without, "--test", TYPESCRIPT / "test" / "vectors.test.mjs", cwd=TYPESCRIPT)


def test_go_is_vetted_and_passes_its_tests_and_all_vectors() -> None:
    run(tools.go(), "vet", "./...", cwd=GO, **GO_ENVIRONMENT)
    said = run(tools.go(), "test", "-count=1", "-vet=off", "-v", "./...", cwd=GO, **GO_ENVIRONMENT)

    assert said.count("--- PASS: TestVectors/") > 500
    assert "--- SKIP" not in said


def test_what_the_go_module_needs_is_the_standard_library() -> None:
    listed = run(
        tools.go(), "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", cwd=GO, **GO_ENVIRONMENT
    )

    assert listed.split() == [tools.MODULE]


def test_what_the_npm_package_holds_is_compiled_code_that_needs_nothing() -> None:
    code = [path.read_text() for path in (tools.typescript() / "dist").glob("*.js")]
    imported = {name for text in code for name in re.findall(r'from "([^"]+)"', text)}

    assert all(name.startswith("./") for name in imported)
    assert "dependencies" not in (TYPESCRIPT / "package.json").read_text().replace("devDependencies", "")
    # Node 18 has the Web Crypto API only in a module; no other import is conditional.
    assert [re.findall(r"import\((.*?)\)", text) for text in code if "import(" in text] == [["name"]]

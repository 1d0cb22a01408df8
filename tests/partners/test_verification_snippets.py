"""The snippets of the portal accept real signed requests and refuse all others, in each language on this machine."""

import base64
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest

from deliveries.formats import FORMATS, Message
from deliveries.formats.policies import SecretPolicy
from hookhub.portal import snippets
from hookhub.portal.snippets import LANGUAGES, OF_WEBSUB, SCHEMES, Scheme
from tests.sdk.tools import GO_ENVIRONMENT

# Where its cache is empty, Go compiles its standard library first: seconds, and minutes on a busy machine.
PATIENCE = timedelta(minutes=10)


class Case(NamedTuple):
    """A request, the secret to verify it with, and whether that must succeed."""

    name: str
    scheme: Scheme
    secret: str
    headers: dict[str, str]
    body: bytes
    is_genuine: bool


def message(secrets: Sequence[str], *, sent_at: datetime, algorithm: str = "sha256") -> Message:
    return Message(
        delivery_id="019cb8b8-1e00-753a-a23d-b63dc6d7ef09", attempt=1, event_id="019cb8b8-1e00-753a-8f00-0a1b2c3d4e5f",
        event_type="push", payload='{"é": "ü\\n", "x": [1, 2]}\n'.encode(), occurred_at=sent_at, sent_at=sent_at,
        organization="acme", repository="widgets", webhook_id="019cb8b8-1e00-753a-8f00-000000000001",
        webhook_number=1, scope="repository", scope_number=1, content_type="form", secrets=tuple(secrets),
        subscription={"hub": "http://h/", "topic": "http://t/", "algorithm": algorithm},
    )  # fmt: skip


def schemes() -> Iterator[tuple[str, Scheme]]:
    yield from SCHEMES.items()
    yield from (("websub", scheme) for scheme in OF_WEBSUB.values())


def cases() -> list[Case]:
    found: list[Case] = []
    for slug, scheme in schemes():
        now, wire_format = datetime.now(UTC), FORMATS[slug]
        old, new, other = (wire_format.make_secret() for _ in range(3))

        def signed(
            *secrets: str, at: datetime = now, slug: str = slug, scheme: Scheme = scheme
        ) -> tuple[dict[str, str], bytes]:
            rendered = FORMATS[slug].render(message(secrets, sent_at=at, algorithm=scheme.algorithm))
            return dict(rendered.headers), rendered.body

        headers, body = signed(new)

        def add(
            name: str,
            is_genuine: bool,
            *,
            secret: str = new,
            headers: dict[str, str] = headers,
            body: bytes = body,
            slug: str = slug,
            scheme: Scheme = scheme,
        ) -> None:
            found.append(Case(f"{slug} {scheme.algorithm}: {name}", scheme, secret, headers, body, is_genuine))

        add("as sent", True)
        add("another body", False, body=body[:-1] + b"?")
        add("a newline more", False, body=body + b"\n")
        add("no body", False, body=b"")
        add("another secret", False, secret=other)
        for value in ("", "x", "v1,", "v1,AAAA", "sha256=", "sha256=00", "t=1", "t=,sha256=", "t=9,sha256=é", "é"):
            add(f"the signature {value!r}", False, headers={**headers, scheme.header: value})
        add("no signature", False, headers={k: v for k, v in headers.items() if k != scheme.header})
        if scheme.kind == "body-hmac":
            continue
        for age in (timedelta(hours=-1), timedelta(hours=1)):
            stale, body_then = signed(new, at=now - age)
            add(f"signed {age} ago", False, headers=stale, body=body_then)
        if scheme.kind == "standard-webhooks":
            both, _ = signed(new, old)
            add("while a secret is replaced", True, secret=old, headers=both)
            add("another id", False, headers={**headers, "webhook-id": "other"})
            for moment in ("", "now", "9" * 30, "-1"):
                add(f"the time {moment!r}", False, headers={**headers, "webhook-timestamp": moment})
    return found


def b64(text: str | bytes) -> str:
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


def names_of(found: Sequence[Case]) -> dict[Scheme, str]:
    return {scheme: f"s{place}" for place, scheme in enumerate(dict.fromkeys(case.scheme for case in found))}


def lines(found: Sequence[Case], names: dict[Scheme, str]) -> str:
    """Return the cases for a driver: scheme, secret, body and headers, in base64."""
    return "".join(
        f"{names[case.scheme]} {b64(case.secret)} {b64(case.body) or '-'} "
        + ",".join(f"{name}:{b64(value)}" for name, value in case.headers.items())
        + "\n"
        for case in found
    )


PYTHON = """
import base64, importlib, sys
for line in sys.stdin:
    scheme, secret, body, headers = line.split()
    pairs = (pair.split(":") for pair in headers.split(","))
    found = {name: base64.b64decode(value).decode() for name, value in pairs}
    verify = importlib.import_module(scheme).verify
    print(int(verify(base64.b64decode(secret).decode(), found, b"" if body == "-" else base64.b64decode(body))))
"""
JAVASCRIPT = """
import { readFileSync } from "node:fs";
const decoded = (text) => Buffer.from(text, "base64");
for (const line of readFileSync(0, "utf8").trim().split("\\n")) {
  const [scheme, secret, body, headers] = line.split(" ");
  const pairs = headers.split(",").map((pair) => pair.split(":"));
  const found = Object.fromEntries(pairs.map(([name, value]) => [name.toLowerCase(), decoded(value).toString()]));
  const { verify } = await import(`./${scheme}.mjs`);
  console.log(Number(verify(decoded(secret).toString(), found, body === "-" ? Buffer.alloc(0) : decoded(body))));
}
"""
RUBY = """
# Each in an object of its own; a constant would be the same for all of them.
loaded = Hash.new do |all, scheme|
  code = File.read("#{scheme}.rb").sub(/^TOLERANCE = (.*) #.*$/, "").gsub("TOLERANCE", "(5 * 60)")
  all[scheme] = Object.new.tap { |one| one.instance_eval(code) }
end
$stdin.each_line do |line|
  scheme, secret, body, headers = line.split
  found = headers.split(",").to_h do |pair|
    name, value = pair.split(":", 2)
    [name, value.unpack1("m").force_encoding("UTF-8")]
  end
  puts loaded[scheme].verify(secret.unpack1("m"), found, body == "-" ? "" : body.unpack1("m")) ? 1 : 0
end
"""
PHP = """<?php
foreach (glob('s*.php') as $file) { require $file; }
while (($line = fgets(STDIN)) !== false) {
    [$scheme, $secret, $body, $headers] = explode(' ', trim($line, "\\n"));
    $found = [];
    foreach (explode(',', $headers) as $pair) {
        [$name, $value] = explode(':', $pair);
        $found[strtolower($name)] = base64_decode($value);
    }
    echo (int) ("$scheme\\\\verify")(base64_decode($secret), $found, $body === '-' ? '' : base64_decode($body)), "\\n";
}
"""
GO = """package main

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"os"
	"strings"
IMPORTS)

var schemes = map[string]func(string, func(string) string, []byte) bool{TABLE}

func decoded(text string) []byte { found, _ := base64.StdEncoding.DecodeString(text); return found }

func main() {
	input := bufio.NewScanner(os.Stdin)
	for input.Scan() {
		parts := strings.Split(input.Text(), " ")
		headers := map[string]string{}
		for _, pair := range strings.Split(parts[3], ",") {
			name, value, _ := strings.Cut(pair, ":")
			headers[strings.ToLower(name)] = string(decoded(value))
		}
		get := func(name string) string { return headers[strings.ToLower(name)] }
		if schemes[parts[0]](string(decoded(parts[1])), get, decoded(strings.TrimPrefix(parts[2], "-"))) {
			fmt.Println(1)
		} else {
			fmt.Println(0)
		}
	}
}
"""
JAVA = """
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.*;
import java.util.function.UnaryOperator;

class Driver {
    interface Verify { boolean verify(String secret, UnaryOperator<String> header, byte[] body) throws Exception; }

    public static void main(String[] args) throws Exception {
        Map<String, Verify> schemes = new HashMap<>();
TABLE
        BufferedReader input = new BufferedReader(new InputStreamReader(System.in));
        for (String line; (line = input.readLine()) != null; ) {
            String[] parts = line.split(" ");
            Map<String, String> headers = new TreeMap<>(String.CASE_INSENSITIVE_ORDER);
            for (String pair : parts[3].split(",")) {
                String[] both = pair.split(":", 2);
                headers.put(both[0], new String(Base64.getDecoder().decode(both[1]), "UTF-8"));
            }
            byte[] body = parts[2].equals("-") ? new byte[0] : Base64.getDecoder().decode(parts[2]);
            String secret = new String(Base64.getDecoder().decode(parts[1]), "UTF-8");
            System.out.println(schemes.get(parts[0]).verify(secret, headers::get, body) ? 1 : 0);
        }
    }
}
"""
BASH = """
while read -r scheme secret body headers; do
  declare -A found=()
  for pair in ${headers//,/ }; do found[${pair%%:*}]=$(base64 -d <<<"${pair#*:}"); done
  if [[ $body == - ]]; then : > body; else base64 -d <<<"$body" > body; fi
  secret=$(base64 -d <<<"$secret")
  # Sourced, not started: a process for each would cost most of the time.
  . "./$scheme.sh"
  case $scheme in TABLE esac
done
"""


def run(command: Sequence[str], folder: Path, text: str) -> list[bool]:
    done = subprocess.run(
        command, cwd=folder, input=text, capture_output=True, text=True, timeout=PATIENCE.total_seconds(), check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [line == "1" for line in done.stdout.split()]


def tool(*names: str) -> list[str]:
    """Return the paths of programs; skip the test if one is missing."""
    missing = [name for name in names if shutil.which(name) is None]
    if missing:
        pytest.skip(f"{missing[0]} is not on this machine")
    return [str(shutil.which(name)) for name in names]


def check(language: str, folder: Path, command: Sequence[str], *, ending: str, driver: str = "") -> None:
    """Run the driver in ``folder`` with the snippets beside it; each verdict must be right."""
    found = cases()
    names = names_of(found)
    for scheme, name in names.items():
        text = snippets.snippets_of(scheme)[language]
        assert "__" not in text.replace("__SECRET__", ""), text
        (folder / f"{name}.{ending}").write_text(text)
    if driver:
        (folder / f"driver.{ending}").write_text(driver)
    verdict(found, run(command, folder, lines(found, names)))


def verdict(found: Sequence[Case], verdicts: Sequence[bool]) -> None:
    assert len(verdicts) == len(found)
    wrong = [case.name for case, is_accepted in zip(found, verdicts, strict=True) if is_accepted != case.is_genuine]
    assert wrong == []


def test_every_format_that_signs_has_a_scheme() -> None:
    signing = {slug for slug, each in FORMATS.items() if each.secret_policy is not SecretPolicy.NONE}

    assert signing == SCHEMES.keys() | {"websub"}
    for _, scheme in schemes():
        assert list(snippets.snippets_of(scheme)) == list(LANGUAGES)


def test_python(tmp_path: Path) -> None:
    check("python", tmp_path, [sys.executable, "driver.py"], ending="py", driver=PYTHON)


def test_javascript(tmp_path: Path) -> None:
    [node] = tool("node")
    check("javascript", tmp_path, [node, "driver.mjs"], ending="mjs", driver=JAVASCRIPT)


def test_ruby(tmp_path: Path) -> None:
    [ruby] = tool("ruby")
    check("ruby", tmp_path, [ruby, "driver.rb"], ending="rb", driver=RUBY)


def test_php(tmp_path: Path) -> None:
    [php] = tool("php")
    found = cases()
    names = names_of(found)
    for scheme, name in names.items():
        text = snippets.snippets_of(scheme)["php"]
        (tmp_path / f"{name}.php").write_text(text.replace("<?php", f"<?php\n\nnamespace {name};", 1))
    (tmp_path / "driver.php").write_text(PHP)
    verdict(found, run([php, "driver.php"], tmp_path, lines(found, names)))


def is_telling(case: Case) -> bool:
    named = ("as sent", "another body", "another secret", "no signature", "signed", "while")
    return case.name.partition(": ")[2].startswith(named)


def test_curl_and_openssl(tmp_path: Path) -> None:
    [bash, _] = tool("bash", "openssl")
    # Each takes a dozen processes, so there are fewer: one of each kind for each way of signing.
    found = list({(case.scheme, case.name.partition(": ")[2]): case for case in cases() if is_telling(case)}.values())
    names = names_of(found)
    calls = {
        "standard-webhooks": '"${found[webhook-id]}" "${found[webhook-timestamp]}" "${found[webhook-signature]}"',
        "code-storage": '"${found[X-Pierre-Signature]}"',
    }
    table = ""
    for scheme, name in names.items():
        (tmp_path / f"{name}.sh").write_text(snippets.snippets_of(scheme)["curl"])
        given = calls.get(scheme.kind, f'"${{found[{scheme.header}]}}"')
        table += f'{name}) verify "$secret" {given} body && echo 1 || echo 0;; '
    (tmp_path / "driver.sh").write_text(BASH.replace("TABLE", table))
    verdict(found, run([bash, "driver.sh"], tmp_path, lines(found, names)))


def test_go(tmp_path: Path) -> None:
    [go] = tool("go")
    found = cases()
    names = names_of(found)
    for scheme, name in names.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "webhook.go").write_text(snippets.snippets_of(scheme)["go"])
    imports = "".join(f'\t{name} "driver/{name}"\n' for name in names.values())
    table = ", ".join(f'"{name}": {name}.Verify' for name in names.values())
    (tmp_path / "main.go").write_text(GO.replace("IMPORTS", imports).replace("TABLE", table))
    (tmp_path / "go.mod").write_text("module driver\n\ngo 1.21\n")
    settings = [f"{name}={value}" for name, value in GO_ENVIRONMENT.items()]
    verdict(found, run(["env", *settings, go, "run", "."], tmp_path, lines(found, names)))


def test_java(tmp_path: Path) -> None:
    javac, java = tool("javac", "java")
    found = cases()
    names = names_of(found)
    table = ""
    for scheme, name in names.items():
        text = re.sub(r"\bclass Webhook\b", f"class {name}", snippets.snippets_of(scheme)["java"])
        (tmp_path / f"{name}.java").write_text(text)
        table += f'        schemes.put("{name}", {name}::verify);\n'
    (tmp_path / "Driver.java").write_text(JAVA.replace("TABLE", table))
    # Compilers and virtual machines of a moment: no time is spent on optimizing.
    quick = {"JAVA_TOOL_OPTIONS": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xshare:auto"}
    compiled = subprocess.run(
        [javac, "-encoding", "UTF-8", *[path.name for path in tmp_path.glob("*.java")]],
        cwd=tmp_path, env={**os.environ, **quick}, capture_output=True, text=True, check=False,
        timeout=PATIENCE.total_seconds(),
    )  # fmt: skip
    assert compiled.returncode == 0, compiled.stderr
    verdict(found, run([java, "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "Driver"], tmp_path, lines(found, names)))


def test_csharp(tmp_path: Path) -> None:
    """Compile with .NET or, where that is not, with Mono, whose compiler knows an older C#."""
    found = cases()
    names = names_of(found)
    for scheme, name in names.items():
        text = snippets.snippets_of(scheme)["csharp"].replace("static class Webhook", f"static class {name}")
        (tmp_path / f"{name}.cs").write_text(text)
    table = ", ".join(f'{{ "{name}", {name}.Verify }}' for name in names.values())
    (tmp_path / "Driver.cs").write_text(CSHARP.replace("TABLE", table))
    if dotnet := shutil.which("dotnet"):
        (tmp_path / "driver.csproj").write_text(PROJECT)
        command = [dotnet, "run"]
    else:
        mcs, mono = tool("mcs", "mono")
        sources = [path.name for path in tmp_path.glob("*.cs")]
        compiled = subprocess.run(
            [mcs, "-langversion:7", "-warnaserror", "-r:System.Core", "-out:driver.exe", *sources],
            cwd=tmp_path, capture_output=True, text=True, check=False, timeout=PATIENCE.total_seconds(),
        )  # fmt: skip
        assert compiled.returncode == 0, compiled.stdout + compiled.stderr
        command = [mono, "driver.exe"]
    verdict(found, run(command, tmp_path, lines(found, names)))


CSHARP = """
using System;
using System.Collections.Generic;
using System.Text;

static class Driver
{
    static string Decoded(string text)
    {
        return Encoding.UTF8.GetString(Convert.FromBase64String(text));
    }

    static void Main()
    {
        var schemes = new Dictionary<string, Func<string, Func<string, string>, byte[], bool>> { TABLE };
        for (string line; (line = Console.ReadLine()) != null;)
        {
            string[] parts = line.Split(' ');
            var headers = new Dictionary<string, string>(StringComparer.OrdinalIgnoreCase);
            foreach (string pair in parts[3].Split(','))
            {
                string[] both = pair.Split(new[] { ':' }, 2);
                headers[both[0]] = Decoded(both[1]);
            }
            byte[] body = parts[2] == "-" ? new byte[0] : Convert.FromBase64String(parts[2]);
            Func<string, string> header = name => headers.TryGetValue(name, out string value) ? value : null;
            Console.WriteLine(schemes[parts[0]](Decoded(parts[1]), header, body) ? 1 : 0);
        }
    }
}
"""
PROJECT = """
<Project Sdk="Microsoft.NET.Sdk">
  <PropertyGroup>
    <OutputType>Exe</OutputType><TargetFramework>net8.0</TargetFramework>
    <Nullable>disable</Nullable><TreatWarningsAsErrors>true</TreatWarningsAsErrors>
  </PropertyGroup>
</Project>
"""

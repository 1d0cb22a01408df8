"""Makes programs of what the SDKs' READMEs print after their first example, block after block.

Each publishes, is refused an invalid event, manages a webhook, and verifies the request in the variable SIGNED.
"""

import json
import re
import textwrap
from pathlib import Path

from tests.sdk.tools import GO, PYTHON, TYPESCRIPT

ADDRESS = "https://example.com/hooks"
BEFORE_PYTHON = """
import json, os
from types import SimpleNamespace
from hookhub_client import Client

hookhub = Client(os.environ["HOOKHUB_URL"], os.environ["HOOKHUB_API_KEY"])
orders = [{"id": 1}, {"id": 2}]
"""
AFTER_PYTHON = """
signed = json.loads(os.environ["SIGNED"])
genuine = SimpleNamespace(body=signed["body"].encode(), headers=signed["headers"])
assert receive(SimpleNamespace(body=b"{}", headers=signed["headers"])) == (401, "wrong_signature")
assert receive(genuine) is None
"""
BEFORE_TYPESCRIPT = """
import { HookHub } from "@hookhub/client";
import receiver from "./receiver.mjs";

const hookhub = new HookHub({ url: process.env.HOOKHUB_URL, apiKey: process.env.HOOKHUB_API_KEY });
const orders = [{ id: 1 }, { id: 2 }];
"""
AFTER_TYPESCRIPT = """
const { body, headers, secret } = JSON.parse(process.env.SIGNED);
const ask = (body) => receiver.fetch(
  new Request("https://receiver.example/", { method: "POST", body, headers }), { WEBHOOK_SECRET: secret },
);
const statuses = [(await ask("{}")).status, (await ask(body)).status];
if (statuses.join() !== "401,204") throw new Error(statuses.join());
"""
GO_PROGRAM = """
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"

	hookhub "github.com/hookhub/hookhub/sdk/go"
)

var (
	secrets []string
	jobs    = make(chan *hookhub.Received, 1)
	ctx     = context.Background()
	order   = map[string]int{"id": 42}
)

RECEIVE

func manage(client *hookhub.Client) error {
MANAGE
	return err
}

func main() {
	client, err := hookhub.New(os.Getenv("HOOKHUB_URL"), os.Getenv("HOOKHUB_API_KEY"))
	if err != nil {
		log.Fatal(err)
	}
PUBLISH
	_, err = client.Publish(ctx, hookhub.NewEvent{Type: "order paid"})
REFUSED
	if err := manage(client); err != nil {
		log.Fatal(err)
	}
	var signed struct {
		Body, Secret string
		Headers      map[string]string
	}
	if err := json.Unmarshal([]byte(os.Getenv("SIGNED")), &signed); err != nil {
		log.Fatal(err)
	}
	secrets = []string{signed.Secret}
	for body, expected := range map[string]int{"{}": 401, signed.Body: 204} {
		request, answer := httptest.NewRequest("POST", "/", strings.NewReader(body)), httptest.NewRecorder()
		for name, value := range signed.Headers {
			request.Header.Set(name, value)
		}
		receive(answer, request)
		if answer.Code != expected {
			log.Fatal(answer.Code)
		}
	}
	fmt.Println((<-jobs).ID)
}
"""


def later_blocks(sdk: Path, *, url: str) -> tuple[str, str, str, str]:
    """Return the blocks about publishing, errors, managing and verifying, with this address for webhooks."""
    text = (sdk / "README.md").read_text().replace(ADDRESS, url)
    # The READMEs name the same ids for events that are not the same bytes.
    _, *blocks = re.findall(
        r"^```\w+\n(.*?)^```$", text.replace("order-", f"{sdk.name}-order-"), re.DOTALL | re.MULTILINE
    )
    publish, refused, manage, verify = blocks
    return publish, refused, manage, verify


def python(*, url: str, secret: str) -> str:
    """Return the program in Python."""
    publish, refused, manage, verify = later_blocks(PYTHON, url=url)
    verify = verify.replace('"whsec_…"', json.dumps(secret))
    refused += 'else:\n    raise SystemExit("an invalid event was published")\n'
    receive = f"def receive(request):\n{textwrap.indent(verify, '    ')}"
    return f"{BEFORE_PYTHON}\n{publish}\n{refused}\n{manage}\n{receive}\n{AFTER_PYTHON}"


def typescript(*, url: str) -> dict[str, str]:
    """Return the program and the module of its receiver."""
    publish, refused, manage, verify = later_blocks(TYPESCRIPT, url=url)
    program = f"{BEFORE_TYPESCRIPT}\n{publish}\n{refused}\n{manage}\n{AFTER_TYPESCRIPT}"
    return {"readme.mjs": program, "receiver.mjs": verify}


def go(*, url: str) -> str:
    """Return the program in Go."""
    publish, refused, manage, verify = later_blocks(GO, url=url)
    parts = {"RECEIVE": verify, "MANAGE": manage, "PUBLISH": publish, "REFUSED": refused}
    return re.sub("|".join(parts), lambda found: parts[found[0]], GO_PROGRAM)

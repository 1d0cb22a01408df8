"""``manage.py post_receive``: git's post-receive hook on a host with HookHub, and its installer for other hosts."""

import os
import shlex
import sys
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from hookhub.git.checking import CheckResult, check, create
from hookhub.git.hook import flush, receive
from hookhub.git.install import Installed, InstallError, install
from hookhub.git.settings import NotConfigured
from hookhub.git.shapes import SHAPES
from hookhub.management import secret_files


class Command(BaseCommand):
    """Read a push from git on standard input, install the hook, or send the spool."""

    help = "Publish a git push to HookHub (run by git), install the hook in a repository, or send a repository's spool."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the modes of use and the settings."""
        use = parser.add_mutually_exclusive_group()
        use.add_argument("--install", metavar="REPO", help="write hooks/post-receive and hookhub.json into REPO")
        use.add_argument("--flush", metavar="REPO", help="send the events queued in REPO's spool now")
        use.add_argument(
            "--retry-rejected",
            metavar="REPO",
            help="requeue the events that HookHub rejected, and send them again",
        )
        parser.add_argument(
            "--foreground", action="store_true", help="wait briefly for the sender and print its result"
        )
        parser.add_argument("--url", help="with --install: HookHub's URL [HOOKHUB_URL]")
        parser.add_argument(
            "--api-key",
            help="with --install: the API key, which other users of this machine can see in the process list "
            "[HOOKHUB_API_KEY]",
        )
        parser.add_argument("--api-key-file", metavar="FILE", help="a file with the API key, - for standard input")
        parser.add_argument("--create", action="store_true", help="with --install: create the repository at HookHub")
        parser.add_argument("--repository", help="the repository's name at HookHub [the directory's name]")
        parser.add_argument("--html-url", help="the repository's web page, for links in payloads")
        parser.add_argument("--clone-url", help="the repository's clone URL, for payloads")
        parser.add_argument("--dialect", choices=list(SHAPES), help="the dialect of the events [native]")
        parser.add_argument("--repository-id", help="the repository's id, in dialects that have one [its name]")
        parser.add_argument(
            "--customer-id", help="the customer id, in the dialect code-storage [the owner in the name]"
        )
        parser.add_argument(
            "--python",
            default="/usr/bin/env python3",
            help="the git host's Python, 3.9 or later [/usr/bin/env python3]",
        )
        parser.add_argument(
            "--hook-name",
            default="post-receive",
            help="the file name of the hook, if your own hook calls it [post-receive]",
        )
        parser.add_argument(
            "--force", action="store_true", help="rename an existing hook to post-receive.before-hookhub"
        )

    def handle(self, *_: Any, **options: Any) -> None:
        """Run in the mode that the options select."""
        if options["install"]:
            self._install(options)
            return
        # Pass the options as the environment variables of the installed hook, so that settings are merged in one place.
        named = {"REPOSITORY": "repository", "HTML_URL": "html_url", "CLONE_URL": "clone_url", "DIALECT": "dialect"}
        named |= {"REPOSITORY_ID": "repository_id", "CUSTOMER_ID": "customer_id"}
        given = {f"HOOKHUB_{name}": options[option] for name, option in named.items() if options[option]}
        environment = {**os.environ, **given}
        if repository := options["flush"] or options["retry_rejected"]:
            again = options["retry_rejected"] is not None
            if flush(repository, environment=environment, report=self._print, retry_rejected=again):
                raise SystemExit(1)
            return
        foreground = options["foreground"] or os.environ.get("HOOKHUB_FOREGROUND", "0") not in ("", "0")
        receive(sys.stdin.buffer, environment=environment, foreground=foreground, report=self._print)

    def _install(self, options: dict[str, Any]) -> None:
        url = options["url"] or os.environ.get("HOOKHUB_URL")
        try:
            api_key = self._key(options)
            if not url or not api_key:
                raise CommandError("--install requires --url and --api-key-file (or HOOKHUB_URL and HOOKHUB_API_KEY).")
            installed = install(
                Path(options["install"]),
                url=url,
                api_key=api_key,
                name=options["repository"],
                html_url=options["html_url"],
                clone_url=options["clone_url"],
                dialect=options["dialect"],
                repository_id=options["repository_id"],
                customer_id=options["customer_id"],
                hook_name=options["hook_name"],
                interpreter=options["python"],
                force=options["force"],
            )
        except (InstallError, NotConfigured, OSError, UnicodeDecodeError) as problem:
            raise CommandError(str(problem)) from problem
        self.stdout.write(f"Installed {installed.hook}")
        self.stdout.write(f"Settings  {installed.settings}")
        if installed.backup:
            self.stdout.write(f"Renamed   the previous hook to {installed.backup}")
        if installed.note:
            self.stdout.write(f"Note      {installed.note}")
        # A timer runs it elsewhere.
        flushing = shlex.join([str(installed.hook), "--flush", str(Path(options["install"]).absolute())])
        self.stdout.write(f"To send queued events from a timer, run: {flushing}")
        self._report(installed, creates=options["create"])

    def _key(self, options: dict[str, Any]) -> str | None:
        """Return the API key from the file, the argument or the environment, or None; raise CommandError."""
        source = options["api_key_file"]
        if source:
            return secret_files.read(source, option="--api-key-file")
        return options["api_key"] or os.environ.get("HOOKHUB_API_KEY")

    def _report(self, installed: Installed, *, creates: bool) -> None:
        """Check the installation and print the result; on a failure the hook stays installed, and its pushes wait."""
        settings = installed.read_settings()
        results: list[CheckResult] = [create(settings)] if creates else []
        results.append(check(settings))
        for result in results:
            if result.is_ok:
                self.stdout.write(f"Checked   {result.message}")
            else:
                self.stderr.write(f"Warning   {result.message}")

    def _print(self, sentence: str) -> None:
        """Print one line for the pusher, which may have disconnected already."""
        try:
            self.stderr.write(f"hookhub: {' '.join(sentence.split())}")
        except OSError:
            return

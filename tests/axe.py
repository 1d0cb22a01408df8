"""Examines pages in Chromium with axe-core."""

from playwright.sync_api import Page

from tests.partners import node

SCRIPT = node.MODULES / "axe-core" / "axe.min.js"
# Of what passes, one example is enough, and nothing is needed to find it again. The whole report is 50 kB, and to hand
# that over takes as long as to examine a short page.
RUN = """async () => {
  const report = await axe.run({resultTypes: ["violations"], selectors: false});
  const serious = report.violations.filter(({impact}) => impact === "serious" || impact === "critical");
  return {passed: report.passes.length, serious: serious.map(({id, nodes}) => [id, nodes.map(({html}) => html)])};
}"""
# A rule, and the elements that break it.
Finding = tuple[str, list[str]]


def require() -> None:
    """Skip the test visibly if axe-core is missing, or fail on a build server."""
    node.require()


def examine_in(page: Page) -> None:
    """Let each document that is opened in this tab have axe-core, so that it is sent to the browser once.

    The tab's context has to bypass the pages' own policy for that.
    """
    page.add_init_script(path=SCRIPT)


def serious_findings(page: Page) -> list[Finding]:
    """Return what a page's visitors could stumble over."""
    report = page.evaluate(RUN)
    assert report["passed"], page.url
    return [(rule, spots) for rule, spots in report["serious"]]

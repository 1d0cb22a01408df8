"""Examines pages in Chromium with axe-core."""

from playwright.sync_api import Page

from tests.partners import node

SCRIPT = node.MODULES / "axe-core" / "axe.min.js"
# Of what passes, one example is enough, and nothing is needed to find it again. No rule needs files of the page.
RUN = """
(kinds) => {
  const options = {resultTypes: ["violations"], selectors: false, preload: false};
  const seldom = new Set(["wcag2aaa", "wcag22aa", "experimental", "deprecated"]);
  // By their kinds, also rules are found that do not run unless they are asked for.
  const rules = axe.getRules(kinds).filter(({tags}) => !tags.some((tag) => seldom.has(tag)));
  return axe.run(kinds.length ? {...options, runOnly: rules.map(({ruleId}) => ruleId)} : options);
}
"""
# The kinds of rules whose outcome depends on a page's colors, and on its language too, in which a text may be missing.
OF_COLORS = ("cat.color",)
OF_TEXTS = (*OF_COLORS, "cat.language", "cat.text-alternatives", "cat.forms", "cat.name-role-value")
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


def serious_findings(page: Page, *, kinds: tuple[str, ...] = ()) -> list[Finding]:
    """Return what a page's visitors could stumble over, by all rules or by those of some kinds."""
    report = page.evaluate(RUN, list(kinds))
    assert report["passes"], page.url
    return [
        (each["id"], [spot["html"] for spot in each["nodes"]])
        for each in report["violations"]
        if each["impact"] in {"serious", "critical"}
    ]

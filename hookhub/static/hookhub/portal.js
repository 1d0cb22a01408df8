// What the pages of the portal do beyond htmx. Every page works without this file, except that it shows times in UTC,
// stays as it was when it was loaded, and says nothing to a page that embeds it.
"use strict";

// Times, in the viewer's time zone unless the session has one.
function localize(root) {
  if (document.documentElement.dataset.zone) return;
  const format = new Intl.DateTimeFormat(document.documentElement.lang, { dateStyle: "medium", timeStyle: "long" });
  for (const time of root.querySelectorAll("time[datetime]")) {
    const text = format.format(new Date(time.dateTime));
    if (time.title) time.title = text;
    else time.textContent = text;
  }
}

// To the page that embeds this one: that the session has ended, so that it can ask for another link, and how high the
// page is. Neither is a secret, and whoever embeds it may be told.
function say(message) {
  if (window.parent !== window) window.parent.postMessage({ source: "hookhub-portal", ...message }, "*");
}

function sayHeight() {
  say({ type: "resized", height: document.documentElement.scrollHeight });
}

// A region is not refreshed while nobody sees it, or while its reader works in it.
function isInUse(region) {
  return document.hidden || region.contains(document.activeElement) || region.querySelector("input:checked, details[open] pre:hover") !== null;
}

// A file chooser that writes the file as a data: URL into a text field, because forms here send no files.
function addFileChooser(field) {
  const chooser = document.createElement("input");
  chooser.type = "file";
  chooser.accept = field.dataset.accepts;
  chooser.setAttribute("aria-label", field.dataset.chooser);
  chooser.addEventListener("change", () => {
    const reader = new FileReader();
    reader.addEventListener("load", () => { field.value = reader.result; });
    if (chooser.files.length) reader.readAsDataURL(chooser.files[0]);
  });
  field.before(chooser);
}

document.addEventListener("DOMContentLoaded", () => {
  localize(document);
  if (document.body.dataset.says) say({ type: document.body.dataset.says });
  document.querySelectorAll("textarea[data-accepts]").forEach(addFileChooser);
  new ResizeObserver(sayHeight).observe(document.body);
  document.body.addEventListener("htmx:beforeRequest", (event) => {
    if (isInUse(event.detail.elt)) event.preventDefault();
  });
  document.body.addEventListener("htmx:afterSettle", (event) => localize(event.target));
  document.body.addEventListener("htmx:responseError", (event) => {
    // The session has ended: the page says so, and what to do.
    if (event.detail.xhr.status === 401) window.location.reload();
  });
});

// Keys, ids on the clipboard, and what is said aloud.
"use strict";

function say(text) {
  document.getElementById("said").textContent = text;
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy-ids]");
  if (!button) return;
  const list = button.closest("form");
  const chosen = list.querySelectorAll("input[name=id]:checked");
  const boxes = chosen.length ? chosen : list.querySelectorAll("input[name=id]");
  const ids = Array.from(boxes, (box) => box.value).join("\n");
  try {
    await navigator.clipboard.writeText(ids);
    say(`${boxes.length} ✓`);
  } catch {
    say(ids);
  }
});

// What was typed goes along.
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-typed]");
  if (!link) return;
  const name = link.dataset.typed, url = new URL(link.href);
  url.searchParams.set(name, link.closest("form").elements[name].value);
  link.href = url;
});

document.addEventListener("keydown", (event) => {
  if (event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.closest("input, textarea, select");
  if (typing) {
    if (event.key === "Escape") typing.blur();
    return;
  }
  const key = event.key === "/" ? document.getElementById("q") : document.querySelector(`[data-key="${CSS.escape(event.key)}"]`);
  if (!key) return;
  event.preventDefault();
  if (key.matches("button, a")) key.click();
  else key.focus();
});

// What cannot be answered is shown where the answer would be.
document.addEventListener("htmx:beforeSwap", (event) => {
  if (event.detail.xhr.status >= 400 && event.detail.xhr.getResponseHeader("content-type")?.startsWith("text/html")) {
    event.detail.shouldSwap = true;
    event.detail.isError = false;
  }
});
document.addEventListener("htmx:sendError", () => say("✗"));

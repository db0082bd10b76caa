// A number's mean, interval and n: for the pointer, for touch, and for the keyboard, which walks a table with the arrow
// keys from a single stop. Screen readers read the same words in the cell itself.
"use strict";
(function () {
  const tip = document.createElement("div");
  tip.id = "tip";
  tip.hidden = true;
  tip.setAttribute("aria-hidden", "true");
  document.body.append(tip);
  let shown = null;

  function show(cell) {
    const words = cell.querySelector(".tip");
    if (!words) return hide();
    tip.replaceChildren(...[...words.children].map((line) => {
      const copy = document.createElement("span");
      copy.textContent = line.textContent.replace(/; $/, "");
      return copy;
    }));
    tip.hidden = false;
    shown = cell;
    const place = cell.getBoundingClientRect();
    const size = tip.getBoundingClientRect();
    const below = place.bottom + 4;
    const top = below + size.height > window.innerHeight ? place.top - size.height - 4 : below;
    const left = Math.min(place.right - size.width, window.innerWidth - size.width - 8);
    tip.style.top = Math.max(4, top) + "px";
    tip.style.left = Math.max(8, left) + "px";
    return undefined;
  }

  function hide() {
    tip.hidden = true;
    shown = null;
  }

  function visible(table) {
    return [...table.tBodies[0].rows].filter((row) => !row.hidden);
  }

  function move(table, cell, key) {
    const rows = visible(table);
    const row = rows.indexOf(cell.parentElement);
    const column = cell.cellIndex;
    const last = cell.parentElement.cells.length - 1;
    const to = {
      ArrowLeft: [row, column - 1], ArrowRight: [row, column + 1], ArrowUp: [row - 1, column],
      ArrowDown: [row + 1, column], Home: [row, 0], End: [row, last],
    }[key];
    return to && rows[to[0]] && rows[to[0]].cells[to[1]];
  }

  function enter(table, cell) {
    for (const old of table.querySelectorAll('tbody [tabindex="0"]')) old.tabIndex = -1;
    cell.tabIndex = 0;
  }

  for (const table of document.querySelectorAll(".board table")) {
    table.setAttribute("role", "grid");
    const body = table.tBodies[0];
    for (const cell of body.querySelectorAll("td, th")) cell.tabIndex = -1;
    for (const link of body.querySelectorAll("a")) link.tabIndex = -1; // Enter in its cell follows it
    const first = body.querySelector("td");
    if (first) first.tabIndex = 0;

    body.addEventListener("mouseover", (event) => {
      const cell = event.target.closest("td, th");
      if (cell) show(cell);
    });
    body.addEventListener("mouseleave", hide);
    body.addEventListener("focusin", (event) => {
      const cell = event.target.closest("td, th");
      enter(table, cell);
      show(cell);
    });
    body.addEventListener("focusout", hide);
    body.addEventListener("click", (event) => {
      const cell = event.target.closest("td, th");
      if (cell && !event.target.closest("a")) cell.focus();
    });
    body.addEventListener("keydown", (event) => {
      const cell = event.target.closest("td, th");
      const next = move(table, cell, event.key);
      if (next) {
        event.preventDefault();
        next.focus();
        next.scrollIntoView({ block: "nearest", inline: "nearest" });
        show(next);
      } else if (event.key === "Enter" && cell.querySelector("a")) {
        cell.querySelector("a").click();
      }
    });
  }
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
  document.addEventListener("scroll", () => { if (shown && !shown.matches(":focus")) hide(); }, true);
})();

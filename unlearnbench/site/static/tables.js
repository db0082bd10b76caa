// Tables sort by their heads and filter by the fields above them. Both are kept in the address behind the #, the only
// part of it that a page opened from a disk may change: #method=crfu&tier=same&sort.board-membership=auc.desc
"use strict";
(function () {
  const boards = [...document.querySelectorAll(".board table")];
  const fields = [...document.querySelectorAll("[data-filter]")];
  const panel = document.getElementById("filters");
  const orders = new Map(); // table -> {key, down}
  const original = new Map(boards.map((table) => [table, [...table.tBodies[0].rows]]));

  // --- the address ---

  function read() {
    const text = window.location.hash.slice(1);
    return new URLSearchParams(text.includes("=") ? text : "");
  }

  function write() {
    const state = new URLSearchParams();
    for (const field of fields) if (field.value) state.set(field.dataset.filter, field.value);
    for (const [table, order] of orders) state.set("sort." + table.id, order.key + (order.down ? ".desc" : ".asc"));
    const text = state.toString();
    const bare = window.location.href.split("#")[0];
    window.history.replaceState(null, "", text ? bare + "#" + text : bare + "#");
  }

  function apply() {
    const state = read();
    for (const field of fields) {
      const wanted = state.get(field.dataset.filter) || "";
      const known = field.tagName !== "SELECT" || [...field.options].some((option) => option.value === wanted);
      field.value = known ? wanted : "";
    }
    orders.clear();
    for (const table of boards) {
      const [key, way] = (state.get("sort." + table.id) || "").split(/\.(?=asc$|desc$)/);
      if (key && head(table, key)) orders.set(table, { key, down: way === "desc" });
      sort(table);
    }
    filter();
  }

  // --- filtering ---

  function fits(row, wanted) {
    return wanted.every(([name, value]) => {
      if (name === "text") return row.textContent.toLowerCase().includes(value.toLowerCase());
      const own = row.getAttribute("data-" + name);
      if (own === null && row.classList.contains("every")) return true;
      return own === null ? name === "method" && row.closest("table").querySelector("th[data-of]") !== null : own === value;
    });
  }

  function filter() {
    const wanted = fields.filter((field) => field.value).map((field) => [field.dataset.filter, field.value]);
    let shown = 0;
    let all = 0;
    for (const table of boards) {
      let some = false;
      for (const row of original.get(table)) {
        row.hidden = !fits(row, wanted);
        some = some || !(row.hidden || row.classList.contains("every"));
        if (table.id !== "glance") { all += 1; shown += row.hidden ? 0 : 1; }
      }
      table.closest(".board").hidden = !some;
      columns(table, (wanted.find(([name]) => name === "method") || [])[1]);
    }
    const status = document.getElementById("shown");
    if (status) status.textContent = wanted.length ? shown + " of " + all + " rows" : all + " rows";
  }

  // Where methods are columns, a chosen method hides the others.
  function columns(table, method) {
    for (const each of table.querySelectorAll("th[data-of]")) {
      const out = method !== undefined && each.dataset.of !== method;
      each.hidden = out;
      for (const row of original.get(table)) row.cells[Number(each.dataset.column)].hidden = out;
    }
  }

  // --- sorting ---

  function head(table, key) {
    return [...table.querySelectorAll("th[data-key]")].find((each) => each.dataset.key === key);
  }

  function compare(first, second, down) {
    if (first === null || second === null) return (first === null) - (second === null); // what is missing stays last
    const numbers = [Number(first), Number(second)];
    const order = numbers.some(Number.isNaN) ? first.localeCompare(second, "en", { numeric: true }) : numbers[0] - numbers[1];
    return down ? -order : order;
  }

  function sort(table) {
    const order = orders.get(table);
    let rows = original.get(table);
    for (const each of table.querySelectorAll("th[data-key]")) each.setAttribute("aria-sort", "none");
    if (order) {
      const at = head(table, order.key);
      at.setAttribute("aria-sort", order.down ? "descending" : "ascending");
      const column = Number(at.dataset.column);
      const value = (row) => row.cells[column].getAttribute("data-value");
      rows = [...rows].sort((a, b) => compare(value(a), value(b), order.down));
    }
    table.tBodies[0].append(...rows);
  }

  function press(table, key) {
    const order = orders.get(table);
    if (!order || order.key !== key) orders.set(table, { key, down: false });
    else if (!order.down) orders.set(table, { key, down: true });
    else orders.delete(table); // the third time: as it was
    sort(table);
    write();
  }

  // --- setting up ---

  for (const table of boards) {
    for (const each of table.querySelectorAll("th[data-key]")) {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...each.childNodes);
      each.append(button);
      button.addEventListener("click", () => press(table, each.dataset.key));
    }
  }
  for (const field of fields) field.addEventListener("input", () => { filter(); write(); });
  if (panel) {
    panel.hidden = false;
    document.getElementById("reset").addEventListener("click", () => {
      for (const field of fields) field.value = "";
      orders.clear();
      boards.forEach(sort);
      filter();
      write();
    });
  }
  // A link within the page would replace what is kept in the address.
  for (const link of document.querySelectorAll('a[href^="#"]')) {
    link.addEventListener("click", (event) => {
      const target = document.getElementById(link.getAttribute("href").slice(1));
      if (!target) return;
      event.preventDefault();
      target.scrollIntoView();
      target.focus();
    });
  }
  window.addEventListener("hashchange", apply);
  apply();
})();

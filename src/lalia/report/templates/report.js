"use strict";
// Tables sort by a click on a heading and are filtered by what is typed; without this script they stand as they are.
(() => {
  const LONG = 8;

  const text = (row, column) => {
    const cell = row.cells[column];
    return cell && cell.firstChild ? cell.firstChild.textContent.trim() : "";
  };
  const whole = (row, column) => (row.cells[column] ? row.cells[column].textContent.trim() : "");
  const number = (value) => {
    const plain = value.replace("\u2212", "-").replace(/,/g, "").replace(/^< /, "");
    return /^-?[0-9.]+$/.test(plain) ? parseFloat(plain) : NaN;
  };

  // numbers by size, before words by the alphabet; what is empty or undefined comes last, whichever way
  const compare = (a, b, column, way) => {
    const [x, y] = [text(a, column), text(b, column)];
    const [hasX, hasY] = [x !== "" && x !== "\u2013", y !== "" && y !== "\u2013"];
    if (!hasX || !hasY) return hasY - hasX;
    const [m, n] = [number(x), number(y)];
    if (!isNaN(m) && !isNaN(n)) return way * (m - n);
    if (!isNaN(m) || !isNaN(n)) return way * (isNaN(m) - isNaN(n));
    return way * whole(a, column).localeCompare(whole(b, column), undefined, { numeric: true });
  };

  const dataRows = (body) => [...body.rows].filter((row) => !row.classList.contains("name"));

  const addSorting = (table) => {
    const original = [...table.tBodies].map(dataRows);
    const headings = [...table.tHead.rows[0].cells];
    headings.forEach((heading, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...heading.childNodes);
      if (!button.textContent.trim()) button.textContent = "Name";
      heading.append(button);
      button.addEventListener("click", () => {
        const before = heading.getAttribute("aria-sort");
        const after = { null: "ascending", ascending: "descending", descending: null }[before];
        headings.forEach((other) => other.removeAttribute("aria-sort"));
        if (after) heading.setAttribute("aria-sort", after);
        const way = after === "descending" ? -1 : 1;
        [...table.tBodies].forEach((body, place) => {
          const rows = [...original[place]];
          if (after) rows.sort((a, b) => compare(a, b, column, way));
          body.append(...rows);
        });
      });
    });
  };

  const addFilter = (table, region) => {
    const rows = [...table.tBodies].flatMap(dataRows);
    if (rows.length < LONG) return;
    const tools = document.createElement("div");
    tools.className = "tools";
    const label = document.createElement("label");
    const input = document.createElement("input");
    input.type = "search";
    input.setAttribute("aria-label", "Filter: " + region.getAttribute("aria-label"));
    label.append("Filter", input);
    const count = document.createElement("output");
    count.setAttribute("aria-live", "polite");
    tools.append(label, count);
    region.before(tools);
    input.addEventListener("input", () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const body of table.tBodies) {
        const name = body.querySelector("tr.name");
        const about = name ? name.textContent.toLowerCase() + " " : "";
        let here = 0;
        for (const row of dataRows(body)) {
          const said = about + row.textContent.toLowerCase();
          row.hidden = !words.every((word) => said.includes(word));
          here += !row.hidden;
        }
        body.hidden = here === 0;
        shown += here;
      }
      count.textContent = words.length ? shown + " of " + rows.length + " rows" : "";
    });
  };

  // paper shows what is folded away
  addEventListener("beforeprint", () => {
    for (const details of document.querySelectorAll("details:not([open])")) {
      details.open = true;
      addEventListener("afterprint", () => (details.open = false), { once: true });
    }
  });

  for (const table of document.querySelectorAll("table[data-tools]")) {
    addSorting(table);
    addFilter(table, table.closest(".scroll"));
  }
})();

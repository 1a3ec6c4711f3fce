"use strict";
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  const key = (row, column) => {
    const cell = row.cells[column];
    return "v" in cell.dataset ? Number(cell.dataset.v) : cell.textContent.trim();
  };
  heads.forEach((head, column) => {
    const button = head.querySelector("button");
    if (!button) return;
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") !== "descending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const rows = [...body.rows].map((row) => [key(row, column), row]);
      rows.sort(([one], [other]) => {
        const order = typeof one === "number" ? one - other : one.localeCompare(other);
        return down ? -order : order;
      });
      body.append(...rows.map(([, row]) => row));
      table.dispatchEvent(new Event("sorted"));
    });
  });
}

for (const finder of document.querySelectorAll(".finder")) {
  const table = document.getElementById(finder.dataset.table);
  const [search, kind, more, count] = ["search", "kind", "more", "count"].map((name) => finder.querySelector("." + name));
  const total = table.tBodies[0].rows.length;
  let limit = Number(finder.dataset.first);
  const update = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let found = 0;
    for (const row of table.tBodies[0].rows) {
      const text = row.textContent.toLowerCase();
      const fits = (!kind.value || row.dataset.kind === kind.value) && words.every((word) => text.includes(word));
      row.hidden = !fits || ++found > limit;
    }
    more.hidden = found <= limit;
    more.textContent = `Show all ${found}`;
    count.textContent = `${Math.min(found, limit)} of ${total} shown`;
  };
  search.addEventListener("input", update);
  kind.addEventListener("change", update);
  more.addEventListener("click", () => { limit = Infinity; update(); });
  table.addEventListener("sorted", update);
  finder.hidden = false;
  update();
}

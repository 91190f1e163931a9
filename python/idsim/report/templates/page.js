"use strict";
// Sorting, filtering and showing of faces. The page is complete without it.
(() => {
  const all = (selector, place = document) => Array.from(place.querySelectorAll(selector));

  // --- tables: a button in every heading; numbers start with the largest, text from A to Z
  const sortBy = (heading) => {
    const table = heading.closest("table");
    const place = heading.cellIndex;
    const body = table.tBodies[0];
    const rows = Array.from(body.rows).map((row, order) => {
      const cell = row.cells[place];
      const value = cell.dataset.value;
      return { row, order, value: value === undefined ? null : Number(value), text: cell.textContent.trim() };
    });
    const numeric = heading.classList.contains("number");
    const before = heading.getAttribute("aria-sort");
    const next = before === "none" ? (numeric ? "descending" : "ascending")
      : before === "ascending" ? "descending" : "ascending";
    const sign = next === "ascending" ? 1 : -1;
    rows.sort((a, b) => {
      if (numeric) {
        if (a.value === null || b.value === null) {
          return (a.value === null) - (b.value === null) || a.order - b.order; // what has no number comes last
        }
        return sign * (a.value - b.value) || a.order - b.order;
      }
      return sign * a.text.localeCompare(b.text, "en", { numeric: true }) || a.order - b.order;
    });
    all("th[aria-sort]", table.tHead).forEach((other) => other.setAttribute("aria-sort", "none"));
    heading.setAttribute("aria-sort", next);
    body.append(...rows.map((entry) => entry.row));
  };
  all("table[data-sortable] th[aria-sort] button").forEach((button) => {
    button.addEventListener("click", () => sortBy(button.closest("th")));
  });

  // --- pairs of one matcher, or of all
  all("select.filter").forEach((choice) => {
    const section = choice.closest("section");
    const rows = all("table.pairs tbody tr", section);
    const needed = choice.options.length - 2;
    choice.addEventListener("change", () => {
      let shown = 0;
      for (const row of rows) {
        const found = row.dataset.found.split(" ").filter(Boolean);
        row.hidden = choice.value === "all" ? found.length < needed
          : choice.value !== "" && !found.includes(choice.value);
        shown += row.hidden ? 0 : 1;
      }
      section.querySelector("output.shown").textContent = `${shown} of ${rows.length} pairs`;
    });
  });

  // --- faces, where the file holds them: one by one, or all
  const show = (button, shown) => {
    button.setAttribute("aria-pressed", String(shown));
    const label = button.getAttribute("aria-label");
    button.setAttribute("aria-label", label.replace(/^(Show|Blur): /, shown ? "Blur: " : "Show: "));
  };
  all("button.face").forEach((button) => {
    button.addEventListener("click", () => show(button, button.getAttribute("aria-pressed") !== "true"));
  });
  const switches = all("button.all-faces");
  switches.forEach((button) => {
    button.addEventListener("click", () => {
      const shown = button.getAttribute("aria-pressed") !== "true";
      all("button.face").forEach((face) => show(face, shown));
      switches.forEach((other) => {
        other.setAttribute("aria-pressed", String(shown));
        other.textContent = shown ? "Blur all faces" : "Show all faces";
      });
    });
  });

  // --- paper has nothing to unfold
  let unfolded = [];
  window.addEventListener("beforeprint", () => {
    unfolded = all("details:not([open])");
    unfolded.forEach((details) => { details.open = true; });
  });
  window.addEventListener("afterprint", () => {
    unfolded.forEach((details) => { details.open = false; });
  });
})();

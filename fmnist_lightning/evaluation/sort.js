// Sorts a table by a click on the heading of a column: its groups (tbody) by their first rows, then the other rows of
// each group. Cells without text stay last.
for (const table of document.querySelectorAll("table.sortable")) {
  const headings = [...table.tHead.rows[0].cells]
  headings.forEach((heading, column) => heading.querySelector("button").addEventListener("click", () => {
    const sign = heading.getAttribute("aria-sort") === "ascending" ? -1 : 1
    headings.forEach(each => each.removeAttribute("aria-sort"))
    heading.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending")
    const key = row => {
      const text = (row.cells[column].querySelector("a") ?? row.cells[column]).textContent.trim()
      return /^[-+]?\.?\d/.test(text) ? parseFloat(text) : text
    }
    const compare = (a, b) => {
      const [x, y] = [key(a), key(b)]
      if (x === "" || y === "") return (x === "") - (y === "")
      if (typeof x !== typeof y) return typeof x === "number" ? -1 : 1
      return sign * (x < y ? -1 : x > y ? 1 : 0)
    }
    for (const group of [...table.tBodies].sort((a, b) => compare(a.rows[0], b.rows[0]))) {
      const [first, ...others] = group.rows
      group.append(first, ...others.sort(compare))
      table.append(group)
    }
  }))
}

// Agents in rows: sorted, searched, a page at a time. Private columns come only when asked for.

import { colour, number, titleOf } from "./data.js";
import { STATES } from "./states.js";

const ROWS = 20;

export class Table {
  constructor(card, run, data, choose) {
    Object.assign(this, { card, run, data, choose });
    this.head = card.querySelector("thead");
    this.body = card.querySelector("tbody");
    this.find = card.querySelector("#find");
    this.page = 0;
    this.sort = { key: "agent", down: false };
    this.own = null; // agent -> its utility, once asked for
    this.degrees = new Array(run.ids.length).fill(0);
    for (const [i, j] of run.links) [this.degrees[i], this.degrees[j]] = [this.degrees[i] + 1, this.degrees[j] + 1];
    card.querySelector("#before").addEventListener("click", () => this.turn(-1));
    card.querySelector("#after").addEventListener("click", () => this.turn(1));
    this.find.addEventListener("input", () => this.turn(-this.page));
    this.cells = new Map();
  }

  turn(pages) {
    this.page += pages;
    this.draw();
  }

  setOwn(own) {
    this.own = own;
    this.rebuild();
  }

  rebuild() {
    const own = this.own === null ? [] : ownColumns(this.own);
    this.columns = [
      { key: "agent", title: "agent", text: true },
      { key: "state", title: "state", text: true },
      ...this.data.names.map((name) => ({ key: name, title: titleOf(name, true) })),
      { key: "degree", title: "neighbours" },
      ...own.map((name) => ({ key: `own ${name}`, title: name === "optimum" ? "x* (optimum)" : name, own: name })),
    ];
    const row = document.createElement("tr");
    for (const column of this.columns) {
      const cell = document.createElement("th");
      cell.textContent = column.title;
      cell.className = [column.text ? "text" : "", column.own ? "own" : ""].join(" ").trim();
      cell.scope = "col";
      cell.tabIndex = 0;
      const order = () => {
        this.sort = { key: column.key, down: this.sort.key === column.key ? !this.sort.down : !column.text };
        this.turn(-this.page);
      };
      cell.addEventListener("click", order);
      cell.addEventListener("keydown", (event) => event.key === "Enter" && order());
      row.append(cell);
    }
    this.head.replaceChildren(row);
    this.body.replaceChildren();
    this.draw();
  }

  // `states` and the values of a frame; drawn at most a few times a second by whoever calls.
  show(frame, states, chosen) {
    this.states = states;
    this.chosen = chosen;
    this.values = new Map(this.data.names.map((name) => [name, this.data.asOf(name, frame)]));
    this.draw();
  }

  value(i, column) {
    if (column.key === "agent") return this.run.ids[i];
    if (column.key === "state") return STATES[this.states[i]].title;
    if (column.key === "degree") return this.degrees[i];
    if (column.own) return this.own[this.run.ids[i]]?.[column.own];
    return this.values.get(column.key)?.[i] ?? NaN;
  }

  order() {
    const wanted = this.find.value.trim().toLowerCase();
    const rows = [...this.run.ids.keys()].filter((i) => this.run.ids[i].toLowerCase().includes(wanted));
    const column = this.columns.find(({ key }) => key === this.sort.key) ?? this.columns[0];
    const sign = this.sort.down ? -1 : 1;
    const keys = new Map(rows.map((i) => [i, sortable(this.value(i, column))]));
    return rows.sort((a, b) => sign * compare(keys.get(a), keys.get(b)) || a - b);
  }

  draw() {
    if (this.states === undefined || this.columns === undefined) return;
    const rows = this.order();
    const pages = Math.max(1, Math.ceil(rows.length / ROWS));
    this.page = Math.max(0, Math.min(this.page, pages - 1));
    const shown = rows.slice(this.page * ROWS, (this.page + 1) * ROWS);
    this.card.querySelector("#page").textContent = `${this.page * ROWS + Math.min(1, shown.length)}–${this.page * ROWS + shown.length} of ${rows.length}`;
    this.card.querySelector("#before").disabled = this.page === 0;
    this.card.querySelector("#after").disabled = this.page === pages - 1;
    [...this.head.rows[0].cells].forEach((cell, k) => {
      if (this.columns[k].key === this.sort.key) cell.ariaSort = this.sort.down ? "descending" : "ascending";
      else cell.ariaSort = null;
    });
    while (this.body.rows.length > shown.length) this.body.deleteRow(-1);
    while (this.body.rows.length < shown.length) this.body.append(this.makeRow());
    shown.forEach((i, k) => this.fill(this.body.rows[k], i));
  }

  makeRow() {
    const row = document.createElement("tr");
    for (const column of this.columns) {
      const cell = row.insertCell();
      cell.className = [column.text ? "text" : "", column.own ? "own" : ""].join(" ").trim();
      if (column.key === "state") cell.append(document.createElement("i"), "");
    }
    row.addEventListener("click", () => this.choose(Number(row.dataset.agent)));
    return row;
  }

  fill(row, i) {
    row.dataset.agent = i;
    row.classList.toggle("chosen", i === this.chosen);
    this.columns.forEach((column, k) => {
      const cell = row.cells[k];
      const text = shown(this.value(i, column));
      if (column.key === "state") {
        const look = STATES[this.states[i]];
        cell.firstChild.style.borderColor = `var(--${look.variable})`;
        cell.firstChild.style.background = look.hollow ? "none" : `var(--${look.variable})`;
        if (cell.lastChild.data !== text) cell.lastChild.data = text;
      } else if (cell.textContent !== text) cell.textContent = text;
    });
  }
}

function ownColumns(own) {
  const names = new Set();
  for (const utility of Object.values(own)) for (const name of Object.keys(utility)) names.add(name);
  names.delete("family");
  names.delete("class");
  return [...names];
}

function shown(value) {
  if (typeof value === "number") return Number.isInteger(value) ? String(value) : number(value, 5);
  if (Array.isArray(value)) return value.map(shown).join("  ");
  if (value !== null && typeof value === "object") return Object.entries(value).map(([k, v]) => `${k} ${shown(v)}`).join(", ");
  return value === undefined || value === null ? "–" : String(value);
}

function sortable(value) {
  if (Array.isArray(value)) return sortable(value[0]);
  return typeof value === "number" || typeof value === "string" ? value : shown(value);
}

// What nobody knows comes last, whichever way it is sorted by.
function compare(a, b) {
  if (typeof a === "string" || typeof b === "string") return String(a).localeCompare(String(b), "en", { numeric: true });
  if (Number.isNaN(a)) return Number.isNaN(b) ? 0 : 1;
  return Number.isNaN(b) ? -1 : a - b;
}

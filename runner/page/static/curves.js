// Two charts over rounds: how far the network is, and one series of all agents.

import uPlot from "./vendor/uPlot.js";
import { colour, number } from "./data.js";

const LINES = 64; // agents beyond which single lines say nothing
const QUANTILES = [0, 0.1, 0.25, 0.5, 0.75, 0.9, 1];

const AXIS = new Intl.NumberFormat("en", { maximumSignificantDigits: 4 });

const axes = (log) => [
  { stroke: () => colour("dim"), grid: { stroke: () => colour("grid"), width: 1 }, ticks: { show: false }, size: 28, font: "11px system-ui" },
  {
    stroke: () => colour("dim"),
    // Where the axis is not in proportion, a line at every power of ten and not at its multiples.
    grid: {
      stroke: () => colour("grid"),
      width: 1,
      filter: (plot, splits) =>
        plot.scales.y.distr === 1 ? splits : splits.map((value) => (value === 0 || power(Math.abs(value)) ? value : null)),
    },
    ticks: { show: false },
    size: 56,
    font: "11px system-ui",
    values: (_, splits) => splits.map((value) => (value === null ? "" : log ? power(value) : AXIS.format(value))),
  },
];

// 1e-6 as people write it. Only every so many powers get a name, as uPlot leaves out the others.
function power(value) {
  const exponent = Math.round(Math.log10(value));
  if (Math.abs(value / 10 ** exponent - 1) > 1e-6) return "";
  const signs = "⁰¹²³⁴⁵⁶⁷⁸⁹";
  return `10${String(exponent).replace("-", "⁻").replace(/\d/g, (digit) => signs[digit])}`;
}

class Chart {
  constructor(box, data) {
    this.box = box;
    this.data = data;
    this.plot = null;
    this.head = document.createElement("div");
    this.head.className = "head";
    new ResizeObserver(() => this.resize()).observe(box);
  }

  // `linear`: on an axis that is not logarithmic, values up to this size are shown in proportion and larger
  // ones by their logarithm; null: all in proportion.
  make(log, series, extra = {}, linear = null) {
    this.plot?.destroy();
    this.log = log;
    const range = log ? (_, low, high) => decades(low, high) : undefined;
    this.plot = new uPlot(
      {
        ...this.size(),
        padding: [8, 8, 0, 0],
        legend: { show: false },
        cursor: { points: { show: false }, drag: { x: true, y: false }, y: false },
        scales: { x: { time: false }, y: log ? { distr: 3, range } : linear !== null ? { distr: 4, asinh: linear } : {} },
        axes: axes(log),
        series: [{}, ...series],
        ...extra,
      },
      [[], ...series.map(() => [])],
      this.box,
    );
    this.plot.over.append(this.head);
  }

  size() {
    return { width: Math.max(60, this.box.clientWidth), height: Math.max(60, this.box.clientHeight) };
  }

  resize() {
    if (this.plot !== null) this.plot.setSize(this.size());
  }

  mark(round) {
    if (this.plot === null || round === null) return void (this.head.hidden = true);
    const { min, max } = this.plot.scales.x;
    this.head.hidden = !(round >= min && round <= max);
    if (!this.head.hidden) this.head.style.left = `${this.plot.valToPos(round, "x")}px`;
  }
}

// Whole powers of ten around what is shown.
function decades(low, high) {
  if (!(low > 0) || !(high > 0)) return [1e-3, 1];
  const floor = 10 ** Math.floor(Math.log10(low));
  return [floor, Math.max(10 ** Math.ceil(Math.log10(high)), floor * 10)];
}

const positive = (value) => (value > 0 ? value : null);

// Largest distance from the optimum and largest residual, on a logarithmic axis.
export class Above extends Chart {
  constructor(box, keys, data, run) {
    super(box, data);
    this.keys = keys;
    this.run = run;
    this.columns = [];
  }

  rebuild() {
    const { data } = this;
    this.names = ["error", "residual"].filter((name) => data.series.has(name));
    const looks = { error: ["one", 2.4], residual: ["two", 1.4] };
    this.make(
      true,
      this.names.map((name) => ({
        stroke: () => colour(looks[name][0]),
        width: looks[name][1],
        points: { show: false },
        spanGaps: true,
      })),
      { hooks: { draw: [(plot) => this.tolerance(plot)] } },
    );
    this.keys.replaceChildren(
      ...this.names.map((name) => key(looks[name][0], name === "error" ? "largest distance" : "largest residual")),
      ...(this.names.includes("error") && this.run.tolerance ? [key("aim", `asked for ${number(this.run.tolerance, 1)}`, "dash")] : []),
    );
    this.columns = null;
  }

  tolerance(plot) {
    const at = this.run.tolerance;
    const { min, max } = plot.scales.y;
    if (!this.names.includes("error") || !at || at < min || at > max) return;
    const pen = plot.ctx;
    const y = plot.valToPos(at, "y", true);
    pen.save();
    pen.strokeStyle = colour("aim");
    pen.lineWidth = devicePixelRatio;
    pen.setLineDash([6 * devicePixelRatio, 4 * devicePixelRatio]);
    pen.beginPath();
    pen.moveTo(plot.bbox.left, y);
    pen.lineTo(plot.bbox.left + plot.bbox.width, y);
    pen.stroke();
    pen.restore();
  }

  update(begin) {
    const { data } = this;
    if (this.plot === null) return;
    if (this.columns === null) {
      this.first = data.first;
      this.columns = [[], ...this.names.map(() => [])];
      begin = this.first;
    }
    for (let frame = Math.max(begin, this.first); frame < data.used; frame++) {
      const at = frame - this.first;
      this.columns[0][at] = data.roundOf(frame);
      this.names.forEach((name, k) => (this.columns[k + 1][at] = positive(data.largest(name, frame))));
    }
    this.plot.setData(this.columns);
  }
}

// One series: a line per agent, or bands of their distribution.
export class Below extends Chart {
  constructor(box, keys, data, run) {
    super(box, data);
    this.keys = keys;
    this.run = run;
    this.name = null;
    this.chosen = -1;
  }

  get bands() {
    return this.data.agents > LINES;
  }

  rebuild(name) {
    this.name = name;
    const log = name === "error" || name === "residual";
    this.columns = null;
    this.linear = log ? null : this.proportion();
    if (this.bands) this.makeBands(log);
    else this.makeLines(log);
  }

  // If a few values are so large that nobody would see the others: the size up to which most are in the end.
  proportion() {
    const { data } = this;
    if (!data.used) return null;
    const ends = data.asOf(this.name, data.last).map(Math.abs).filter((value) => value > 0).sort();
    if (ends.length === 0) return null;
    const most = ends[Math.floor((this.bands ? 0.9 : 1) * (ends.length - 1))];
    let largest = 0;
    for (let frame = data.first; frame < data.used; frame += Math.max(1, data.used >> 6)) {
      for (const value of data.row(this.name, frame)) if (Math.abs(value) > largest) largest = Math.abs(value);
    }
    return largest > 10 * most ? Number(most.toPrecision(1)) : null;
  }

  makeLines(log) {
    const order = this.order();
    const line = (i) => ({
      stroke: () => (i === this.chosen ? colour("chosen") : shade(order[i] / Math.max(1, this.data.agents - 1), this.chosen >= 0)),
      width: 1,
      points: { show: false },
      spanGaps: true,
    });
    const agents = [...Array(this.data.agents).keys()];
    // The chosen one once more, on top of the others.
    const top = { stroke: () => colour("chosen"), width: 2.6, points: { show: false }, spanGaps: true };
    this.make(log, [...agents.map(line), top], {}, this.linear);
    this.keys.replaceChildren(
      this.chosen >= 0 ? key("chosen", this.run.ids[this.chosen]) : plain("a line per agent"),
    );
  }

  // Lines are shaded by where they end.
  order() {
    const { data } = this;
    const ends = data.used ? data.asOf(this.name, data.last) : new Float32Array(data.agents);
    const ranks = [...ends.keys()].sort((a, b) => ends[a] - ends[b]);
    const order = new Array(data.agents);
    ranks.forEach((i, rank) => (order[i] = rank));
    return order;
  }

  makeBands(log) {
    const edge = { stroke: "transparent", width: 0, points: { show: false }, spanGaps: true };
    const series = QUANTILES.map((q) => (q === 0.5 ? { ...edge, stroke: () => colour("band"), width: 2 } : { ...edge }));
    series.push({ ...edge, stroke: () => colour("chosen"), width: 2.2 });
    const fill = (opacity) => () => `color-mix(in srgb, ${colour("band")} ${opacity}%, transparent)`;
    this.make(log, series, {
      bands: [
        { series: [7, 1], fill: fill(12) },
        { series: [6, 2], fill: fill(18) },
        { series: [5, 3], fill: fill(26) },
      ],
    }, this.linear);
    this.keys.replaceChildren(
      key("band", "median"), area(50, "middle half"), area(30, "10–90 %"), area(12, "all"),
      ...(this.chosen >= 0 ? [key("chosen", this.run.ids[this.chosen])] : []),
    );
  }

  update(begin) {
    const { data } = this;
    if (this.plot === null || !data.series.has(this.name)) return;
    if (this.columns !== null && !this.log && (this.proportion() === null) !== (this.linear === null)) this.rebuild(this.name);
    if (this.columns === null) {
      this.first = data.first;
      this.columns = Array.from({ length: (this.bands ? QUANTILES.length : data.agents) + 2 }, () => []);
      begin = this.first;
    }
    const keep = this.log ? positive : (value) => (Number.isNaN(value) ? null : value);
    const top = this.columns.length - 1;
    for (let frame = Math.max(begin, this.first); frame < data.used; frame++) {
      const at = frame - this.first;
      const row = data.row(this.name, frame);
      this.columns[0][at] = data.roundOf(frame);
      if (this.bands) {
        const sorted = row.filter((value) => !Number.isNaN(value)).sort();
        QUANTILES.forEach((q, k) => {
          this.columns[k + 1][at] = sorted.length ? keep(sorted[Math.round(q * (sorted.length - 1))]) : null;
        });
      } else for (let i = 0; i < data.agents; i++) this.columns[i + 1][at] = keep(row[i]);
      this.columns[top][at] = this.chosen >= 0 ? keep(row[this.chosen]) : null;
    }
    this.plot.setData(this.columns);
  }
}

// From blue to amber by rank: told apart by everybody, and in grey by their lightness.
const RAMPS = {
  light: [[10, 55, 130], [35, 105, 175], [85, 145, 175], [150, 145, 105], [200, 140, 30], [215, 105, 0]],
  dark: [[95, 150, 235], [110, 185, 235], [150, 205, 215], [200, 205, 160], [235, 195, 95], [255, 165, 50]],
};

function shade(part, dimmed) {
  const ramp = RAMPS[getComputedStyle(document.documentElement).colorScheme === "dark" ? "dark" : "light"];
  const at = part * (ramp.length - 1);
  const low = Math.min(Math.floor(at), ramp.length - 2);
  const mixed = ramp[low].map((value, k) => Math.round(value + (ramp[low + 1][k] - value) * (at - low)));
  return `rgb(${mixed.join(" ")} / ${dimmed ? 0.28 : 0.9})`;
}

function plain(text) {
  const made = document.createElement("span");
  made.textContent = text;
  return made;
}

function key(variable, text, kind = "") {
  const made = plain(text);
  const mark = document.createElement("i");
  mark.className = kind;
  mark.style.borderColor = `var(--${variable})`;
  made.prepend(mark);
  return made;
}

function area(opacity, text) {
  const made = plain(text);
  const mark = document.createElement("i");
  mark.className = "area";
  mark.style.background = `color-mix(in srgb, var(--band) ${opacity}%, transparent)`;
  made.prepend(mark);
  return made;
}

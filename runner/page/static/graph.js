// The graph on a canvas: agents as discs, edges that messages run along.

import { colour, number, titleOf } from "./data.js";
import { STATES } from "./states.js";

const LABELS = 60; // agents beyond which nobody could read their names
const PULSES = 260; // edges that messages are shown on at a time
const PULSE = 420; // milliseconds that a message is under way on the screen
const CIVIDIS = ["#00224e", "#123570", "#3b496c", "#575d6d", "#707173", "#8a8678", "#a59c74", "#c3b369", "#e1cc55", "#fee838"];
const DIVERGING = ["#b35806", "#e08214", "#fdb863", "#d8dadd", "#92c5de", "#4393c3", "#2166ac"];

export class Graph {
  constructor(box, run, choose) {
    this.box = box;
    this.canvas = box.querySelector("canvas");
    this.tip = box.querySelector(".tip");
    this.run = run;
    this.places = run.places;
    this.count = run.ids.length;
    this.states = new Array(this.count).fill("unknown");
    this.values = new Float32Array(this.count).fill(NaN);
    this.shades = null; // {values, log, diverging, low, high}
    this.sent = new Float64Array(this.count).fill(-1e9); // when an agent's last shown message left
    this.chosen = -1;
    this.incident = Array.from({ length: this.count }, () => []);
    run.links.forEach(([i, j], k) => {
      // i listens to j; both ways unless directed.
      this.incident[j].push([i, k]);
      if (!run.directed) this.incident[i].push([j, k]);
    });
    this.still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    new ResizeObserver(() => this.resize()).observe(box);
    box.addEventListener("pointermove", (event) => this.hover(event));
    box.addEventListener("pointerleave", () => (this.tip.hidden = true));
    box.addEventListener("click", (event) => choose(this.at(event)));
    this.resize();
  }

  resize() {
    const { width, height } = this.box.getBoundingClientRect();
    const ratio = Math.min(devicePixelRatio || 1, 2);
    Object.assign(this, { width, height, ratio });
    this.canvas.width = Math.max(1, width * ratio);
    this.canvas.height = Math.max(1, height * ratio);
    // Wide graphs use the width: both axes are scaled on their own, within reason.
    const xs = this.places.map(([x]) => x);
    const ys = this.places.map(([, y]) => y);
    const span = (list) => Math.max(...list) - Math.min(...list) || 1e-9;
    const middle = (list) => (Math.max(...list) + Math.min(...list)) / 2;
    const margin = this.count > 200 ? 14 : 34;
    let sx = (width - 2 * margin) / span(xs);
    let sy = (height - 2 * margin) / span(ys);
    sx = Math.min(sx, 1.45 * sy);
    sy = Math.min(sy, 1.45 * sx);
    this.points = this.places.map(([x, y]) => [width / 2 + (x - middle(xs)) * sx, height / 2 + (y - middle(ys)) * sy]);
    this.largest = this.room();
    this.backdrop = null;
    this.draw();
  }

  // The radius of the largest disc: such that few neighbours on the screen overlap.
  room() {
    const near = this.points.map(([x, y], i) => {
      let least = Infinity;
      for (let j = 0; j < this.count; j++) {
        if (j !== i) least = Math.min(least, Math.hypot(x - this.points[j][0], y - this.points[j][1]));
      }
      return least;
    });
    near.sort((a, b) => a - b);
    const typical = this.count > 1 ? near[Math.floor(near.length / 3)] : 60;
    return Math.min(24, Math.max(this.count > 200 ? 3.5 : 7, 0.5 * typical));
  }

  // What is shown from now on. `advanced`: agents that have said something since.
  show({ states, values, shades, advanced, chosen }) {
    Object.assign(this, { states, values, shades, chosen });
    const now = performance.now();
    if (advanced !== null && !this.still) {
      for (const i of advanced) {
        // Not all at once: rounds are, but the eye sees messages better one by one.
        if (now - this.sent[i] > PULSE * 1.15) this.sent[i] = now + Math.random() * 60;
      }
    }
    this.draw();
  }

  get moving() {
    const now = performance.now();
    return this.sent.some((at) => now - at < PULSE);
  }

  radius(i, most) {
    const value = Math.abs(this.values[i]);
    const least = this.count > 200 ? 2 : 4;
    return Number.isNaN(value) || !(most > 0) ? least : least + (this.largest - least) * Math.sqrt(value / most);
  }

  fill(i) {
    if (this.shades === null) return this.palette[STATES[this.states[i]].variable];
    const { values, low, high, diverging } = this.shades;
    if (Number.isNaN(values[i])) return this.palette.unknown;
    const part = high > low ? (values[i] - low) / (high - low) : 0.5;
    const stops = diverging ? DIVERGING : CIVIDIS;
    return stops[Math.max(0, Math.min(stops.length - 1, Math.round(part * (stops.length - 1))))];
  }

  draw() {
    const now = performance.now();
    const pen = this.canvas.getContext("2d");
    this.palette = Object.fromEntries(
      ["unknown", "setup", "playing", "rest", "down", "link", "pulse", "card", "text", "chosen", "dim"].map((n) => [n, colour(n)]),
    );
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.clearRect(0, 0, this.canvas.width, this.canvas.height);
    pen.drawImage(this.edges(), 0, 0);
    pen.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    this.drawMessages(pen, now);
    this.drawAgents(pen);
  }

  // Edges do not move: drawn once for a size and a theme.
  edges() {
    if (this.backdrop !== null && this.backdropColour === this.palette.link) return this.backdrop;
    const made = document.createElement("canvas");
    made.width = this.canvas.width;
    made.height = this.canvas.height;
    const pen = made.getContext("2d");
    pen.scale(this.ratio, this.ratio);
    pen.strokeStyle = this.palette.link;
    const crowd = this.run.links.length > 400;
    pen.lineWidth = crowd ? 0.6 : 1.4;
    pen.globalAlpha = crowd ? Math.max(0.22, Math.min(0.8, 900 / this.run.links.length)) : 1;
    pen.beginPath();
    for (const [i, j] of this.run.links) {
      pen.moveTo(...this.points[i]);
      pen.lineTo(...this.points[j]);
    }
    pen.stroke();
    this.backdropColour = this.palette.link;
    return (this.backdrop = made);
  }

  drawMessages(pen, now) {
    let under = 0;
    for (let j = 0; j < this.count; j++) if (now - this.sent[j] < PULSE) under += this.incident[j].length;
    if (under === 0) return;
    const every = Math.max(1, Math.ceil(under / PULSES));
    pen.strokeStyle = this.palette.playing;
    pen.fillStyle = this.palette.pulse;
    let k = 0;
    for (let j = 0; j < this.count; j++) {
      const part = (now - this.sent[j]) / PULSE;
      if (part < 0 || part >= 1) continue;
      const [x, y] = this.points[j];
      for (const [i] of this.incident[j]) {
        if (k++ % every !== 0) continue;
        const [u, v] = this.points[i];
        const head = part;
        const tail = Math.max(0, part - 0.28);
        pen.globalAlpha = 0.85 * (1 - part * 0.55);
        pen.lineWidth = this.count > 200 ? 1 : 2;
        pen.beginPath();
        pen.moveTo(x + (u - x) * tail, y + (v - y) * tail);
        pen.lineTo(x + (u - x) * head, y + (v - y) * head);
        pen.stroke();
        if (this.count <= 200) {
          pen.beginPath();
          pen.arc(x + (u - x) * head, y + (v - y) * head, 2, 0, 7);
          pen.fill();
        }
      }
    }
    pen.globalAlpha = 1;
  }

  drawAgents(pen) {
    let most = 0;
    for (const value of this.values) if (Math.abs(value) > most) most = Math.abs(value);
    pen.textAlign = "center";
    pen.textBaseline = "middle";
    pen.font = "600 10px system-ui, sans-serif";
    const small = this.count > 200;
    for (let i = 0; i < this.count; i++) {
      const [x, y] = this.points[i];
      const radius = this.radius(i, most);
      const look = STATES[this.states[i]];
      const fill = this.fill(i);
      pen.beginPath();
      pen.arc(x, y, radius, 0, 7);
      pen.fillStyle = look.hollow ? this.palette.card : fill;
      pen.fill();
      if (look.hollow || !small) {
        pen.lineWidth = look.hollow ? 2 : 1.5;
        pen.strokeStyle = look.hollow ? fill : this.palette.card;
        pen.stroke();
      }
      if (this.states[i] === "down") {
        const arm = Math.max(3, radius * 0.5);
        pen.strokeStyle = this.palette.down;
        pen.lineWidth = 2;
        pen.beginPath();
        pen.moveTo(x - arm, y - arm);
        pen.lineTo(x + arm, y + arm);
        pen.moveTo(x + arm, y - arm);
        pen.lineTo(x - arm, y + arm);
        pen.stroke();
      }
      if (i === this.chosen) {
        pen.strokeStyle = this.palette.text;
        pen.lineWidth = 2.5;
        pen.beginPath();
        pen.arc(x, y, radius + 4, 0, 7);
        pen.stroke();
      }
      if (this.count <= LABELS) this.label(pen, i, x, y, radius);
    }
  }

  label(pen, i, x, y, radius) {
    const name = this.run.ids[i];
    // In the colour of the background: what juts out of the disc could not be read.
    const fits = radius > 13 && pen.measureText(name).width <= 2 * radius - 4;
    const inside = fits && !STATES[this.states[i]].hollow && this.shades === null;
    pen.fillStyle = inside ? this.palette.card : this.palette.dim;
    pen.fillText(name, x, inside ? y + 0.5 : y + radius + 8);
  }

  at(event) {
    const box = this.box.getBoundingClientRect();
    const x = event.clientX - box.left;
    const y = event.clientY - box.top;
    let best = -1;
    let least = Math.max(16, this.largest + 2);
    this.points.forEach(([u, v], i) => {
      const gap = Math.hypot(u - x, v - y);
      if (gap < least) [best, least] = [i, gap];
    });
    return best;
  }

  hover(event) {
    const i = this.at(event);
    this.tip.hidden = i < 0;
    if (i < 0) return;
    const [x, y] = this.points[i];
    this.tip.textContent = `${this.run.ids[i]}  ${STATES[this.states[i]].title}\n${titleOf(this.sizedBy ?? "value")} ${number(this.values[i])}`;
    this.tip.style.left = `${Math.max(0, Math.min(x + 14, this.width - 150))}px`;
    this.tip.style.top = `${Math.max(0, y - 44)}px`;
  }
}

export function gradient(diverging) {
  return `linear-gradient(90deg, ${(diverging ? DIVERGING : CIVIDIS).join(", ")})`;
}

// When things happened: how fast the rounds went, faults above, and where the replay stands.

import { colour, number } from "./data.js";

const KINDS = {
  crash: "down", amnesia: "down", down: "down", "broker-kill": "down",
  pause: "setup", leave: "dim", join: "rest", cut: "setup", partition: "setup", back: "rest", warning: "dim",
};

export class Timeline {
  constructor(box, list, data, seek) {
    Object.assign(this, { box, list, data, seek });
    this.canvas = box.querySelector("canvas");
    this.tip = box.querySelector(".tip");
    this.events = [];
    this.frame = 0;
    this.rates = null;
    new ResizeObserver(() => this.draw()).observe(box);
    const time = (event) => {
      const bounds = box.getBoundingClientRect();
      return this.from + ((event.clientX - bounds.left) / bounds.width) * (this.to - this.from);
    };
    box.addEventListener("pointerdown", (event) => {
      box.setPointerCapture(event.pointerId);
      seek(data.frameAt(time(event)));
    });
    box.addEventListener("pointermove", (event) => {
      if (event.buttons) seek(data.frameAt(time(event)));
      this.hover(event, time(event));
    });
    box.addEventListener("pointerleave", () => (this.tip.hidden = true));
  }

  setEvents(events) {
    this.events = events;
    this.list.replaceChildren(
      ...events.slice(-60).map((event) => {
        const row = document.createElement("li");
        const button = document.createElement("button");
        const when = document.createElement("b");
        when.textContent = `${(event.time - this.data.began).toFixed(1)} s`;
        button.type = "button";
        button.append(when, event.text);
        button.title = event.text;
        button.addEventListener("click", () => this.seek(this.data.frameAt(event.time - this.data.began)));
        row.append(button);
        return row;
      }),
    );
    this.draw();
  }

  changed() {
    this.rates = null;
  }

  // Rounds a second between frames, averaged over so many pixels.
  measure(width) {
    const { data } = this;
    const bins = Math.max(10, Math.floor(width / 4));
    const counts = new Float64Array(bins);
    const from = Math.min(0, data.timeOf(data.first), ...this.events.map((event) => event.time - data.began));
    const to = Math.max(data.timeOf(data.last), from + 0.01);
    const step = (to - from) / bins;
    let before = data.timeOf(data.first);
    let round = data.roundOf(data.first);
    for (let frame = data.first + 1; frame < data.used; frame++) {
      const time = data.timeOf(frame);
      if (time <= before) continue;
      // The rounds of a frame are spread over the time that it took.
      const rate = (data.roundOf(frame) - round) / (time - before);
      const low = Math.floor((before - from) / step);
      const high = Math.min(bins - 1, Math.floor((time - from) / step));
      for (let bin = low; bin <= high; bin++) {
        const share = Math.min(time, from + (bin + 1) * step) - Math.max(before, from + bin * step);
        if (share > 0) counts[bin] += (rate * share) / step;
      }
      [before, round] = [time, data.roundOf(frame)];
    }
    Object.assign(this, { rates: counts, from, to });
    // One hiccup is not to flatten everything else.
    const sorted = Float64Array.from(counts).sort();
    this.most = sorted[Math.floor(0.97 * (bins - 1))] || sorted[bins - 1] || 1;
  }

  draw(frame = this.frame) {
    this.frame = frame;
    const { width, height } = this.box.getBoundingClientRect();
    const ratio = Math.min(devicePixelRatio || 1, 2);
    const [wide, high] = [Math.max(1, Math.round(width * ratio)), Math.max(1, Math.round(height * ratio))];
    if (this.canvas.width !== wide || this.canvas.height !== high) {
      Object.assign(this.canvas, { width: wide, height: high });
      this.rates = null;
    }
    const pen = this.canvas.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    if (!this.data.used) return;
    if (this.rates === null) this.measure(width);
    const base = height - 15;
    const top = 27;
    const x = (time) => ((time - this.from) / (this.to - this.from)) * width;
    pen.fillStyle = colour("grid");
    pen.fillRect(0, top, width, base - top);
    pen.fillStyle = colour("link");
    const step = width / this.rates.length;
    this.rates.forEach((rate, bin) => {
      const size = Math.min(1, rate / this.most) * (base - top - 3);
      if (rate > 0) pen.fillRect(bin * step, base - size, Math.max(1, step - 0.7), size);
    });
    this.ticks(pen, width, base, x);
    this.faults(pen, top, base, x);
    pen.strokeStyle = colour("chosen");
    pen.lineWidth = 2;
    const at = x(this.data.timeOf(this.frame));
    pen.beginPath();
    pen.moveTo(at, 16);
    pen.lineTo(at, base);
    pen.stroke();
    pen.fillStyle = colour("dim");
    pen.font = "11px system-ui";
    pen.textAlign = "left";
    pen.textBaseline = "top";
    pen.fillText(`rounds a second (up to ${number(this.most, 3)})`, 0, 1);
  }

  ticks(pen, width, base, x) {
    const span = this.to - this.from;
    const raw = span / Math.max(2, width / 110);
    const power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= raw);
    pen.fillStyle = colour("dim");
    pen.font = "11px system-ui";
    pen.textBaseline = "top";
    for (let time = Math.ceil(this.from / step) * step; time <= this.to; time += step) {
      const at = x(time);
      pen.textAlign = at < 14 ? "left" : at > width - 18 ? "right" : "center";
      pen.fillText(`${Number(time.toFixed(6))} s`, at, base + 3);
    }
  }

  faults(pen, top, base, x) {
    for (const event of this.events) {
      const at = x(event.time - this.data.began);
      pen.fillStyle = colour(KINDS[event.kind] ?? "dim");
      if (event.lasts) {
        pen.globalAlpha = 0.22;
        pen.fillRect(at, top, Math.max(2, x(event.time - this.data.began + event.lasts) - at), base - top);
        pen.globalAlpha = 1;
      }
      pen.fillRect(at - 0.75, top - 3, 1.5, base - top + 3);
      pen.beginPath();
      if (event.kind === "back") pen.arc(at, top - 5, 3.6, 0, 7);
      else {
        pen.moveTo(at - 4.5, top - 10);
        pen.lineTo(at + 4.5, top - 10);
        pen.lineTo(at, top - 1);
      }
      pen.fill();
    }
  }

  hover(event, time) {
    const width = this.box.clientWidth;
    const near = (this.to - this.from) * (8 / width);
    const found = this.events.filter((known) => Math.abs(known.time - this.data.began - time) < near).slice(0, 4);
    this.tip.hidden = found.length === 0;
    if (found.length === 0) return;
    this.tip.textContent = found.map((known) => `${(known.time - this.data.began).toFixed(1)} s  ${known.text}`).join("\n");
    this.tip.style.left = `${Math.min(event.offsetX + 12, Math.max(0, width - 260))}px`;
    this.tip.style.top = "-4px";
  }
}

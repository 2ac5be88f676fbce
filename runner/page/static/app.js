// The page: fetches the run, listens to what is new, and lets every part draw what is to be seen.

import { Above, Below } from "./curves.js";
import { Data, number, titleOf } from "./data.js";
import { Graph, gradient } from "./graph.js";
import { STATES, statesAt } from "./states.js";
import { Table } from "./table.js";
import { Timeline } from "./timeline.js";

const $ = (id) => document.getElementById(id);
const SLOW = 250; // milliseconds between two updates of what costs most: many lines, the table
const FRAME = 66; // and of the graph

class Page {
  constructor(run) {
    this.run = run;
    this.sketch = run.sketch;
    this.data = new Data();
    this.frame = 0;
    this.following = true; // whether the newest frame is shown
    this.playing = false;
    this.chosen = -1;
    this.dirty = Infinity; // the first frame that the slow parts have not drawn
    this.slowAt = 0;
    this.updates = 0;
    this.advanced = new Set();
    this.graph = new Graph($("graph"), run, (i) => this.choose(i));
    this.above = new Above($("above"), $("above-keys"), this.data, run);
    this.below = new Below($("below"), $("below-keys"), this.data, run);
    this.timeline = new Timeline($("timeline"), $("events"), this.data, (frame) => this.seek(frame));
    this.table = new Table(document.querySelector(".table"), run, this.data, (i) => this.choose(i));
    this.data.watchers.push((begin, end) => this.changed(begin, end));
    this.controls();
    this.head();
  }

  // -- what is new ---------------------------------------------------------------------------------------

  async fetch() {
    const answer = await fetch("/frames");
    this.data.load(await answer.arrayBuffer(), this.run.ids.length);
  }

  async sketchAnew() {
    this.sketch = (await (await fetch("/run")).json()).sketch;
    this.head();
  }

  listen() {
    const source = new EventSource("/events");
    let fetching = false;
    const anew = async () => {
      if (fetching) return;
      fetching = true;
      await this.fetch();
      fetching = false;
    };
    source.addEventListener("hello", () => {
      $("problem").hidden = true;
      anew();
      this.sketchAnew();
    });
    source.addEventListener("again", () => {
      anew();
      this.sketchAnew();
    });
    source.addEventListener("news", (event) => {
      const news = JSON.parse(event.data);
      if (news.run !== undefined) {
        this.sketch = news.run;
        this.head();
        this.ask(); // somebody may be down who says nothing any more
      }
      if (!this.data.take(news)) anew();
      document.body.dataset.updates = String(++this.updates);
    });
    source.onerror = () => {
      $("problem").textContent = "the page's server does not answer; it is tried again";
      $("problem").hidden = false;
    };
  }

  changed(begin, end) {
    const { data } = this;
    if (data.names.join() !== this.drawn) this.rebuild();
    if (data.began !== this.began) {
      this.began = data.began;
      this.timeline.setEvents(this.sketch.events); // their times are counted from there
    }
    if (begin === 0 && end === data.used) [this.above.columns, this.below.columns] = [null, null];
    for (let at = begin * data.agents; at < end * data.agents; at++) {
      if (!Number.isNaN(data.times[at])) this.advanced.add(at % data.agents);
    }
    this.dirty = Math.min(this.dirty, begin);
    this.timeline.changed();
    this.above.update(begin);
    const slider = $("slider");
    slider.min = data.first;
    slider.max = data.last;
    document.body.dataset.round = String(data.round);
    if (this.following) this.go(data.last);
    else this.marks();
  }

  // Series have come or gone.
  rebuild() {
    const { data } = this;
    this.drawn = data.names.join();
    this.above.rebuild();
    const distance = this.above.names.length > 0;
    $("above").hidden = !distance;
    $("above-title").textContent = data.series.has("error")
      ? `Distance from ${this.run.sought}`
      : distance ? "Largest residual" : "Nothing has been measured yet";
    const names = data.names;
    const tabs = names.map((name) => {
      const tab = document.createElement("button");
      tab.type = "button";
      tab.role = "tab";
      tab.textContent = titleOf(name, true);
      tab.dataset.name = name;
      tab.addEventListener("click", () => this.chooseSeries(name));
      return tab;
    });
    $("tabs").replaceChildren(...tabs);
    const sizes = names.filter((name) => /^(allocation|estimate|known)(\.|$)/.test(name));
    options($("size"), sizes);
    $("size-label").hidden = sizes.length < 2;
    options($("colour"), ["state", ...names.filter((name) => !/^error|\.[1-9]/.test(name)).slice(0, 5)]);
    this.table.rebuild();
    const first = sizes[0] ?? names[0];
    if (first !== undefined) this.chooseSeries(names.includes(this.below.name) ? this.below.name : first);
  }

  chooseSeries(name) {
    for (const tab of $("tabs").children) tab.ariaSelected = String(tab.dataset.name === name);
    this.below.rebuild(name);
    this.below.update(0);
    this.marks();
  }

  // -- what is shown -------------------------------------------------------------------------------------

  head() {
    const { run, sketch } = this;
    document.title = `${run.scenario} · vicinal`;
    $("title").textContent = run.title || run.scenario;
    const parts = [run.scenario, run.consensus ? `consensus: ${run.mechanism}` : run.mechanism, `${count(run.agents)} agents`, `${count(run.edges)} edges`];
    if (run.synchrony !== "rounds") parts.push("free running");
    if (run.shown < run.agents) parts.push(`${count(run.shown)} of them shown`);
    else if (run.recorded < run.agents) parts.push(`${count(run.recorded)} of them recorded`);
    if (run.started) parts.push(new Date(run.started.replace(/(\d\d)(\d\d)$/, "$1:$2")).toLocaleString());
    $("facts").textContent = parts.join(" · ");
    const failed = sketch.outcome?.failed;
    const [text, look] = sketch.live ? [sketch.connected ? "live" : "live, from its files", "live"]
      : failed !== undefined ? [`failed: ${failed.slice(0, 90)}`, "bad"]
      : sketch.outcome === null ? ["did not end", "bad"] : ["finished", "over"];
    $("badge").textContent = text;
    $("badge").title = failed ?? "";
    $("badge").className = `badge ${look}`;
    this.timeline.setEvents(sketch.events);
    this.nows();
  }

  go(frame) {
    this.frame = Math.max(this.data.first, Math.min(frame, this.data.last));
    $("slider").value = this.frame;
    document.body.dataset.frame = String(this.frame);
    this.marks();
    this.ask();
  }

  seek(frame) {
    this.following = frame >= this.data.last;
    if (frame !== this.frame) this.everybody();
    this.go(frame);
    this.nows();
  }

  everybody() {
    for (let i = 0; i < this.data.agents; i++) this.advanced.add(i);
  }

  marks() {
    const { data } = this;
    if (!data.used) return;
    const round = data.roundOf(this.frame);
    const at = this.following && this.sketch.live ? null : round;
    this.above.mark(at);
    this.below.mark(at);
    $("where").textContent = `round ${count(round)} of ${count(data.round)}  ·  ${data.timeOf(this.frame).toFixed(1)} s`;
  }

  // Draw soon; never more often than the eye can tell.
  ask() {
    if (this.asked) return;
    this.asked = true;
    const wait = Math.max(0, FRAME - (performance.now() - (this.drawnAt ?? 0)));
    setTimeout(() => requestAnimationFrame(() => this.draw()), wait);
  }

  draw() {
    this.asked = false;
    this.drawnAt = performance.now();
    const { data } = this;
    if (data.used) {
      this.states = statesAt(data, this.sketch, this.frame, this.following);
      const size = $("size").value;
      this.graph.sizedBy = size;
      // Whoever is down says nothing.
      const speaking = [...this.advanced].filter((i) => this.states[i] !== "down" && this.states[i] !== "left");
      this.advanced.clear();
      this.graph.show({
        states: this.states,
        values: size ? data.asOf(size, this.frame) : new Float32Array(data.agents).fill(NaN),
        shades: this.shades(),
        advanced: speaking,
        chosen: this.chosen,
      });
      this.timeline.draw(this.frame);
      if (this.drawnAt - this.slowAt > SLOW) this.slow();
      else if (!this.late) this.late = setTimeout(() => this.slow(), SLOW);
    }
    if (this.graph.moving) this.ask();
  }

  // What costs most, a few times a second.
  slow() {
    clearTimeout(this.late);
    this.late = 0;
    this.slowAt = performance.now();
    if (!this.data.used || this.states === undefined) return;
    if (this.dirty < Infinity) this.below.update(this.dirty);
    this.dirty = Infinity;
    this.table.show(this.frame, this.states, this.chosen);
    this.legend();
    this.numbers();
    this.marks();
  }

  shades() {
    const name = $("colour").value;
    if (name === "state" || !this.data.series.has(name)) return null;
    const log = name === "residual";
    const values = this.data.asOf(name, this.frame).map((value) => (log ? Math.log10(Math.abs(value)) : value));
    const known = values.filter(Number.isFinite);
    let [low, high] = [Math.min(...known), Math.max(...known)];
    const diverging = low < 0 && high > 0 && !log;
    if (diverging) [low, high] = [-Math.max(-low, high), Math.max(-low, high)];
    return known.length ? { values, low, high, diverging, log } : null;
  }

  legend() {
    const shades = this.shades();
    const parts = [];
    if (shades === null) {
      for (const [name, look] of Object.entries(STATES)) {
        const number = this.states.filter((state) => state === name).length;
        if (number === 0) continue;
        const mark = document.createElement("i");
        mark.style.borderColor = `var(--${look.variable})`;
        mark.style.background = look.hollow ? "none" : `var(--${look.variable})`;
        parts.push(span(mark, `${look.title} ${count(number)}`));
      }
    } else {
      const scale = document.createElement("i");
      scale.className = "scale";
      scale.style.background = gradient(shades.diverging);
      const end = (value) => number(shades.log ? 10 ** value : value, shades.log ? 2 : 5);
      parts.push(span(titleOf($("colour").value), ` ${end(shades.low)}`, scale, end(shades.high)));
    }
    const size = $("size").value;
    if (size) parts.push(span(`disc: ${titleOf(size)}`));
    parts.push(span("moving: messages"));
    $("legend").replaceChildren(...parts);
  }

  numbers() {
    const { data, sketch } = this;
    const outcome = sketch.outcome ?? {};
    const shown = [["round", count(data.roundOf(this.frame))]];
    const series = this.above.names.includes("error") ? "error" : this.above.names[0];
    if (series !== undefined) {
      let frame = this.frame;
      while (frame > data.first && Number.isNaN(data.largest(series, frame))) frame--;
      shown.push([series === "error" ? "distance" : "residual", number(data.largest(series, frame), 3)]);
    }
    if (sketch.live) shown.push(["rounds a second", number(this.pace(), 3)]);
    else {
      if (outcome.messages !== undefined) shown.push(["messages", count(outcome.messages)]);
      if (outcome.restarts) shown.push(["restarts", count(outcome.restarts)]);
      if (outcome.seconds !== undefined) shown.push(["seconds", number(outcome.seconds, 3)]);
      const loads = Object.entries(outcome.used ?? {});
      if (loads.length) {
        const [link, load] = loads.reduce((most, each) => (each[1] > most[1] ? each : most));
        shown.push([`load of ${link}, the fullest link`, `${number(100 * load, 4)} %`]);
      }
    }
    $("numbers").replaceChildren(
      ...shown.map(([title, value]) => {
        const box = document.createElement("div");
        const strong = document.createElement("b");
        strong.textContent = value;
        box.append(strong, span(title));
        return box;
      }),
    );
  }

  // Rounds a second over the last two seconds.
  pace() {
    const { data } = this;
    const now = data.timeOf(data.last);
    const then = data.frameAt(Math.max(now - 2, data.timeOf(data.first)));
    const seconds = now - data.timeOf(then);
    return seconds > 0 ? (data.roundOf(data.last) - data.roundOf(then)) / seconds : NaN;
  }

  // -- what people do ------------------------------------------------------------------------------------

  choose(i) {
    this.chosen = i === this.chosen ? -1 : i;
    if (this.below.name !== null) {
      this.below.chosen = this.chosen;
      this.chooseSeries(this.below.name);
    }
    this.ask();
    this.slow();
  }

  nows() {
    $("now").hidden = !this.sketch.live || this.following;
  }

  controls() {
    $("slider").addEventListener("input", () => {
      this.stop();
      this.seek(Number($("slider").value));
    });
    $("play").addEventListener("click", () => (this.playing ? this.stop() : this.start()));
    $("now").addEventListener("click", () => {
      this.stop();
      this.seek(this.data.last);
    });
    $("colour").addEventListener("change", () => (this.ask(), this.slow()));
    $("size").addEventListener("change", () => (this.ask(), this.slow()));
    $("private").disabled = !this.run.private;
    $("private").checked = false; // browsers remember what was ticked before
    $("private").addEventListener("change", async () => {
      this.table.setOwn($("private").checked ? await (await fetch("/private")).json() : null);
    });
    $("theme").value = document.documentElement.dataset.theme;
    $("theme").addEventListener("change", () => {
      document.documentElement.dataset.theme = $("theme").value;
      try {
        localStorage.setItem("vicinal-theme", $("theme").value);
      } catch {
        // Storage is switched off: the choice holds for this page.
      }
      this.repaint();
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.repaint());
    document.addEventListener("keydown", (event) => {
      if (event.target.matches("input, select, button, th")) return;
      if (event.key === " ") $("play").click();
      else if (event.key === "ArrowLeft") this.seek(this.frame - 1);
      else if (event.key === "ArrowRight") this.seek(this.frame + 1);
      else return;
      event.preventDefault();
    });
  }

  repaint() {
    this.graph.backdrop = null;
    this.above.plot?.redraw(false, true);
    this.below.plot?.redraw(false, true);
    this.timeline.draw();
    this.graph.draw();
    this.slow();
  }

  start() {
    const { data } = this;
    if (data.last <= data.first) return;
    if (this.frame >= data.last) this.seek(data.first);
    this.following = false;
    this.playing = true;
    this.nows();
    $("play").textContent = "❚❚";
    $("play").ariaLabel = "pause";
    let before = performance.now();
    let at = this.frame;
    let clock = data.timeOf(this.frame);
    const step = () => {
      if (!this.playing) return;
      const now = performance.now();
      const passed = (now - before) / 1000;
      before = now;
      const speed = Number($("speed").value);
      if (speed > 0) at += (passed * (data.last - data.first)) / speed;
      else {
        clock += passed;
        at = data.frameAt(clock);
      }
      const frame = Math.floor(at);
      if (frame !== this.frame) {
        this.everybody();
        this.go(frame);
      }
      if (frame >= data.last) {
        this.following = true;
        this.stop();
      } else setTimeout(() => requestAnimationFrame(step), 30);
    };
    step();
  }

  stop() {
    this.playing = false;
    $("play").textContent = "▶";
    $("play").ariaLabel = "play";
  }
}

function span(...parts) {
  const made = document.createElement("span");
  made.append(...parts);
  return made;
}

function count(value) {
  return Number(value).toLocaleString("en");
}

function options(select, names) {
  const before = select.value;
  select.replaceChildren(...names.map((name) => new Option(name === "state" ? "state" : titleOf(name), name)));
  if (names.includes(before)) select.value = before;
}

const run = await (await fetch("/run")).json();
const page = new Page(run);
await page.fetch();
if (page.sketch.live) page.listen();
page.draw();
page.slow();
requestAnimationFrame(() => requestAnimationFrame(() => {
  document.body.dataset.ready = String(Math.round(performance.now()));
}));

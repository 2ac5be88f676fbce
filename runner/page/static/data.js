// What is known of the run, as the server gives it: frames of rounds, each with a number per agent and series.

export class Data {
  constructor() {
    this.names = [];
    this.agents = 0;
    this.used = 0; // frames that hold anything
    this.stride = 1; // rounds a frame stands for
    this.generation = -1;
    this.series = new Map(); // name -> Float32Array(capacity * agents), NaN where nothing is known
    this.times = new Float32Array(0); // likewise, seconds since `began`
    this.capacity = 0;
    this.began = 0;
    this.thresholds = [];
    this.watchers = []; // called with (begin, end) when these frames have changed
  }

  // Everything anew, from the body of /frames.
  load(buffer, agents) {
    const length = new DataView(buffer).getUint32(0, true);
    const head = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
    this.agents = agents;
    this.capacity = head.capacity;
    this.thresholds = head.thresholds;
    this.generation = head.generation;
    this.names = head.names;
    this.series = new Map(this.names.map((name) => [name, this._empty()]));
    this.times = this._empty();
    this._bounds(head);
    this._place(new Float32Array(buffer, 4 + length), 0, head.used);
    this._tell(0, head.used);
  }

  // Some frames anew. False if they are of another generation: then everything must be fetched.
  take(news) {
    if (news.generation !== this.generation) return false;
    if (news.data === undefined) return true;
    const bytes = Uint8Array.from(atob(news.data), (letter) => letter.charCodeAt(0));
    this._bounds(news);
    this._place(new Float32Array(bytes.buffer), news.begin, news.end);
    this._tell(news.begin, news.end);
    return true;
  }

  _empty() {
    return new Float32Array(this.capacity * this.agents).fill(NaN);
  }

  _bounds(head) {
    this.used = head.used;
    this.stride = head.stride;
    this.began = head.began;
    this.round = head.round;
    this.epoch = head.epoch;
  }

  _place(numbers, begin, end) {
    const size = (end - begin) * this.agents;
    this.times.set(numbers.subarray(0, size), begin * this.agents);
    this.names.forEach((name, k) => {
      this.series.get(name).set(numbers.subarray((k + 1) * size, (k + 2) * size), begin * this.agents);
    });
  }

  _tell(begin, end) {
    for (const watcher of this.watchers) watcher(begin, end);
  }

  // The first frame that holds anything.
  get first() {
    for (let at = 0; at < this.used * this.agents; at++) {
      if (!Number.isNaN(this.times[at])) return Math.floor(at / this.agents);
    }
    return 0;
  }

  get last() {
    return Math.max(0, this.used - 1);
  }

  // The last round that a frame stands for; of the newest frame, the newest round.
  roundOf(frame) {
    return Math.min((frame + 1) * this.stride - 1, Math.max(this.round, 0));
  }

  row(name, frame) {
    return this.series.get(name).subarray(frame * this.agents, (frame + 1) * this.agents);
  }

  // When a frame was over for all, in seconds since the beginning.
  timeOf(frame) {
    for (let k = frame; k >= 0; k--) {
      let newest = -Infinity;
      for (let i = k * this.agents; i < (k + 1) * this.agents; i++) {
        if (this.times[i] > newest) newest = this.times[i];
      }
      if (newest > -Infinity) return newest;
    }
    return 0;
  }

  // The newest frame that was over at a time.
  frameAt(time) {
    let low = this.first;
    let high = this.last;
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if (this.timeOf(middle) <= time) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  // Every agent's value as of a frame: its own, or what it measured last before.
  asOf(name, frame) {
    const found = new Float32Array(this.agents).fill(NaN);
    const source = name === "" ? this.times : this.series.get(name);
    if (source === undefined) return found;
    let missing = this.agents;
    for (let k = frame; k >= 0 && missing > 0 && frame - k < 100; k--) {
      for (let i = 0; i < this.agents; i++) {
        const value = source[k * this.agents + i];
        if (Number.isNaN(found[i]) && !Number.isNaN(value)) {
          found[i] = value;
          missing--;
        }
      }
    }
    return found;
  }

  // The largest size over agents, of each the newest value as of a frame: those that are a round behind count.
  largest(name, frame) {
    let most = NaN;
    for (const value of this.asOf(name, frame)) {
      const size = Math.abs(value);
      if (!(size <= most) && !Number.isNaN(size)) most = size;
    }
    return most;
  }
}

// What a series is called for people.
const TITLES = {
  error: "distance",
  allocation: "allocation",
  estimate: "estimate",
  known: "agents counted",
  price: "price",
  tax: "tax",
  residual: "residual",
  demand: "demand",
  in_use: "in use",
};

export function titleOf(name, short = false) {
  const [head, good] = name.split(".");
  const title = short && head === "error" ? "distance" : TITLES[head] ?? head.replaceAll("_", " ");
  return good === undefined ? title : `${title} ${Number(good) + 1}`;
}

export function number(value, digits = 4) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size < 1e-3 || size >= 1e6) return value.toExponential(Math.max(1, digits - 2)).replace("e+", "e");
  return value.toPrecision(digits).replace(/^(-?\d+)\.$/, "$1");
}

// Values of a cascading style sheet's variable.
export function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

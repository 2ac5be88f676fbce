// An agent's state at a moment: what it is called, and how it looks.

export const STATES = {
  unknown: { title: "nothing known", variable: "unknown", hollow: true },
  setup: { title: "setting up", variable: "setup", hollow: true },
  playing: { title: "playing", variable: "playing", hollow: false },
  rest: { title: "at rest", variable: "rest", hollow: false },
  done: { title: "done", variable: "rest", hollow: false },
  down: { title: "down", variable: "down", hollow: true },
  left: { title: "left", variable: "unknown", hollow: true },
};

// Which agents have left by a time, which is for good.
export function leftBy(events, time, began) {
  const leaving = events.filter((event) => event.kind === "leave" && event.time - began <= time);
  return new Set(leaving.flatMap((event) => event.agents));
}

// Which agents are away at any moment from one time to another: killed and not back, or made to stand still.
// While somebody is away the others wait for it, so between two frames more may happen than in either.
export function awayWithin(events, from, to, began) {
  const away = new Set();
  const until = new Map();
  for (const event of events) {
    const at = event.time - began;
    if (at > to) break;
    const forEver = event.kind === "crash" && event.lasts === null;
    if (event.kind === "down" || forEver) for (const i of event.agents) away.add(i);
    if (event.kind === "back" && at <= from) for (const i of event.agents) away.delete(i);
    if (event.kind === "pause") for (const i of event.agents) until.set(i, at + (event.lasts ?? 0));
  }
  for (const [i, end] of until) if (from < end) away.add(i);
  return away;
}

// The state of every agent at a frame. Heard states count only where the newest frame is shown.
export function statesAt(data, sketch, frame, following) {
  const residuals = data.asOf("residual", frame);
  const times = data.asOf("", frame);
  const newest = following && sketch.live;
  const now = newest ? Date.now() / 1000 - data.began : data.timeOf(frame);
  const next = newest ? now : frame < data.last ? data.timeOf(frame + 1) : now;
  const away = awayWithin(sketch.events, now, next, data.began);
  const left = leftBy(sketch.events, now, data.began);
  const over = !sketch.live && sketch.outcome !== null && sketch.outcome.failed === undefined;
  const playing = over && frame === data.last ? "done" : "playing"; // not every mechanism has a threshold
  const states = new Array(data.agents);
  for (let i = 0; i < data.agents; i++) {
    const heard = sketch.states[i];
    if (left.has(i)) states[i] = "left";
    else if (away.has(i) || (newest && heard === "x")) states[i] = "down";
    else if (!Number.isNaN(times[i])) {
      const limit = data.thresholds[i];
      states[i] = limit !== null && limit !== undefined && residuals[i] <= limit ? "rest" : playing;
    } else states[i] = newest && heard !== "-" ? "setup" : "unknown";
  }
  return states;
}

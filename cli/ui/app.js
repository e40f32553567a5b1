// The page of `vflbus ui`. It hears of everything by one stream of events and draws what changed.
"use strict";

const byId = (id) => document.getElementById(id);
const state = {
  overview: { broker: {}, nodes: [], runs: [] },
  runs: new Map(),     // run id -> { metrics, losses, log, facts }
  shown: new Set(),    // runs whose curves the user has asked for, or that were chosen in place of the user
  chosen: false,       // the user has asked for some
  page: "",            // the run whose page is open; empty: all of them
  other: "",           // the run that its configuration is compared with
  statuses: new Map(), // what a screen reader was told
};
let source = null;
let listening = "";
let drawing = false;

// -- small helpers ------------------------------------------------------------------

function made(tag, text, className) {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  if (className) element.className = className;
  return element;
}
function svg(tag, attributes, text) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  return element;
}
function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
function setClass(element, name) {
  if (element.className !== name) element.className = name;
}
const short = (run) => run.slice(0, 8);
const finite = (value) => typeof value === "number" && Number.isFinite(value);
function number(value) {
  if (!finite(value)) return "-";
  if (value !== 0 && (Math.abs(value) < 1e-3 || Math.abs(value) >= 1e6)) return value.toExponential(3);
  return String(Math.round(value * 1e4) / 1e4);
}
function bytes(value) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let at = 0;
  while (value >= 1000 && at < units.length - 1) { value /= 1000; ++at; }
  return (at === 0 ? value : value.toFixed(1)) + " " + units[at];
}
function seconds(value) {
  if (!finite(value) || value < 0) return "-";
  if (value < 100) return value.toFixed(value < 10 ? 1 : 0) + " s";
  const minutes = Math.floor(value / 60);
  return minutes < 100 ? minutes + " min " + Math.floor(value % 60) + " s"
    : Math.floor(minutes / 60) + " h " + (minutes % 60) + " min";
}
const time = (text) => (text ? new Date(text).toLocaleString() : "-");
const over = (run) => ["completed", "failed", "stopped"].includes(run.status);
function duration(run) {
  if (!run.started) return "-";
  if (over(run) && finite(run.seconds)) return seconds(run.seconds);
  return over(run) ? "-" : seconds((Date.now() - new Date(run.started)) / 1000);
}
function statusClass(status) {
  if (status === "completed" || status === "up") return "good";
  if (status === "failed" || status === "lost") return "bad";
  return ["running", "starting", "pending"].includes(status) ? "" : "warn";
}
const detailsOf = (run) => {
  if (!state.runs.has(run)) state.runs.set(run, { metrics: [], losses: [], log: [], facts: null });
  return state.runs.get(run);
};
const rowOf = (run) => state.overview.runs.find((one) => one.run_id === run);

// One row for each item, by its key; rows stay, so that focus stays where it is.
function syncRows(body, items, keyOf, make, update) {
  const old = new Map();
  for (const row of body.rows) old.set(row.dataset.key, row);
  let before = body.firstElementChild;
  for (const item of items) {
    const key = keyOf(item);
    let row = old.get(key);
    if (!row) {
      row = make(item);
      row.dataset.key = key;
    }
    old.delete(key);
    if (row === before) before = before.nextElementSibling;
    else body.insertBefore(row, before);
    update(row, item);
  }
  for (const row of old.values()) row.remove();
}

// -- the stream ---------------------------------------------------------------------

function wantedAddress() {
  const curves = new Set(state.page ? [] : state.shown);
  if (state.page && state.other) curves.add(state.other);
  curves.delete(state.page);
  const query = [];
  if (curves.size) query.push("curves=" + [...curves].slice(0, 8).join(","));
  if (state.page) query.push("details=" + state.page);
  return "events" + (query.length ? "?" + query.join("&") : "");
}

function listen() {
  const address = wantedAddress();
  if (address === listening && source) return;
  listening = address;
  if (source) source.close();
  source = new EventSource(address);
  const on = (name, heard) => source.addEventListener(name, (event) => {
    heard(JSON.parse(event.data));
    draw();
  });
  on("overview", (told) => {
    state.overview = told;
    state.heard = true;
    announce();
    choose();
  });
  on("run", (told) => { detailsOf(told.run_id).facts = told; });
  on("metrics", (told) => {
    const one = detailsOf(told.run_id);
    one.metrics.length = Math.min(one.metrics.length, told.from);
    one.metrics.push(...told.entries);
  });
  on("losses", (told) => {
    const one = detailsOf(told.run_id);
    one.losses.length = Math.min(one.losses.length, told.from);
    one.losses.push(...told.points);
  });
  on("log", (told) => addLog(detailsOf(told.run_id), told));
  source.onopen = () => {
    state.gone = false;
    draw();
  };
  source.onerror = () => {
    state.gone = true;
    draw();
    // after an answer that is no stream (too many pages, a new token) a browser tries no more
    if (!source || source.readyState !== EventSource.CLOSED) return;
    source = null;
    setTimeout(() => source || listen(), 3000);
  };
}

// Until the user chooses, the curves of what runs are shown, otherwise those of the youngest run.
function choose() {
  if (state.chosen) return;
  const running = state.overview.runs.filter((run) => run.status === "running");
  const runs = (running.length ? running : state.overview.runs.slice(0, 1)).slice(0, 4);
  state.shown = new Set(runs.map((run) => run.run_id));
  listen();
}

function announce() {
  const said = [];
  for (const run of state.overview.runs) {
    const before = state.statuses.get(run.run_id);
    if (before !== undefined && before !== run.status)
      said.push("run " + short(run.run_id) + " is " + run.status + (run.reason ? ": " + run.reason : ""));
    state.statuses.set(run.run_id, run.status);
  }
  if (said.length) setText(byId("announce"), said.join(". "));
}

// -- tables of all ------------------------------------------------------------------

function makeRunRow(run) {
  const row = made("tr");
  const box = made("input");
  box.type = "checkbox";
  box.setAttribute("aria-label", "show the curve of run " + short(run.run_id));
  box.addEventListener("change", () => {
    state.chosen = true;
    if (box.checked) state.shown.add(run.run_id);
    else state.shown.delete(run.run_id);
    listen();
    draw();
  });
  row.insertCell().append(box);
  const head = made("th");
  head.scope = "row";
  const link = made("a", short(run.run_id));
  link.href = "#/run/" + run.run_id;
  head.append(link);
  row.append(head);
  row.insertCell();
  const progress = row.insertCell();
  const bar = made("progress");
  bar.setAttribute("aria-label", "steps done");
  progress.append(bar, " ", made("span"));
  for (const name of ["number", "", "wide", "number wide", "wide", "number", "number wide"])
    row.insertCell().className = name;
  return row;
}

function stepsText(run) {
  const told = run.progress;
  if (!told) return over(run) ? "" : run.trouble ? "does not answer" : "";
  if (told.step === 0 && told.steps === 0) return told.phase;
  return told.steps > 0 ? told.step + " of " + told.steps : told.step + " steps";
}

function setProgress(bar, run) {
  const told = run.progress;
  bar.hidden = !(told && told.steps > 0) || over(run);
  if (bar.hidden) return;
  bar.max = told.steps;
  bar.value = Math.min(told.step, told.steps);
}

function updateRunRow(row, run) {
  const cells = row.cells;
  const box = cells[0].firstElementChild;
  if (box.checked !== state.shown.has(run.run_id)) box.checked = state.shown.has(run.run_id);
  setText(cells[2], run.status + (run.error && run.status === "failed" ? " (" + run.error + ")" : ""));
  setClass(cells[2], statusClass(run.status));
  cells[2].title = run.reason || "";
  setProgress(cells[3].querySelector("progress"), run);
  setText(cells[3].querySelector("span"), stepsText(run));
  setText(cells[4], run.progress ? number(run.progress.loss) : "-");
  setText(cells[5], run.headline ? headline(run.headline) : "-");
  setText(cells[6], run.owner);
  setText(cells[7], String(run.participants_count));
  setText(cells[8], time(run.created));
  setText(cells[9], duration(run));
  setText(cells[10], bytes(run.bytes));
}

function headline(text) {
  const at = text.lastIndexOf(" ");
  return text.slice(0, at + 1) + number(Number(text.slice(at + 1)));
}

function makeNodeRow(node) {
  const row = made("tr");
  const head = made("th", node.name);
  head.scope = "row";
  row.append(head);
  for (const name of ["", "number", "number", "number", "number", "number wide", "wide", "wide", "wide"])
    row.insertCell().className = name;
  return row;
}

function updateNodeRow(row, node) {
  const cells = row.cells;
  setText(cells[1], node.status);
  setClass(cells[1], statusClass(node.status));
  setText(cells[2], finite(node.latency_seconds) ? (node.latency_seconds * 1000).toFixed(1) + " ms" : "-");
  setText(cells[3], finite(node.cpu) ? Math.round(node.cpu * 100) + " %" : "-");
  setText(cells[4], node.memory_bytes ? bytes(node.memory_bytes) : "-");
  setText(cells[5], String(node.runs));
  setText(cells[6], String(node.messages));
  setText(cells[7], node.role + (node.rank >= 0 ? " " + node.rank : ""));
  setText(cells[8], node.version);
  setText(cells[9], time(node.last_seen));
  row.title = node.trouble || "";
}

function drawHome() {
  const { runs, nodes } = state.overview;
  syncRows(byId("runs").tBodies[0], runs, (run) => run.run_id, makeRunRow, updateRunRow);
  syncRows(byId("nodes").tBodies[0], nodes, (node) => node.name, makeNodeRow, updateNodeRow);
  byId("no-runs").hidden = !state.heard || runs.length > 0;
  byId("no-nodes").hidden = !state.heard || nodes.length > 0;
}

// -- curves -------------------------------------------------------------------------

function pointsOf(run, metric) {
  const one = state.runs.get(run);
  if (!one) return [];
  const curves = [];
  const splits = new Map();
  for (const entry of one.metrics) {
    const value = metric in entry.metrics ? entry.metrics[metric] : metric === "loss" ? entry.loss : null;
    if (!finite(value)) continue;
    if (!splits.has(entry.split)) splits.set(entry.split, []);
    splits.get(entry.split).push([entry.step, value]);
  }
  if (metric === "loss" && one.losses.length)
    curves.push({ run, split: "batch", points: one.losses.filter((point) => finite(point[1])) });
  for (const [split, points] of splits) curves.push({ run, split, points });
  return curves;
}

function curveRuns() {
  if (!state.page) return [...state.shown];
  return state.other ? [state.page, state.other] : [state.page];
}

function metricNames() {
  const names = new Set(["loss"]);
  for (const run of curveRuns())
    for (const entry of (state.runs.get(run) || { metrics: [] }).metrics)
      for (const name of Object.keys(entry.metrics)) names.add(name);
  return [...names];
}

function drawMetricChoice() {
  const select = byId("metric");
  const names = metricNames();
  const before = [...select.options].map((option) => option.value);
  if (before.join() === names.join()) return;
  const chosen = select.value;
  select.replaceChildren(...names.map((name) => made("option", name)));
  if (names.includes(chosen)) select.value = chosen;
}

function niceTicks(low, high, count) {
  const rough = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find((factor) => factor * power >= rough) * power;
  const ticks = [];
  for (let at = Math.ceil(low / step) * step; at <= high + step * 1e-9; at += step) ticks.push(at);
  return ticks;
}

function drawCurves() {
  drawMetricChoice();
  const metric = byId("metric").value;
  const log = byId("logscale").checked;
  const usable = (point) => !log || point[1] > 0;
  const runs = curveRuns();
  const curves = runs.flatMap((run) => pointsOf(run, metric))
    .map((curve) => ({ ...curve, points: curve.points.filter(usable) }))
    .filter((curve) => curve.points.length > 0);
  byId("no-curves").hidden = curves.length > 0;
  const chart = byId("curves");
  chart.toggleAttribute("hidden", curves.length === 0);
  const wide = Math.max(280, Math.min(1000, chart.parentElement.clientWidth || 800));
  const high = wide < 500 ? 240 : 320;
  chart.setAttribute("viewBox", "0 0 " + wide + " " + high);
  const splits = ["batch", "train", "test", ""];
  const classOf = (curve) => "curve c" + (runs.indexOf(curve.run) % 8) + " d" + Math.max(0, splits.indexOf(curve.split)) % 3;
  drawChart(chart, curves, wide, high, log, classOf);
  byId("legend").replaceChildren(...curves.map((curve) => {
    const item = made("li");
    const line = svg("svg", { viewBox: "0 0 30 10", "aria-hidden": "true" });
    line.append(svg("path", { d: "M0 5H30", class: classOf(curve) }));
    item.append(line, " " + short(curve.run) + " " + curve.split + ": " + number(curve.points[curve.points.length - 1][1]));
    return item;
  }));
  drawNumbers(curves, metric);
}

function drawChart(chart, curves, wide, high, log, classOf) {
  const all = curves.flatMap((curve) => curve.points);
  if (!all.length) return chart.replaceChildren();
  const up = (value) => (log ? Math.log10(value) : value);
  let [left, right, low, top] = [Infinity, -Infinity, Infinity, -Infinity];
  for (const [step, value] of all) {
    left = Math.min(left, step);
    right = Math.max(right, step);
    low = Math.min(low, up(value));
    top = Math.max(top, up(value));
  }
  if (right === left) right = left + 1;
  if (top === low) { top += 0.5; low -= 0.5; }
  const [x0, x1, y0, y1] = [64, wide - 14, high - 28, 12];
  const x = (step) => x0 + ((step - left) / (right - left)) * (x1 - x0);
  const y = (value) => y0 + ((value - low) / (top - low)) * (y1 - y0);
  const parts = [];
  for (const tick of niceTicks(low, top, 5)) {
    parts.push(svg("line", { x1: x0, x2: x1, y1: y(tick), y2: y(tick), class: "grid" }));
    parts.push(svg("text", { x: x0 - 6, y: y(tick) + 4, "text-anchor": "end" }, number(log ? 10 ** tick : tick)));
  }
  for (const tick of niceTicks(left, right, wide < 500 ? 4 : 8))
    if (x(tick) < x1 - 60) parts.push(svg("text", { x: x(tick), y: y0 + 18, "text-anchor": "middle" }, number(tick)));
  parts.push(svg("text", { x: x1, y: y0 + 18, "text-anchor": "end" }, "steps"));
  for (const curve of curves) {
    const path = curve.points.map(([step, value], i) => (i ? "L" : "M") + x(step).toFixed(1) + " " + y(up(value)).toFixed(1));
    if (path.length === 1) path.push("h4");
    parts.push(svg("path", { d: path.join(""), class: classOf(curve) }));
  }
  chart.replaceChildren(...parts);
}

// The same numbers as the curves: the last 200 steps that have one.
function drawNumbers(curves, metric) {
  const table = byId("numbers");
  if (!table.closest("details").open) return;
  const heads = ["Step", ...curves.map((curve) => short(curve.run) + " " + curve.split + " " + metric)];
  const row = made("tr");
  row.append(...heads.map((text) => {
    const cell = made("th", text, "number");
    cell.scope = "col";
    return cell;
  }));
  table.tHead.replaceChildren(row);
  const steps = new Map();
  curves.forEach((curve, i) => {
    for (const [step, value] of curve.points) {
      if (!steps.has(step)) steps.set(step, []);
      steps.get(step)[i] = value;
    }
  });
  const lines = [...steps.entries()].sort((a, b) => b[0] - a[0]).slice(0, 200);
  table.tBodies[0].replaceChildren(...lines.map(([step, values]) => {
    const line = made("tr");
    line.append(made("td", String(step), "number"));
    for (let i = 0; i < curves.length; ++i) line.append(made("td", number(values[i]), "number"));
    return line;
  }));
}

// -- one run ------------------------------------------------------------------------

function drawOne() {
  const run = rowOf(state.page);
  const facts = (state.runs.get(state.page) || {}).facts;
  setText(byId("one-title"), "Run " + short(state.page));
  if (!run) {
    setText(byId("one-status"), state.heard ? "Nothing here knows this run, or your key may not see it." : "");
    byId("stop").disabled = true;
    return;
  }
  setText(byId("one-status"), run.status + (run.error ? " (" + run.error + ")" : "") + (run.local ? ", from its files here" : ""));
  setClass(byId("one-status"), statusClass(run.status));
  const reason = run.reason || (over(run) ? "" : waitsFor(run) || run.trouble);
  byId("one-reason").hidden = !reason;
  setText(byId("one-reason"), reason || "");
  setProgress(byId("one-progress"), run);
  const steps = stepsText(run);
  setText(byId("one-steps"), steps + (run.progress && finite(run.progress.loss) ? (steps ? ", " : "") + "loss " + number(run.progress.loss) : "")
    + (run.progress && run.progress.epochs ? ", epoch " + run.progress.epoch + " of " + run.progress.epochs : ""));
  byId("stop").disabled = over(run) || run.local;
  const list = [["Run", run.run_id], ["Phase", run.progress ? run.progress.phase : "-"], ["Owner", run.owner + " (" + run.role + ")"],
    ["Created", time(run.created)], ["Started", time(run.started)], ["Finished", time(run.finished)], ["Time", duration(run)],
    ["Messages", String(run.messages)], ["Bytes", bytes(run.bytes)], ["Term", String(run.term)]];
  const text = list.map((pair) => pair.join("=")).join();
  if (byId("one-facts").dataset.text !== text) {
    byId("one-facts").dataset.text = text;
    byId("one-facts").replaceChildren(...list.flatMap(([name, value]) => [made("dt", name), made("dd", value)]));
  }
  drawParties(run, facts);
  drawLog();
  drawConfig(facts);
}

// Who of a run's parties is not there, and since when.
function waitsFor(run) {
  const missing = state.overview.nodes.filter((node) =>
    (run.participants.includes(node.name) || node.name === run.owner) && node.status !== "up");
  return missing.map((node) => node.name + " is " + node.status + ", last heard " + time(node.last_seen)).join("; ");
}

// What each party has done in the steps that were told of: sums in microseconds.
function partySums(run, steps) {
  const sums = new Map([[run.owner, { compute: 0, transfer: 0, wait: 0, knows: true }]]);
  for (const step of steps) {
    const owner = sums.get(run.owner);
    owner.compute += Math.min(step.compute_us, step.took_us);
    owner.wait += Math.max(0, step.took_us - step.compute_us);
    const took = new Map();
    for (const wait of step.waits) {
      const one = took.get(wait.party) || { took: 0, compute: 0, knows: true };
      one.took += wait.took_us;
      if ("compute_us" in wait) one.compute += wait.compute_us;
      else one.knows = false;
      took.set(wait.party, one);
    }
    for (const [party, one] of took) {
      const sum = sums.get(party) || { compute: 0, transfer: 0, wait: 0, knows: true };
      sum.compute += one.compute;
      sum.transfer += Math.max(0, one.took - one.compute);
      sum.wait += Math.max(0, step.took_us - one.took);
      sum.knows = sum.knows && one.knows;
      sums.set(party, sum);
    }
  }
  return sums;
}

function drawParties(run, facts) {
  const steps = facts ? facts.steps.slice(-12) : [];
  const sums = partySums(run, steps);
  const names = [...new Set([run.owner, ...run.participants])];
  const items = names.map((name) => {
    const node = state.overview.nodes.find((one) => one.name === name);
    return { name, status: node ? node.status : over(run) ? "gone" : "unknown", sum: steps.length ? sums.get(name) : null };
  });
  syncRows(byId("parties").tBodies[0], items, (item) => item.name, (item) => {
    const row = made("tr");
    const head = made("th", item.name);
    head.scope = "row";
    row.append(head);
    for (const name of ["", "number", "number", "number", "wide"]) row.insertCell().className = name;
    row.cells[5].append(svg("svg", { class: "bar", viewBox: "0 0 100 8", preserveAspectRatio: "none", "aria-hidden": "true" }));
    return row;
  }, (row, item) => {
    const ms = (value) => (item.sum ? (value / 1000 / steps.length).toFixed(2) : "-");
    setText(row.cells[1], item.status);
    setClass(row.cells[1], statusClass(item.status));
    setText(row.cells[2], item.sum && item.sum.knows ? ms(item.sum.compute) : "-");
    setText(row.cells[3], item.sum ? ms(item.sum.transfer) + (item.sum.knows ? "" : " with computing") : "-");
    setText(row.cells[4], item.sum ? ms(item.sum.wait) : "-");
    const parts = [];
    if (item.sum) {
      const all = item.sum.compute + item.sum.transfer + item.sum.wait || 1;
      let at = 0;
      for (const kind of ["compute", "transfer", "wait"]) {
        const width = (item.sum[kind] / all) * 100;
        parts.push(svg("rect", { x: at, y: 0, width, height: 8, class: kind }));
        at += width;
      }
    }
    row.cells[5].firstElementChild.replaceChildren(...parts);
  });
  let slow = null;
  for (const [name, sum] of sums)
    if (name !== run.owner && (!slow || sum.compute + sum.transfer > slow[1])) slow = [name, sum.compute + sum.transfer];
  setText(byId("slow"), slow && steps.length ? "Of the last " + steps.length + " steps " + slow[0] +
    " took longest to answer: " + (slow[1] / 1000 / steps.length).toFixed(2) + " ms a step." : "");
  drawTimeline(names, run.owner, steps);
}

function drawTimeline(names, owner, steps) {
  byId("timeline-figure").hidden = steps.length === 0;
  if (!steps.length) return;
  const [wide, lane, left] = [1000, 22, 110];
  const all = steps.reduce((sum, step) => sum + step.took_us, 0) || 1;
  const x = (us) => left + (us / all) * (wide - left - 10);
  const chart = byId("timeline");
  chart.setAttribute("viewBox", "0 0 " + wide + " " + (names.length * lane + 24));
  const parts = [];
  names.forEach((name, i) => {
    parts.push(svg("text", { x: 6, y: i * lane + 16 }, name.slice(0, 16)));
    parts.push(svg("rect", { x: left, y: i * lane + 4, width: wide - left - 10, height: lane - 6, class: "wait" }));
  });
  const block = (i, from, us, kind) =>
    us > 0 && parts.push(svg("rect", { x: x(from), y: i * lane + 4, width: Math.max(0.5, x(from + us) - x(from)), height: lane - 6, class: kind }));
  let begun = 0;
  for (const step of steps) {
    block(names.indexOf(owner), begun, Math.min(step.compute_us, step.took_us), "compute");
    for (const wait of step.waits) {
      const i = names.indexOf(wait.party);
      if (i < 0) continue;
      const took = Math.min(wait.took_us, Math.max(0, step.took_us - wait.asked_us));
      block(i, begun + wait.asked_us, took, "transfer");
      const compute = Math.min(wait.compute_us || 0, took);
      block(i, begun + wait.asked_us + (took - compute) / 2, compute, "compute");
    }
    parts.push(svg("line", { x1: x(begun), x2: x(begun), y1: 0, y2: names.length * lane + 4, class: "grid" }));
    parts.push(svg("text", { x: x(begun) + 2, y: names.length * lane + 18 }, String(step.step)));
    begun += step.took_us;
  }
  chart.replaceChildren(...parts);
}

function addLog(one, told) {
  if (told.from === 0) one.log = [];
  for (const [party, text] of told.lines) {
    const at = /^\d{4}-\d\d-\d\dT/.test(text) ? text.slice(0, 24) : one.log.length ? one.log[one.log.length - 1].at : "";
    let place = one.log.length;
    while (place > 0 && one.log[place - 1].at > at) --place;
    one.log.splice(place, 0, { party, text, at });
  }
  one.log.splice(0, one.log.length - 2000);
  one.logChanged = true;
}

function drawLog() {
  const one = detailsOf(state.page);
  const party = byId("log-party").value;
  const filter = byId("log-filter").value.toLowerCase();
  const key = [state.page, party, filter].join("|");
  const box = byId("log");
  const parties = [...new Set(one.log.map((line) => line.party))].sort();
  const choice = byId("log-party");
  if ([...choice.options].slice(1).map((option) => option.value).join() !== parties.join()) {
    choice.replaceChildren(made("option", "all"), ...parties.map((name) => made("option", name)));
    choice.options[0].value = "";
    choice.value = parties.includes(party) ? party : "";
  }
  const missing = ((one.facts || {}).log_missing || []).map(([name, why]) => name + " gives no lines: " + why);
  if (byId("log-missing").dataset.text !== missing.join()) {
    byId("log-missing").dataset.text = missing.join();
    byId("log-missing").replaceChildren(...missing.map((text) => made("li", text)));
  }
  if (!one.logChanged && box.dataset.key === key) return;
  one.logChanged = false;
  box.dataset.key = key;
  const lines = one.log.filter((line) => (!party || line.party === party) && line.text.toLowerCase().includes(filter));
  box.replaceChildren(...lines.map((line) => made("div", line.text, / (warn|warning|error|level=warn|level=error) /i.test(line.text) ? "warn" : "")));
  if (byId("log-follow").checked) box.scrollTop = box.scrollHeight;
}

function valuesOf(text) {
  const values = new Map();
  for (const line of (text || "").split("\n")) {
    const at = line.indexOf(" = ");
    if (at > 0) values.set(line.slice(0, at), line.slice(at + 3));
  }
  return values;
}

function drawConfig(facts) {
  const select = byId("other");
  const others = state.overview.runs.map((run) => run.run_id).filter((run) => run !== state.page);
  if ([...select.options].slice(1).map((option) => option.value).join() !== others.join()) {
    select.replaceChildren(made("option", "no other run"), ...others.map((run) => {
      const option = made("option", short(run));
      option.value = run;
      return option;
    }));
    select.options[0].value = "";
    if (!others.includes(state.other)) state.other = "";
    select.value = state.other;
  }
  const mine = valuesOf(facts && facts.configuration);
  const other = valuesOf(state.other && ((state.runs.get(state.other) || {}).facts || {}).configuration);
  setText(byId("other-title"), state.other ? short(state.other) : "Other");
  const alone = byId("only-different").checked && state.other;
  const keys = [...new Set([...mine.keys(), ...(state.other ? other.keys() : [])])].sort()
    .filter((name) => !alone || mine.get(name) !== other.get(name));
  syncRows(byId("config").tBodies[0], keys, (name) => name, (name) => {
    const row = made("tr");
    row.append(made("td", name), made("td"), made("td"));
    return row;
  }, (row, name) => {
    setText(row.cells[1], mine.get(name) || "-");
    setText(row.cells[2], state.other ? other.get(name) || "-" : "");
    setClass(row, state.other && mine.get(name) !== other.get(name) ? "different" : "");
  });
}

// -- all of it ----------------------------------------------------------------------

function draw() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    const broker = state.overview.broker;
    const text = state.gone ? "`vflbus ui` does not answer, wants its token again, or has too many pages open; trying again"
      : !state.heard ? "connecting"
      : broker.answers ? broker.address + ", version " + broker.version
      : broker.trouble + (state.overview.runs.length ? "; these runs lie in files here" : "");
    setText(byId("broker"), text);
    setClass(byId("broker"), state.gone || (state.heard && !broker.answers) ? "bad" : "quiet");
    byId("home").hidden = state.page !== "";
    byId("one").hidden = byId("one-more").hidden = state.page === "";
    if (state.page) drawOne();
    else drawHome();
    drawCurves();
  });
}

function route() {
  const found = /^#\/run\/([0-9a-f]{32})$/.exec(location.hash);
  if (location.hash && !location.hash.startsWith("#/")) return;  // the skip link
  const page = found ? found[1] : "";
  if (page !== state.page) {
    state.other = "";
    byId("stop-said").textContent = "";
  }
  state.page = page;
  document.title = page ? "Run " + short(page) + " - vflbus" : "vflbus";
  listen();
  draw();
  if (page) requestAnimationFrame(() => byId("one-title").focus());
}

async function stop() {
  byId("sure").close();
  const said = byId("stop-said");
  said.textContent = "asking its owner";
  try {
    const answer = await fetch("stop?run=" + state.page, {
      method: "POST",
      headers: { "X-Vflbus-Action": document.querySelector("meta[name=action-word]").content },
    });
    // another process at this address has another word
    said.textContent = answer.status === 403 || answer.status === 401
      ? "`vflbus ui` was started again; load this page anew, then stop the run" : (await answer.json()).sentence;
  } catch (failure) {
    said.textContent = "that did not arrive: " + failure.message;
  }
}

byId("stop").addEventListener("click", () => byId("sure").showModal());
byId("sure-yes").addEventListener("click", stop);
byId("sure-no").addEventListener("click", () => byId("sure").close());
for (const id of ["metric", "logscale", "log-party", "only-different"]) byId(id).addEventListener("change", draw);
byId("log-filter").addEventListener("input", draw);
byId("numbers").closest("details").addEventListener("toggle", draw);
byId("other").addEventListener("change", () => {
  state.other = byId("other").value;
  listen();
  draw();
});
addEventListener("hashchange", route);
addEventListener("resize", draw);
setInterval(draw, 1000);
route();

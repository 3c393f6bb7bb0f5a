"use strict";
const doc = replay.document;
const byId = id => document.getElementById(id);
const css = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const make = (tag, text, attributes = {}) => {
  const e = document.createElement(tag);
  if (text != null) e.textContent = text;
  for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
  return e;
};

// A trace's own clock starts at 0: then days are counted instead of dated.
const counted = new Date(doc.trace.from).getTime() === 0;
const two = n => String(n).padStart(2, "0");
const clock = t => { const d = new Date(t * 1000); return two(d.getUTCHours()) + ":" + two(d.getUTCMinutes()); };
const dayOf = t => counted ? "day " + Math.floor(t / 86400) : new Date(t * 1000).toISOString().slice(0, 10);
const when = t => dayOf(t) + " " + clock(t);
const figures = (v, n = 4) => v == null ? "–" : Number(v.toPrecision(n)).toString();
const percent = v => (100 * v).toFixed(2) + " %";
const span = s => [[Math.floor(s / 3600), "h"], [Math.floor(s / 60) % 60, "min"], [Math.round(s % 60), "s"]].filter(p => p[0] > 0).map(p => p.join(" ")).join(" ") || "0 s";

const x = new Float64Array(replay.minutes);
for (let i = 0; i < x.length; i++) x[i] = replay.start + 60 * i;
const unroll = r => { const out = new Array(x.length); let at = 0; for (let i = 0; i < r.length; i += 2) { out.fill(r[i], at, at + r[i + 1]); at += r[i + 1]; } return out; };

function head() {
  byId("target").textContent = doc.workload.target;
  const days = (new Date(doc.trace.to) - new Date(doc.trace.scoredFrom)) / 86400e3;
  byId("facts").textContent = `${doc.trace.name}: ${figures(days, 3)} days scored, mean load ${figures(doc.trace.meanLoad)}${doc.trace.unit ? " " + doc.trace.unit : ""}, ` +
    `${figures(doc.workload.perReplica)} each replica. Lead time ${doc.workload.leadTime}; Headroom knew ${span(doc.workload.leadTimeUsedSeconds)} and forecast the maximum over ${span(doc.workload.horizonSeconds)}. ` +
    `Actuation ${doc.workload.actuation}. ${doc.workload.service}`;
  const a = doc.policies.find(p => p.name === "HPA as it is"), h = doc.policies.find(p => p.name === "Headroom");
  if (a && h) byId("verdict").textContent = `With Headroom ${percent(h.lateShare)} of the work is late instead of ${percent(a.lateShare)}, for ${h.replicaHours >= a.replicaHours ? "+" : "−"}${Math.abs(100 * (h.replicaHours / a.replicaHours - 1)).toFixed(0)} % of the replica-hours.`;
}

const columns = [
  ["late work", "lateShare", percent], ["unserved", "unservedShare", percent], ["minutes short", "underProvisionedMinutes", v => String(v)],
  ["wait P50", "waitP50Seconds", v => v + " s"], ["P95", "waitP95Seconds", v => v + " s"], ["P99", "waitP99Seconds", v => v + " s"],
  ["replica-hours", "replicaHours", v => v.toFixed(1)], ["cost", "cost", v => doc.workload.pricePerGPUHour ? v.toFixed(2) : "–"], ["× oracle", "costToOracle", v => v == null ? "–" : v.toFixed(3)],
  ["pods started", "podsStarted", v => String(v)], ["worst day", "worstDayLateShare", percent],
];
const shown = new Set(["HPA as it is", "HPA +2", "Headroom"]);

function table() {
  const t = byId("policies"), h = t.createTHead().insertRow(), b = t.createTBody();
  h.append(make("th", "policy", { scope: "col" }), ...columns.map(c => make("th", c[0], { scope: "col" })));
  doc.policies.forEach((p, i) => {
    const row = b.insertRow(), first = row.insertCell(), label = make("label", null, { title: p.what }), box = make("input", null, { type: "checkbox", id: "p" + i });
    row.dataset.policy = p.name;
    if (p.name === "Headroom") row.className = "own";
    box.checked = shown.has(p.name);
    box.addEventListener("change", () => { box.checked ? shown.add(p.name) : shown.delete(p.name); plots(); });
    label.append(box, p.name);
    first.append(label);
    for (const [, field, show] of columns) {
      const cell = row.insertCell();
      cell.dataset.field = field;
      cell.textContent = show(p[field]);
      if (field === "worstDayLateShare") cell.textContent += " on " + p.worstDay;
    }
  });
}

const legend = () => {
  const mark = (inner, text) => { const s = make("span"); s.innerHTML = `<svg viewBox="0 0 26 12" style="width:26px">${inner}</svg>`; s.append(text); return s; };
  byId("key").replaceChildren(
    mark(`<path d="M0 6h26" stroke="${css("--demand")}" stroke-width="1.5"/>`, "demand, in replicas"),
    mark(`<path d="M0 1h26v10H0z" fill="rgba(${css("--band")},0.45)"/>`, "forecast, up to the quantile asked for"),
    mark(`<path d="M0 6h26" stroke="${css("--floor")}" stroke-width="2" stroke-dasharray="5 3"/>`, "floor"),
    mark(`<path d="M0 6h26" stroke="${css("--ready")}" stroke-width="3"/>`, "ready pods"),
    mark(`<path d="M0 1h26v10H0z" fill="${css("--pods")}"/>`, "pods that load"),
    mark(`<path d="M0 1h26v10H0z" fill="${css("--late")}"/>`, "late work"));
};

let all = []; // {name, u, life, read}
let range = null; // what is shown, in all plots alike
const sync = uPlot.sync("time");

const lives = new Map();
function life(name) {
  if (!lives.has(name)) {
    const l = replay.lives.find(l => l.name === name);
    const ready = unroll(l.ready), pods = unroll(l.pods), floor = unroll(l.floor);
    const late = replay.demand.map((d, i) => d == null ? null : Math.max(d, ready[i]));
    lives.set(name, { name, ready, pods, floor: floor.some(v => v > 0) ? floor : null, late, reasons: l.reasons || [] });
  }
  return lives.get(name);
}

// The reason that stood at minute i.
function reason(l, i) {
  let a = 0, b = l.reasons.length;
  while (a < b) { const m = (a + b) >> 1; l.reasons[m].m <= i ? a = m + 1 : b = m; }
  return a ? l.reasons[a - 1].t : "";
}

function tell(p) {
  const i = p.u.cursor.idx, l = p.life;
  if (i == null) { p.read.textContent = ""; return; }
  const d = replay.demand[i], short = d == null ? null : Math.max(0, d - l.ready[i]), top = replay.bands[replay.bands.length - 1];
  p.read.replaceChildren(make("b", when(x[i])), ` demand ${d == null ? "unknown" : figures(d * doc.workload.perReplica) + ", takes " + figures(d, 3)}; ready ${l.ready[i]} of ${l.pods[i]}` +
    (l.floor ? `; floor ${l.floor[i]}` : "") + (top && top.value[i] != null ? `; q${top.quantile} ${figures(top.value[i], 3)}` : "") + (short > 1e-9 ? `; short by ${figures(short, 3)}` : "") + ". ");
  const why = reason(l, i);
  if (why) p.read.append(make("span", why, { class: "why" }));
}

const stepped = uPlot.paths.stepped({ align: 1 });
function options(l, width) {
  const withBands = l.reasons.length > 0 && replay.bands.length > 0;
  const axis = { stroke: () => css("--soft"), grid: { stroke: () => css("--rule"), width: 1 }, ticks: { stroke: () => css("--rule") }, font: "12px system-ui, sans-serif" };
  const none = { stroke: null, width: 0, points: { show: false } };
  const series = [{}, // x, then: demand-or-ready (late's upper edge), ready (its lower), pods, bands, floor, demand
    { ...none, paths: stepped }, { ...none, paths: stepped }, { ...none, paths: stepped }];
  const data = [x, l.late, l.ready, l.pods];
  const bands = [{ series: [3, 2], fill: () => css("--pods") }];
  if (withBands) {
    const low = replay.bands[0].value, high = replay.bands[replay.bands.length - 1].value;
    series.push({ ...none }, { ...none });
    data.push(low, high);
    bands.push({ series: [5, 4], fill: () => `rgba(${css("--band")},0.45)` });
  }
  bands.push({ series: [1, 2], fill: () => css("--late") });
  if (l.floor) { series.push({ stroke: () => css("--floor"), width: 1.5, dash: [6, 4], paths: stepped, points: { show: false } }); data.push(l.floor); }
  series.push({ stroke: () => css("--ready"), width: 2, paths: stepped, points: { show: false } }); data.push(l.ready);
  series.push({ stroke: () => css("--demand"), width: 1, paths: stepped, points: { show: false } }); data.push(replay.demand);
  return [{
    width, height: width < 600 ? 220 : 260, series, bands, pxAlign: 0,
    tzDate: t => uPlot.tzDate(new Date(t * 1e3), "Etc/UTC"),
    axes: [{ ...axis, size: 34, space: 90, values: (u, splits) => splits.map((t, i) => clock(t) === "00:00" ? dayOf(t) : i === 0 ? when(t) : clock(t)) }, { ...axis, size: 44 }],
    scales: { y: { range: (u, lo, hi) => [0, Math.max(1, hi * 1.05)] } },
    cursor: { sync: { key: "time", setSeries: false }, drag: { x: true, y: false }, y: false, points: { show: false } },
    hooks: {
      setScale: [(u, key) => { if (key === "x") follow(u); }],
      setCursor: [u => { const p = all.find(p => p.u === u); if (p) tell(p); }],
    },
  }, data];
}

let following = false;
function follow(u) {
  if (following) return;
  following = true;
  range = [u.scales.x.min, u.scales.x.max];
  for (const p of all) if (p.u !== u) p.u.setScale("x", { min: range[0], max: range[1] });
  following = false;
}
function look(from, to) {
  const least = x[0], most = x[x.length - 1], width = Math.min(Math.max(to - from, 900), most - least);
  from = Math.min(Math.max(from, least), most - width);
  if (all.length) all[0].u.setScale("x", { min: from, max: from + width });
}

function keys(p, e) {
  const u = p.u, [a, b] = range, w = b - a, at = u.cursor.idx ?? u.valToIdx((a + b) / 2);
  const go = i => {
    i = Math.min(Math.max(i, 0), x.length - 1);
    if (x[i] < range[0] || x[i] > range[1]) look(x[i] - w / 2, x[i] + w / 2);
    u.setCursor({ left: u.valToPos(x[i], "x"), top: u.bbox.height / 2 / devicePixelRatio });
  };
  const stride = Math.max(1, Math.round(w / 60 / 200));
  switch (e.key) {
    case "ArrowLeft": e.shiftKey ? look(a - w / 4, b - w / 4) : go(at - stride); break;
    case "ArrowRight": e.shiftKey ? look(a + w / 4, b + w / 4) : go(at + stride); break;
    case "+": case "=": { const m = x[at]; look(m - w / 4, m + w / 4); break; }
    case "-": case "_": { const m = x[at]; look(m - w, m + w); break; }
    case "0": look(x[0], x[x.length - 1]); break;
    case "l": case "L": {
      let i = at + 1;
      const short = i => replay.demand[i] != null && replay.demand[i] > p.life.ready[i] + 1e-9;
      while (i < x.length && short(i)) i++;
      while (i < x.length && !short(i)) i++;
      if (i < x.length) go(i);
      break;
    }
    default: return;
  }
  e.preventDefault();
}

function plots() {
  for (const p of all) p.u.destroy();
  all = [];
  const box = byId("plots"), width = Math.max(280, box.clientWidth);
  box.replaceChildren();
  for (const policy of doc.policies) {
    if (!shown.has(policy.name)) continue;
    const l = life(policy.name), title = make("h3", `${policy.name}: ${percent(policy.lateShare)} late, ${policy.replicaHours.toFixed(0)} replica-hours`);
    const plot = make("div", null, { class: "plot", tabindex: "0", role: "group", "aria-roledescription": "time plot", "aria-label": `Timeline of ${policy.name}. ${policy.what}` });
    const read = make("div", null, { class: "read", "aria-live": "polite" });
    box.append(title, make("div", policy.what, { class: "soft" }), plot, read);
    const [o, data] = options(l, width), p = { name: policy.name, life: l, read };
    p.u = new uPlot(o, data, plot);
    all.push(p);
    plot.addEventListener("keydown", e => keys(p, e));
  }
  if (!range) range = start();
  look(range[0], range[1]);
}

// At first two days are shown: those about the day on which the HPA alone is short for longest.
function start() {
  const worst = life("HPA as it is");
  let best = replay.scored, most = -1;
  for (let i = replay.scored; i < x.length; i += 1440) {
    let sum = 0;
    for (let j = i; j < Math.min(i + 1440, x.length); j++) if (replay.demand[j] > worst.ready[j] + 1e-9) sum++;
    if (sum > most) { most = sum; best = i; }
  }
  const from = x[Math.max(0, best - 720)];
  return [from, Math.min(from + 2 * 86400, x[x.length - 1])];
}

// chart is a small SVG with two linear or logarithmic axes; marks have titles.
function chart(into, o) {
  const W = 460, H = 330, L = 56, R = 14, T = 12, B = 44;
  const scale = (a, from, to) => v => { const f = a.log ? Math.log10 : z => z; return from + (f(Math.max(v, a.min)) - f(a.min)) / (f(a.max) - f(a.min)) * (to - from); };
  const X = scale(o.x, L, W - R), Y = scale(o.y, H - B, T), parts = [];
  const esc = s => String(s).replace(/[&<>"]/g, c => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[c]);
  for (const [a, horizontal] of [[o.x, false], [o.y, true]]) for (const t of a.ticks) {
    const at = horizontal ? Y(t) : X(t);
    parts.push(horizontal ? `<path d="M${L} ${at}H${W - R}" stroke="var(--rule)"/><text x="${L - 6}" y="${at + 4}" text-anchor="end">${a.show(t)}</text>`
      : `<path d="M${at} ${T}V${H - B}" stroke="var(--rule)"/><text x="${at}" y="${H - B + 16}" text-anchor="middle">${a.show(t)}</text>`);
  }
  parts.push(`<text x="${(L + W - R) / 2}" y="${H - 6}" text-anchor="middle">${esc(o.x.name)}</text><text transform="translate(13 ${(T + H - B) / 2}) rotate(-90)" text-anchor="middle">${esc(o.y.name)}</text>`);
  for (const l of o.lines || []) parts.push(`<path d="M${l.points.map(p => X(p[0]) + " " + Y(p[1])).join("L")}" fill="none" stroke="var(${l.colour})" stroke-width="1.5" stroke-dasharray="${l.dash || ""}"/>`);
  const shapes = { circle: (a, b) => `<circle cx="${a}" cy="${b}" r="4"`, square: (a, b) => `<rect x="${a - 4}" y="${b - 4}" width="8" height="8"`, cross: (a, b) => `<path d="M${a} ${b - 5}l5 9h-10z"`, star: (a, b) => `<path d="M${a - 6} ${b}l6 -6 6 6 -6 6z"` };
  const taken = []; // boxes of labels, so that none lies on another
  const label = m => {
    const w = 7 * m.text.length, a = X(m.x) + 8 + w > W ? X(m.x) - 8 - w : X(m.x) + 8, free = b => taken.every(t => a + w < t[0] || t[0] + t[2] < a || Math.abs(t[1] - b) > 13);
    const b = [4, -10, 18, -24, 32, -38, -52, -66].map(d => Y(m.y) + d).find(b => b > T && b < H - B + 2 && free(b)) ?? Y(m.y) + 4;
    taken.push([a, b, w]);
    return `<text x="${a}" y="${b}">${esc(m.text)}</text>`;
  };
  for (const m of o.marks) parts.push(`${shapes[m.shape](X(m.x), Y(m.y))} fill="var(${m.colour})" stroke="var(--paper)" stroke-width="0.8"><title>${esc(m.title)}</title></${m.shape === "circle" ? "circle" : m.shape === "square" ? "rect" : "path"}>` + (m.text ? label(m) : ""));
  into.innerHTML = `<svg viewBox="0 0 ${W} ${H}" role="img" aria-label="${esc(o.label)}">${parts.join("")}</svg>`;
}

function frontier() {
  const f = doc.frontier, floor = 1e-5;
  const points = doc.policies.map(p => ({ x: p.replicaHours, y: p.lateShare, shape: "star", colour: p.name === "Headroom" ? "--late" : "--demand", title: `${p.name}: ${p.replicaHours.toFixed(0)} replica-hours, ${percent(p.lateShare)} late`, text: p.name }));
  const lines = [];
  if (f) for (const [list, shape, colour] of [[f.constant, "square", "--floor"], [f.crane, "cross", "--other"], [f.headroom, "circle", "--ready"]])
    for (const p of list) points.unshift({ x: p.replicaHours, y: p.lateShare, shape, colour, title: `${p.name}: ${p.replicaHours.toFixed(0)} replica-hours, ${percent(p.lateShare)} late` });
  const xs = points.map(p => p.x), lo = Math.min(...xs), hi = Math.max(...xs), top = Math.max(...points.map(p => p.y), 1e-4);
  if (f) lines.push({ points: [[lo, 1 - f.slo], [hi, 1 - f.slo]], colour: "--soft", dash: "4 4" });
  const ticks = []; for (let e = -5; e <= 0; e++) if (10 ** e <= top * 10) ticks.push(10 ** e);
  const step = 10 ** Math.floor(Math.log10((hi - lo || 1) / 3)), xt = []; for (let v = Math.ceil(lo / step) * step; v <= hi; v += step * Math.ceil((hi - lo) / step / 5)) xt.push(v);
  const pad = (hi - lo || 1) * 0.06;
  chart(byId("frontier"), { label: "Replica-hours against the share of late work, by policy", lines, marks: points,
    x: { name: "replica-hours", min: lo - pad, max: hi + pad * 3, ticks: xt, show: v => String(Math.round(v)) },
    y: { name: "late work", log: true, min: floor, max: ticks[ticks.length - 1], ticks, show: v => +(100 * v).toPrecision(3) + " %" } });
  const say = make("p", null, { class: "soft" });
  if (f) {
    say.textContent = "Circles: Headroom by quantile and buffer. Squares: N + b. Triangles: Crane-like margins. Diamonds: the policies of the table. " +
      (f.cheapest ? `Cheapest with ${percent(f.slo)} of the work in time: ${f.cheapest.name}, ${f.cheapest.replicaHours.toFixed(0)} replica-hours.` : `No setting serves ${percent(f.slo)} of the work in time.`);
  } else say.textContent = "Down and to the left is better; no late work is drawn at the bottom. With --sweep other quantiles, buffers and margins are shown too.";
  byId("frontier").append(say);
}

function calibration() {
  const t = [0, 0.25, 0.5, 0.75, 1];
  chart(byId("calibration"), { label: "Share of forecasts that held, by quantile", lines: [{ points: [[0, 0], [1, 1]], colour: "--soft", dash: "4 4" }, { points: doc.calibration.map(c => [c.quantile, c.coverage]), colour: "--ready" }],
    marks: doc.calibration.map(c => ({ x: c.quantile, y: c.coverage, shape: "circle", colour: "--ready", title: `q${c.quantile}: demand stayed within it ${percent(c.coverage)} of the time (${c.outcomes} outcomes)` })),
    x: { name: "quantile", min: 0, max: 1, ticks: t, show: v => v }, y: { name: "how often the maximum stayed within it", min: 0, max: 1, ticks: t, show: v => v } });
  byId("calibration").append(make("p", "On the diagonal a forecast says what it means. " + doc.calibration.filter(c => c.quantile >= 0.5).map(c => `q${c.quantile}: ${percent(c.coverage)}`).join(", ") + ".", { class: "soft" }));
}

function notes() {
  const texts = [...doc.notes, ...doc.trace.issues];
  byId("s-notes").hidden = texts.length === 0;
  byId("notes").replaceChildren(...texts.map(t => make("li", t)));
}

head(); table(); legend(); plots(); frontier(); calibration(); notes();
let width = byId("plots").clientWidth;
new ResizeObserver(() => { const w = byId("plots").clientWidth; if (w !== width) { width = w; plots(); } }).observe(byId("plots"));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { legend(); for (const p of all) p.u.redraw(); });
document.documentElement.dataset.drawn = "true";

"use strict";
// Draws /status.json. Every text goes in as a text node, so that no name of a bundle or caller can become markup.

const POLL_MS = 2000;
const OLD_S = 10;
const UNKNOWN = "–";
const SVG = "http://www.w3.org/2000/svg";

function element(name, attributes, ...children) {
  const made = name.startsWith("svg:") ? document.createElementNS(SVG, name.slice(4)) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) made.setAttribute(key, value);
  made.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return made;
}

const known = (value) => value !== null && value !== undefined && value !== "" && !Number.isNaN(value);
const number = (value, digits = 0) =>
  known(value) ? Number(value).toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits }) : UNKNOWN;
// Small rates with two digits, large ones without: 0.25, 17.3, 1,204.
const rate = (value) => number(value, !known(value) || value >= 100 || value === 0 ? 0 : value >= 10 ? 1 : 2);
const short = (value) => (known(value) ? (Math.abs(value) >= 10 || value === 0 ? number(value) : Number(value).toPrecision(3)) : UNKNOWN);
const duration = (seconds) => (!known(seconds) ? UNKNOWN : seconds < 1 ? `${short(seconds * 1000)} ms` : `${short(seconds)} s`);
const moment = (value) => new Date(typeof value === "number" ? value * 1000 : value);
const pad = (value) => String(value).padStart(2, "0");
function when(value) {
  if (!known(value) || Number.isNaN(moment(value).getTime())) return UNKNOWN;
  const at = moment(value);
  return `${at.getFullYear()}-${pad(at.getMonth() + 1)}-${pad(at.getDate())} ${pad(at.getHours())}:${pad(at.getMinutes())}:${pad(at.getSeconds())}`;
}
const digest = (value) => (known(value) ? element("span", { class: "digest", title: value }, String(value).slice(0, 12)) : UNKNOWN);
const word = (value) => (known(value) ? String(value) : UNKNOWN);

// columns: [heading, function of an entry, class]; the first column heads its row.
function table(caption, columns, entries) {
  const head = element("tr", {}, columns.map(([heading, , kind]) => element("th", { scope: "col", class: kind || "" }, heading)));
  const body = entries.map((entry) =>
    element("tr", {}, columns.map(([, cell, kind], index) =>
      element(index ? "td" : "th", index ? { class: kind || "" } : { scope: "row", class: kind || "" }, cell(entry)))));
  const made = element("table", {}, element("caption", {}, element("span", {}, caption)), element("thead", {}, head), element("tbody", {}, body));
  return element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption }, made);
}

// series: [name, [[at, value or null], …]]; a gap in the values is a gap in the line.
function chart(caption, series, format, { limit, log } = {}) {
  const scale = (value) => (log ? Math.log10(Math.max(value, 1e-3)) : value);
  const points = series.flatMap(([, values]) => values).filter(([, value]) => known(value));
  if (points.length < 2) return null;
  const times = points.map(([at]) => at), values = points.map(([, value]) => value);
  const first = Math.min(...times), last = Math.max(...times);
  const top = Math.max(...values, known(limit) ? limit : -Infinity, log ? 1 : 0), bottom = log ? Math.min(...values, 1) : 0;
  const span = scale(top) - scale(bottom) || 1;
  const x = (at) => (100 * (at - first)) / (last - first || 1);
  const y = (value) => 96 - (92 * (scale(value) - scale(bottom))) / span;
  const paths = series.map(([, all], index) => {
    let drawing = false;
    const steps = all.map(([at, value]) => {
      if (!known(value)) { drawing = false; return ""; }
      const step = `${drawing ? "L" : "M"}${x(at).toFixed(2)} ${y(value).toFixed(2)}`;
      drawing = true;
      return step;
    });
    return element("svg:path", { class: `plot s${index}`, d: steps.join("") });
  });
  const lines = [element("svg:path", { class: "axis", d: "M0 96H100" })];
  if (known(limit)) lines.push(element("svg:path", { class: "limit", d: `M0 ${y(limit)}H100` }));
  const latest = series.map(([name, all]) => `${name} ${format((all[all.length - 1] || [])[1])}`);
  const text = `${caption}, ${when(first)} to ${when(last)}: ${latest.join(", ")}; highest ${format(Math.max(...values))}`;
  const drawn = element("svg:svg", { viewBox: "0 0 100 100", preserveAspectRatio: "none", role: "img", "aria-label": text }, lines, paths);
  const frame = element("div", { class: "frame" }, drawn, element("span", { class: "top", "aria-hidden": "true" }, format(top)),
    element("span", { class: "bottom", "aria-hidden": "true" }, format(bottom)));
  return element("figure", {}, element("figcaption", {}, element("b", {}, caption), latest.map((label, index) => element("span", { class: `s${index}` }, label))), frame);
}

function tiles(entries) {
  return element("dl", { class: "tiles" }, entries.map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value))));
}

const sections = {
  problems: ({ status }) => (status.problems.length ? [element("ul", {}, status.problems.map((each) => element("li", {}, each)))] : []),

  traffic({ traffic }) {
    if (!traffic) return [];
    const { now, points } = traffic, of = (name) => points.map((point) => [point.at, point[name]]);
    return [
      tiles([["requests/s", rate(now.requests_per_s)], ["HTTP 5xx/s", rate(now.errors_per_s)], ["p50", duration(now.p50_s)], ["p99", duration(now.p99_s)]]),
      element("p", { class: "quiet" }, "Of the last minute: requests and errors as callers saw them at Envoy, times as replicas took for requests that succeeded."),
      element("div", { class: "charts" },
        chart("Requests/s", [["all", of("requests_per_s")], ["5xx", of("errors_per_s")]], rate),
        chart("Time of a request", [["p50", of("p50_s")], ["p99", of("p99_s")]], duration)),
    ];
  },

  versions({ versions }) {
    if (!versions || !versions.length) return [];
    return [table("Bundles that serve, and their traffic of the last minute", [
      ["role", (each) => word(each.role)], ["bundle", (each) => digest(each.digest), "text"],
      ["share", (each) => (known(each.percent) ? `${number(each.percent)} %` : UNKNOWN)],
      ["replicas ready", (each) => `${number(each.ready)} of ${number(each.replicas)}`],
      ["requests/s", (each) => rate(each.requests_per_s)], ["errors/s", (each) => rate(each.errors_per_s)],
      ["p50", (each) => duration(each.p50_s)], ["p99", (each) => duration(each.p99_s)],
      ["since", (each) => when(each.at)], ["by", (each) => word(each.by), "text"],
    ], versions)];
  },

  canary({ canary, status }) {
    const found = [], running = status.canary, judged = canary || {};
    if (!running && !canary) return [];
    const tone = { step: "good", promote: "good", "roll back": "bad" }[judged.verdict] || "wait";
    found.push(element("p", {}, digest((running || judged).digest || judged.bundle),
      running ? ` gets ${number(running.percent)} % of the requests` : " was on trial",
      canary ? ": " : "", canary ? element("span", { class: `strong ${tone}` }, word(judged.verdict)) : "",
      known(judged.why) ? `, ${judged.why}` : ""));
    if (known(judged.started_at)) {
      found.push(element("p", { class: "quiet" }, `Begun ${when(judged.started_at)}`, known(judged.deadline) ? `, decided by ${when(judged.deadline)} at the latest` : ""));
    }
    const kinds = Object.keys(judged.evidence || {}), limits = judged.thresholds || {};
    if (kinds.length) {
      found.push(table("Evidence that the canary differs from the live bundle, as e-values: 1 is none, the limit decides", [
        ["test", (kind) => kind], ["e-value", (kind) => short(judged.evidence[kind])], ["limit", (kind) => short(limits[kind])],
      ], kinds));
    }
    const history = judged.history || [];
    const drawn = chart("Evidence", kinds.map((kind) => [kind, history.map((step) => [step[0], (step[3] || {})[kind]])]), short,
      { log: true, limit: Math.min(...Object.values(limits).filter(known), Infinity) === Infinity ? null : Math.min(...Object.values(limits).filter(known)) });
    const shares = chart("Share of the requests, %", [["canary", history.map((step) => [step[0], step[1]])]], number);
    if (drawn || shares) found.push(element("div", { class: "charts" }, drawn, shares));
    if (running && running.served) {
      found.push(table("Requests since the replicas started, at Envoy; one that failed and was answered by another replica counts as failed", [
        ["side", ([side]) => side], ["requests", ([, each]) => number(each.requests)], ["failed", ([, each]) => number(each.errors)],
      ], Object.entries(running.served)));
    }
    return found;
  },

  shadow({ shadow, versions }) {
    if (!shadow || !(versions || []).some((each) => each.role === "shadow")) return [];
    const requests = shadow.requests || {}, rows = shadow.rows || {}, scores = shadow.scores || {};
    const found = [
      tiles([["rows compared", number(rows.compared)], ["rows that differ", number(rows.differing)], ["scores that differ", number(scores.differing)],
        ["labels that differ", number((shadow.labels || {}).differing)]]),
      element("p", { class: "quiet" }, `Since ${when(shadow.since)}: largest difference of a score ${short(scores.largest_difference)}; requests answered by live only `,
        `${number(requests.live_only)}, by the shadow only ${number(requests.shadow_only)}, not compared ${number(requests.dropped)}.`),
    ];
    const features = Object.entries((shadow.features || {}).differing || {});
    if (features.length) found.push(table("Rows whose features differ", [["feature", ([name]) => name], ["rows", ([, count]) => number(count)]], features));
    return found;
  },

  replicas({ status, versions }) {
    if (!status.replicas.length) return [];
    const roles = Object.fromEntries((versions || []).map((each) => [each.digest, each.role]));
    return [table("Servers of the bundles", [
      ["replica", (each) => word(each.name)], ["role", (each) => word(roles[each.digest] || "leaving"), "text"],
      ["state", (each) => element("span", { class: each.ready ? "good" : "bad" }, each.ready ? "ready" : `not ready (${word(each.state)})`), "text"],
      ["in flight", (each) => number(each.in_flight)], ["restarts", (each) => number(each.restarts)],
      ["pid", (each) => word(each.pid)], ["metrics at port", (each) => word(each.admin_port)],
    ], status.replicas)];
  },

  scaling({ scaling }) {
    if (!scaling) return [];
    const history = scaling.history || [];
    return [
      element("p", {}, `${word(scaling.mode)}: ${"ready" in scaling ? `${number(scaling.ready)} ready, ` : ""}${number(scaling.desired)} wanted`,
        known(scaling.min) ? `, ${number(scaling.min)} to ${number(scaling.max)} allowed` : "", known(scaling.why) ? ` – ${scaling.why}` : ""),
      element("div", { class: "charts" },
        chart("Replicas", [["wanted", history.map((step) => [step[0], step[2]])], ["ready", history.map((step) => [step[0], step[3]])]], number),
        chart("Requests in flight", [["in flight", history.map((step) => [step[0], step[1]])]], rate)),
    ];
  },

  costs({ costs }) {
    if (!costs || !Object.keys(costs.days).length) return [];
    const { total, training, seed, prices } = costs, money = (value) => (known(value) ? `${short(value)} ${prices.currency}` : UNKNOWN);
    const days = Object.entries(costs.days).reverse().slice(0, 14);
    return [
      tiles([["a million predictions", money(total.money_per_million)], ["with a CPU reserved for each replica", money(total.reserved_per_million)],
        ["the seed's million", known(seed.per_million) ? `${short(seed.per_million)} ${seed.currency}` : UNKNOWN], ["training of the live bundle", money(training.money)]]),
      table("By day in UTC, idle time included", [
        ["day", ([day]) => day], ["predictions", ([, each]) => number(each.predictions)], ["replica hours", ([, each]) => number(each.replica_s / 3600, 2)],
        ["CPU s", ([, each]) => number(each.cpu_s.total, 1)], ["GB hours", ([, each]) => number(each.gb_hours, 3)],
        [prices.currency, ([, each]) => each.money.toFixed(6)], ["of it idle", ([, each]) => each.idle.toFixed(6)],
        ["per million", ([, each]) => short(each.money_per_million)],
      ], days),
    ];
  },

  history({ history }) {
    if (!history || !history.length) return [];
    return [table("Newest first", [
      ["at", (each) => when(each.at)], ["what", (each) => word(each.verb), "text"], ["bundle", (each) => digest(each.bundle), "text"],
      ["by", (each) => word(each.by), "text"], ["verdict", (each) => word(each.verdict), "text"], ["why", (each) => word(each.why), "words"],
    ], history)];
  },
};

function draw(found) {
  const { status } = found, place = document.getElementById("state");
  const state = status.ready ? ["good", "ready"] : status.running ? ["bad", "not ready"] : ["bad", "down"];
  place.replaceChildren(element("span", { class: `strong ${state[0]}` }, state[1]), status.http ? ` · ${status.http} · gRPC ${status.grpc}` : "");
  document.title = `${state[1]} · fleet`;
  for (const [name, content] of Object.entries(sections)) {
    const section = document.getElementById(name), body = section.querySelector("div");
    let parts;
    try { parts = content(found).filter(Boolean); } catch (error) { parts = [element("p", { class: "bad" }, `cannot be shown: ${error.message}`)]; }
    const made = element("div", {}, parts);
    // Only what has changed is replaced: a table that is being scrolled or read out stays as it is.
    if (body.innerHTML !== made.innerHTML) {
      const scrolled = [...body.querySelectorAll(".scroll")].map((each) => each.scrollLeft);
      body.replaceWith(made);
      made.querySelectorAll(".scroll").forEach((each, index) => { each.scrollLeft = scrolled[index] || 0; });
    }
    section.hidden = !parts.length;
  }
}

async function refresh() {
  let old = true, text;
  try {
    const answer = await fetch("status.json", { cache: "no-store" }), found = await answer.json();
    if (found.at === null) text = "looking …";
    else {
      old = found.now - found.at > OLD_S;
      text = old ? `a part of the fleet does not answer; this is from ${when(found.at)}` : `as of ${when(found.at)}`;
      draw(found);
    }
  } catch (error) {
    text = "the page's server does not answer; `bin/fleet up` starts it";
  }
  document.getElementById("age").textContent = text;
  document.body.classList.toggle("old", old);
  setTimeout(refresh, POLL_MS);
}

refresh();

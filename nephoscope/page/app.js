"use strict";
// Draws /api/overview. Text from logs only ever becomes text nodes.

const $ = (id) => document.getElementById(id);
const make = (tag, className, text) => {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
};
const number = (n) => n.toLocaleString("en");
const when = (ms) => new Date(ms).toLocaleTimeString([], { hour12: false });
const ago = (ms, now) => {
  const s = Math.max(0, Math.round((now - ms) / 1000));
  return s < 90 ? `${s} s ago` : s < 5400 ? `${Math.round(s / 60)} min ago` : `${Math.round(s / 3600)} h ago`;
};

let latest = null;
const opened = new Map(); // fingerprint -> lines behind the alert

function alertItem(alert, now) {
  const item = make("li", `alert ${alert.severity}`);
  const button = make("button");
  button.type = "button";
  button.setAttribute("aria-expanded", String(opened.has(alert.fingerprint)));
  button.append(make("b", "", alert.name), " ", alert.message, make("div", "meta",
    `${alert.severity} · ${alert.endsAtMs ? "ended " + ago(alert.endsAtMs, now) : "since " + ago(alert.startedAtMs, now)}${alert.count ? ` · seen ${alert.count} times` : ""}`));
  button.addEventListener("click", () => toggle(alert.fingerprint));
  button.dataset.key = alert.fingerprint;
  item.append(button);
  const lines = opened.get(alert.fingerprint);
  if (lines) item.append(make("pre", "", lines));
  return item;
}

async function toggle(fingerprint) {
  if (opened.delete(fingerprint)) return draw();
  opened.set(fingerprint, "reading …");
  draw();
  const answer = await fetch(`/api/alerts/${encodeURIComponent(fingerprint)}`);
  const found = await answer.json();
  opened.set(fingerprint, answer.ok ? [found.alert.description, "", ...found.lines].join("\n") : found.error);
  draw();
}

function sparkline(minutes) {
  const top = Math.max(1, ...minutes), width = 120, height = 22, svgNs = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(svgNs, "svg");
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("width", width);
  svg.setAttribute("height", height);
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", `at most ${top} lines a minute in the last hour`);
  const path = document.createElementNS(svgNs, "path");
  path.setAttribute("d", minutes.map((n, i) => `${i ? "L" : "M"}${(i * width / 59).toFixed(1)},${(height - 1 - n / top * (height - 3)).toFixed(1)}`).join(""));
  svg.append(path);
  return svg;
}

function templateText(text) {
  const cell = make("td", "text");
  text.split("<*>").forEach((part, i) => {
    if (i) cell.append(make("span", "slot", "<*>"));
    cell.append(part);
  });
  return cell;
}

function row(...cells) {
  const line = make("tr");
  line.append(...cells);
  return line;
}

function drawStrip(o) {
  const order = ["low", "info", "warning", "high", "critical"];
  const slots = Array.from({ length: 60 }, () => []);
  for (const alert of [...o.openAlerts, ...o.resolvedAlerts]) {
    const back = Math.floor((o.nowMs - alert.startedAtMs) / 60000);
    if (back >= 0 && back < 60) slots[59 - back].push(alert.severity);
  }
  $("strip").replaceChildren(...slots.map((severities) => {
    const worst = severities.sort((a, b) => order.indexOf(b) - order.indexOf(a))[0];
    const bar = make("i", worst || "");
    bar.style.height = `${Math.min(100, 8 + severities.length * 30)}%`;
    return bar;
  }));
}

function draw() {
  const o = latest;
  if (!o) return;
  const focused = document.activeElement?.dataset?.key;
  const worst = o.openAlerts[0]?.severity;
  const stopped = o.stages.filter((stage) => stage.state === "stopped").length;
  const verdict = $("verdict");
  verdict.className = worst === "critical" || stopped ? "bad" : worst ? "warn" : "good";
  const text = stopped ? `${stopped} part of the pipeline stopped` : worst ? `${o.openAlerts.length} open, worst: ${worst}` : "nothing unusual";
  if (verdict.textContent !== text) verdict.textContent = text;
  $("clock").textContent = `${number(o.lines)} lines from ${o.hosts.length} ${o.hosts.length === 1 ? "host" : "hosts"} · ${when(o.nowMs)}`;

  const none = make("li", "faint", "No alert is open.");
  $("alerts").replaceChildren(...(o.openAlerts.length ? o.openAlerts.map((alert) => alertItem(alert, o.nowMs)) : [none]));
  $("resolved-box").hidden = o.resolvedAlerts.length === 0;
  $("resolved").replaceChildren(...o.resolvedAlerts.slice(0, 30).map((alert) => alertItem(alert, o.nowMs)));
  drawStrip(o);

  $("sources").replaceChildren(...o.sources.map((source) => row(
    make("td", "", source.name.includes(":") ? `${source.kind.toLowerCase()} ${source.name}` : source.name), make("td", `state-${source.state}`, source.state), make("td", "number", number(source.records)),
    make("td", "faint", source.reason || (source.last_seen ? `last line ${ago(source.last_seen / 1000, o.nowMs)}` : "")))));
  $("stages").replaceChildren(...o.stages.map((stage) => row(
    make("td", "", stage.name), make("td", `state-${stage.state}`, stage.why ? `${stage.state}: ${stage.why}` : stage.state),
    make("td", "number", number(stage.records)), make("td", "number", number(stage.lag)),
    make("td", "number", number(Object.values(stage.rejects).reduce((a, b) => a + b, 0))))));
  $("losses").textContent = o.losses.length ? "Lost: " + o.losses.map(([part, topic, cause, count]) => `${number(count)} of ${topic} by ${part} (${cause})`).join("; ") : "Nothing was lost.";

  const wanted = $("filter").value.toLowerCase();
  const shown = o.templates.filter((template) => template.text.toLowerCase().includes(wanted));
  $("known").textContent = `${shown.length} of ${number(o.templatesKnown)} templates`;
  $("templates").replaceChildren(...shown.map((template) => {
    const trend = make("td");
    trend.append(sparkline(template.minutes));
    const cell = templateText(template.text);
    if (template.isNew) cell.prepend(make("span", "tag", "new"));
    return row(make("td", "number", number(template.lastHour)), make("td", "number", number(template.count)), trend, cell);
  }));
  if (focused) document.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
}

async function refresh() {
  try {
    const answer = await fetch("/api/overview");
    if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
    latest = await answer.json();
    draw();
  } catch (error) {
    $("verdict").className = "bad";
    $("verdict").textContent = `nobody answers (${error.message}); trying again`;
  }
}

$("filter").addEventListener("input", draw);
refresh();
setInterval(refresh, 2000);
// An alert is shown at once, not at the next look.
new EventSource("/api/stream?topics=alerts.v1").addEventListener("record", () => setTimeout(refresh, 250));

"use strict";
// Keeps the page up to date with /api/overview. Text from logs is hostile: it only ever becomes text nodes.

const LOOK_MS = 1000; // between two looks
const HIDDEN_LOOK_MS = 15000; // the same, while nobody looks at the page
const LOST_MS = 5000; // without an answer for so long, the page says so
const SVG = "http://www.w3.org/2000/svg";
const SEVERITIES = ["low", "info", "warning", "high", "critical"];
const SOURCE_WORDS = { watching: "watching", catchingup: "reading the past", waiting: "not there yet", blind: "cannot be seen", stopped: "stopped" };
const STATE_CLASSES = { watching: "good", running: "good", blind: "bad", stopped: "bad", waiting: "idle" };

const $ = (id) => document.getElementById(id);
const count = (n) => n.toLocaleString("en-US");
const perSecond = (n) => (n === 0 ? "0" : n < 10 ? n.toFixed(1) : count(Math.round(n)));
const clock = (ms) => new Date(ms).toLocaleTimeString([], { hour12: false });
const moment = (ms) => new Date(ms).toLocaleString([], { hour12: false });
const ofAlerts = (n) => (n === 1 ? "1 alert" : `${count(n)} alerts`);
const tone = (severity) => (severity === "low" ? "info" : severity);

function bytes(n) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (n >= 1024 && unit < 4) [n, unit] = [n / 1024, unit + 1];
  return `${unit ? n.toFixed(1) : n} ${units[unit]}`;
}

function ago(ms, now) {
  const s = Math.max(0, Math.floor((now - ms) / 1000));
  if (s < 90) return `${s} s ago`;
  if (s < 5400) return `${Math.round(s / 60)} min ago`;
  return s < 172800 ? `${Math.round(s / 3600)} h ago` : `${Math.round(s / 86400)} days ago`;
}

// Elements

function make(tag, className, ...children) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  node.append(...children);
  return node;
}

function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function dress(node, className) {
  if (node.getAttribute("class") !== className) node.setAttribute("class", className);
}

// Makes the children of a parent those of a list. What is the same stays the same node, so that focus, selection and
// opened details survive.
function sync(parent, items, keyOf, create, update) {
  const known = new Map(Array.from(parent.children, (node) => [node.dataset.key, node]));
  let place = parent.firstElementChild;
  for (const item of items) {
    const key = keyOf(item);
    let node = known.get(key);
    known.delete(key);
    if (!node) {
      node = create(item);
      node.dataset.key = key;
    }
    update(node, item);
    if (node === place) place = place.nextElementSibling;
    else parent.insertBefore(node, place);
  }
  for (const node of known.values()) node.remove();
  while (place) {
    const next = place.nextElementSibling;
    if (place.dataset.key === undefined) place.remove(); // drawn by the server
    place = next;
  }
}

function cells(row, ...list) {
  for (const [tag, className] of list) {
    const cell = make(tag, className);
    if (tag === "th") cell.scope = "row";
    row.append(cell);
  }
  return row;
}

function named(cell, name, kind, why) {
  if (!cell.firstChild) cell.append(make("span"), " ", make("span", "kind"), make("span", "why"));
  [name, kind, why].forEach((text, i) => say(cell.children[i], text || ""));
}

function spark(cell, minutes) {
  let svg = cell.firstChild;
  if (!svg) {
    svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("class", "spark");
    svg.setAttribute("viewBox", "0 0 120 20");
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("role", "img");
    svg.append(document.createElementNS(SVG, "path"));
    cell.append(svg);
  }
  const most = Math.max(0, ...minutes);
  const path = minutes.map((n, i) => `${i ? "L" : "M"}${((i * 120) / 59).toFixed(1)},${(18.5 - (n / Math.max(1, most)) * 17).toFixed(1)}`).join("");
  if (svg.firstChild.getAttribute("d") !== path) {
    svg.firstChild.setAttribute("d", path);
    svg.setAttribute("aria-label", `at most ${count(most)} a minute`);
  }
}

function lineList(list, lines) {
  sync(list, lines, (line) => `${line.partition}/${line.offset}`, (line) => {
    const time = make("time", "", clock(line.timeMs));
    time.title = moment(line.timeMs);
    return make("li", "", time, line.text);
  }, () => {});
}

async function ask(path) {
  const answer = await fetch(path, { headers: { Accept: "application/json" } });
  const found = await answer.json();
  if (!answer.ok) throw new Error(found.error || `HTTP ${answer.status}`);
  return found;
}

// Is anything wrong?

function verdict(o) {
  const stopped = o.stages.filter((stage) => stage.state === "stopped").map((stage) => stage.name);
  if (stopped.length) return ["critical", `${stopped.join(", ")} stopped`];
  const [what, open] = o.openIncidents.length ? ["incident", o.openIncidents] : ["alert", o.openAlerts];
  if (!open.length) return o.lines ? ["calm", "Nothing unusual"] : ["quiet", "No line has come yet"];
  const worst = open[0].severity;
  return [tone(worst), open.length === 1 ? `1 ${what} is open, severity ${worst}` : `${count(open.length)} ${what}s are open, the worst ${worst}`];
}

function gist(o) {
  const rate = o.sources.reduce((sum, source) => sum + source.rate, 0);
  const blind = o.sources.filter((source) => source.state === "blind").length;
  const hosts = o.hostsKnown === 1 ? "1 host" : `${count(o.hostsKnown)} hosts`;
  const unseen = blind ? `; ${blind} ${blind === 1 ? "source" : "sources"} cannot be seen` : "";
  const news = o.templatesNew ? ` (${count(o.templatesNew)} new within the hour)` : "";
  return `${count(o.lines)} lines from ${hosts}, ${count(o.templatesKnown)} kinds of line${news}, ${perSecond(rate)} lines/s now${unseen}`;
}

function drawHour(o) {
  const svg = $("hour");
  const top = Math.max(1, ...o.minutes);
  const steps = o.minutes.map((n, i) => {
    const y = (74 - (n / top) * 70).toFixed(1);
    return `L${i * 10},${y}L${i * 10 + 10},${y}`;
  });
  svg.querySelector("path").setAttribute("d", `M0,74${steps.join("")}L600,74Z`);
  svg.querySelectorAll("rect").forEach((cell, i) => {
    const counts = o.alertMinutes[i];
    const open = SEVERITIES.map((severity, n) => [counts[n], severity]).filter(([n]) => n).reverse();
    dress(cell, open.length ? tone(open[0][1]) : "none");
    const told = open.map(([n, severity]) => `${n} ${severity}`).join(", ") || "no alert";
    const at = clock(o.nowMs - (59 - i) * 60000).slice(0, 5);
    if (!cell.firstChild) cell.append(document.createElementNS(SVG, "title"));
    say(cell.firstChild, `${at}: ${told}, ${count(o.minutes[i])} lines`);
  });
  const bad = o.alertMinutes.filter((counts) => counts.some((n) => n)).length;
  const alerts = bad === 0 ? "no alert was open" : bad === 60 ? "alerts were open all the time" : `alerts were open in ${bad} ${bad === 1 ? "minute" : "minutes"}`;
  const most = Math.max(0, ...o.minutes);
  const text = `at most ${count(most)} ${most === 1 ? "line" : "lines"} a minute; ${alerts}`;
  svg.setAttribute("aria-label", text);
  say($("hour-text"), text);
}

function createItem(...body) {
  const summary = make("summary", "", make("span", "level"), " ", make("b"), " ", make("span", "said"), " ", make("span", "when"));
  return make("details", "", summary, make("div", "proof", ...body));
}

function createIncident(incident) {
  const heading = (text) => make("p", "facts", text);
  const item = createItem(
    heading(""), make("ol", "causes"), heading("How it went"), make("ol", "lines"), heading("Its alerts"), make("div", "alerts"),
  );
  item.addEventListener("toggle", () => {
    if (item.open && item.dataset.shown !== item.dataset.revision) showStory(item, incident.id);
  });
  return item;
}

function gistOf(incident) {
  const cause = incident.cause ? `probable cause ${incident.cause.node}` : "no cause known";
  const [named, more] = [incident.hosts.slice(0, 4).join(", "), incident.hosts.length - 4];
  const hosts = named ? `; on ${named}${more > 0 ? ` and ${more} more` : ""}` : "";
  return `${cause}${hosts}; ${ofAlerts(incident.alertsTotal)}`;
}

function updateIncident(now) {
  return (item, incident) => {
    dress(item, `alert incident ${tone(incident.severity)}`);
    const [level, title, said, when] = item.firstChild.children;
    say(level, incident.severity);
    say(title, incident.title);
    say(said, gistOf(incident));
    say(when, incident.endsAtMs ? `ended ${ago(incident.endsAtMs, now)}` : `since ${ago(incident.startedAtMs, now)}`);
    item.dataset.revision = incident.revision;
    if (item.open && item.dataset.shown !== item.dataset.revision) showStory(item, incident.id);
  };
}

// What an incident consists of is asked for when somebody opens it, and again when it has changed.
async function showStory(item, id) {
  item.dataset.shown = item.dataset.revision;
  const [head, causes, , lines, , alerts] = item.lastChild.children;
  try {
    const story = await ask(`/api/incidents/${encodeURIComponent(id)}`);
    say(head, `Probable causes · began ${moment(Date.parse(story.startedAt))} · id ${story.id.slice(0, 10)}`);
    sync(causes, story.causes, (cause) => cause.node, () => make("li", "", make("b"), " ", make("span")), (row, cause) => {
      say(row.firstChild, cause.node);
      say(row.lastChild, cause.because);
    });
    const entries = story.timeline.map((entry, i) => ({ partition: i, offset: entry.at, timeMs: Date.parse(entry.at), text: entry.text }));
    lineList(lines, entries);
    const told = new Map([...latest.resolvedAlerts, ...latest.openAlerts].map((alert) => [alert.fingerprint, alert]));
    sync(alerts, story.alerts.map((alert) => whole(alert, told.get(alert.fingerprint))), (alert) => alert.fingerprint, createAlert, updateAlert(latest.nowMs));
  } catch (error) {
    say(head, `It could not be read: ${error.message}`);
  }
}

// An alert of an incident: what the alert itself says, or else what the incident says of it.
function whole(alert, told) {
  const message = `about ${alert.nodes.join(", ")}`;
  const times = { startedAtMs: Date.parse(alert.startedAt), endsAtMs: alert.endsAt && Date.parse(alert.endsAt) };
  return told && told.id === alert.id ? told : { message, description: "", ...told, ...alert, ...times };
}

function createAlert(alert) {
  const item = createItem(make("p"), make("p", "facts"), make("ol", "lines"));
  item.addEventListener("toggle", () => {
    if (item.open && item.dataset.shown !== item.dataset.id) showProof(item, alert.fingerprint);
  });
  return item;
}

function updateAlert(now) {
  return (item, alert) => {
    dress(item, `alert ${tone(alert.severity)}`);
    const [level, name, said, when] = item.firstChild.children;
    say(level, alert.severity);
    say(name, alert.name);
    say(said, alert.message);
    const seen = alert.count ? `, seen ${alert.count} times` : "";
    say(when, (alert.endsAtMs ? `ended ${ago(alert.endsAtMs, now)}` : `since ${ago(alert.startedAtMs, now)}`) + seen);
    say(item.lastChild.firstChild, alert.description);
    item.dataset.id = alert.id;
    if (item.open && item.dataset.shown !== alert.id) showProof(item, alert.fingerprint);
  };
}

async function showProof(item, fingerprint) {
  const facts = item.querySelector(".facts");
  item.dataset.shown = item.dataset.id;
  try {
    const { alert, lines, gone } = await ask(`/api/alerts/${encodeURIComponent(fingerprint)}`);
    const labels = Object.entries(alert.labels).map(([key, value]) => `${key} ${value}`);
    const number = (n) => Number(n.toPrecision(4)).toString();
    const rests = lines.length ? `; it rests on ${lines.length === 1 ? "this line" : "these lines"}:` : gone ? "; the lines it rested on are no longer kept" : "";
    say(facts, `${[...labels, `score ${number(alert.score)} over ${number(alert.threshold)}`, `decided by ${alert.model.name} ${alert.model.version}`, `began ${moment(Date.parse(alert.startedAt))}`].join(" · ")}${rests}`);
    lineList(item.querySelector(".lines"), lines);
  } catch (error) {
    say(facts, `The lines behind it could not be read: ${error.message}`);
  }
}

function drawAlerts(o) {
  const [mood, text] = verdict(o);
  dress($("verdict"), `verdict ${mood}`);
  say($("verdict"), text);
  say($("gist"), gist(o));
  const open = o.openIncidents.length || o.openAlerts.length;
  document.title = open ? `(${open}) Nephoscope` : "Nephoscope";
  sync($("incidents"), o.openIncidents, (incident) => incident.id, createIncident, updateIncident(o.nowMs));
  $("past-box").hidden = o.endedIncidents.length === 0;
  say($("past-count"), o.endedIncidents.length === 1 ? "1 incident" : `${count(o.endedIncidents.length)} incidents`);
  sync($("past"), o.endedIncidents, (incident) => incident.id, createIncident, updateIncident(o.nowMs));
  $("alerts-box").hidden = o.openAlerts.length === 0;
  say($("alerts-count"), ofAlerts(o.openAlerts.length));
  sync($("alerts"), o.openAlerts, (alert) => alert.fingerprint, createAlert, updateAlert(o.nowMs));
  $("ended-box").hidden = o.resolvedAlerts.length === 0;
  say($("ended-count"), ofAlerts(o.resolvedAlerts.length));
  sync($("ended"), o.resolvedAlerts, (alert) => `${alert.fingerprint} ${alert.startedAtMs}`, createAlert, updateAlert(o.nowMs));
}

// What is watched, and the pipeline

function state(cell, kind, word) {
  dress(cell, `state ${kind}`);
  say(cell, word);
}

function drawSources(o) {
  const columns = [["th"], ["td"], ["td", "n"], ["td", "n"], ["td", "n"]];
  sync($("sources"), o.sources, (source) => `${source.kind} ${source.name}`, () => cells(make("tr"), ...columns), (row, source) => {
    const [name, word, rate, lines, last] = row.children;
    named(name, source.name, source.kind.toLowerCase(), source.reason);
    state(word, STATE_CLASSES[source.state] || "busy", SOURCE_WORDS[source.state] || source.state);
    say(rate, perSecond(source.rate));
    say(lines, count(source.records));
    say(last, source.last_seen ? ago(source.last_seen / 1000, o.nowMs) : "never");
  });
  sync($("hosts"), o.hosts, (host) => host.host, () => cells(make("tr"), ["th"], ["td"], ["td", "n"], ["td", "n"]), (row, host) => {
    const [name, trend, lines, last] = row.children;
    say(name, host.host);
    spark(trend, host.minutes);
    say(lines, count(host.lastHour));
    say(last, ago(host.lastSeenMs, o.nowMs));
  });
}

function drawStages(o) {
  const columns = [["th"], ["td"], ["td", "n"], ["td", "n"], ["td", "n"], ["td", "n"], ["td", "n"]];
  sync($("stages"), o.stages, (stage) => stage.name, () => cells(make("tr"), ...columns), (row, stage) => {
    const [name, word, rate, records, lag, rejects, memory] = row.children;
    named(name, stage.name, "", stage.why);
    state(word, stage.state === "waiting" ? "busy" : STATE_CLASSES[stage.state] || "busy", stage.state);
    say(rate, perSecond(stage.rate));
    say(records, count(stage.records));
    say(lag, count(stage.lag));
    say(rejects, count(Object.values(stage.rejects).reduce((sum, n) => sum + n, 0)));
    say(memory, bytes(stage.stateBytes));
  });
  const lost = o.losses.map(([part, topic, cause, n]) => `${count(n)} of ${topic} by ${part} (${cause})`).join("; ");
  say($("losses"), lost ? `Lost since the start: ${lost}.` : "Nothing was lost since the start.");
  dress($("losses"), lost ? "note lost" : "note");
  say($("about"), `Nephoscope ${o.version}${o.rssBytes ? `, ${bytes(o.rssBytes)} of memory` : ""}.`);
}

// What is normal here

let opened = null; // id of the template whose lines are shown
let shown = null; // { template, lines } of it

function createTemplate(item) {
  if (item.detail) {
    const cell = make("td", "", make("p", "facts"), make("ol", "lines"));
    cell.colSpan = 4;
    return make("tr", "detail", cell);
  }
  const row = cells(make("tr"), ["td", "n"], ["td"], ["td", "text"], ["td", "n total"]);
  const button = make("button");
  button.type = "button";
  button.addEventListener("click", () => openTemplate(item.template.id));
  row.children[2].append(button);
  return row;
}

function updateTemplate(now) {
  return (row, { template, detail }) => {
    if (detail) {
      const [facts, lines] = row.firstChild.children;
      const seen = `first seen ${moment(template.firstSeenMs)} · last ${ago(template.lastSeenMs, now)} · id ${template.id}`;
      say(facts, shown ? (shown.error ? `${seen} · its lines could not be read: ${shown.error}` : `${seen} · ${shown.lines.length ? "newest lines:" : "its lines are no longer kept"}`) : seen);
      lineList(lines, shown?.lines || []);
      return;
    }
    const [perHour, trend, text, total] = row.children;
    say(perHour, count(template.lastHour));
    spark(trend, template.minutes);
    dress(text, `text ${severe(template.severity)}`);
    drawText(text.firstChild, template);
    text.firstChild.setAttribute("aria-expanded", String(template.id === opened));
    say(total, count(template.count));
  };
}

function severe(level) {
  return level === null || level > 4 ? "" : level <= 2 ? "critical" : level === 3 ? "high" : "warning";
}

function drawText(button, template) {
  const key = `${template.isNew} ${template.text}`;
  if (button.dataset.drawn === key) return;
  button.dataset.drawn = key;
  const parts = template.text.split("<*>").flatMap((part, i) => (i ? [make("i", "", "<*>"), part] : [part]));
  button.replaceChildren(...(template.isNew ? [make("span", "new", "new"), " "] : []), ...parts);
}

async function openTemplate(id) {
  [opened, shown] = [opened === id ? null : id, null];
  draw();
  if (opened) await showLines(id);
}

async function showLines(id) {
  try {
    const found = await ask(`/api/templates/${encodeURIComponent(id)}`);
    if (opened === id) shown = found;
  } catch (error) {
    if (opened === id) shown = { error: error.message, lines: [] };
  }
  draw();
}

function drawTemplates(o) {
  const found = filtered || o.templates;
  const items = found.flatMap((template) => (template.id === opened ? [{ template }, { template, detail: true }] : [{ template }]));
  sync($("templates"), items, (item) => item.template.id + (item.detail ? " lines" : ""), createTemplate, updateTemplate(o.nowMs));
  say($("known"), filtered && !found.length ? "none contains it" : `${found.length} of ${count(o.templatesKnown)} kinds`);
  const open = found.find((template) => template.id === opened);
  if (open && shown?.template && shown.template.lastSeenMs !== open.lastSeenMs) {
    shown.template.lastSeenMs = open.lastSeenMs;
    showLines(opened);
  }
}

// Keeping up

let latest = null;
let filtered = null; // the templates as filter and order want them, if they differ from the overview
let answeredMs = Date.now();
let timer = 0;
let looks = 0;

function draw() {
  if (!latest) return;
  drawAlerts(latest);
  drawHour(latest);
  drawSources(latest);
  drawStages(latest);
  drawTemplates(latest);
}

async function look() {
  clearTimeout(timer);
  const turn = ++looks;
  const [wanted, order] = [$("filter").value.trim(), $("sort").value];
  try {
    const query = new URLSearchParams({ limit: 200, sort: order, contains: wanted });
    const found = wanted || order !== "rate" ? ask(`/api/templates?${query}`) : null;
    const [overview, templates] = await Promise.all([ask("/api/overview"), found]);
    if (turn !== looks) return; // a later look is on its way
    [latest, filtered, answeredMs] = [overview, templates && templates.templates, Date.now()];
    draw();
    dress($("contact"), "contact live");
    say($("contact"), `live, ${clock(latest.nowMs)}`);
  } catch (error) {
    if (turn !== looks) return;
    if (Date.now() - answeredMs > LOST_MS) {
      dress($("contact"), "contact lost");
      say($("contact"), `no answer for ${Math.round((Date.now() - answeredMs) / 1000)} s (${error.message}); asking again`);
    }
  }
  timer = setTimeout(look, document.hidden ? HIDDEN_LOOK_MS : LOOK_MS);
}

$("tools").hidden = false;
$("filter").addEventListener("input", look);
$("sort").addEventListener("change", look);
document.addEventListener("visibilitychange", () => document.hidden || look());
document.addEventListener("keydown", (event) => {
  const isTyping = event.target.matches("input, select");
  if (event.key === "/" && !isTyping && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    $("filter").focus();
  } else if (event.key === "Escape" && event.target === $("filter")) {
    $("filter").value = "";
    $("filter").blur();
    look();
  }
});
// An alert, an incident is shown when it comes, not at the next look; the moment gives the view time to read it too.
new EventSource("/api/stream?topics=alerts.v1,incidents.v1").addEventListener("record", () => setTimeout(look, 100));
look();

// Shows the groups and lets them be deleted. Everything pushed becomes text, never markup.
"use strict";

const byId = (id) => document.getElementById(id);

/** Makes an element; children are elements or text. */
function make(tag, properties, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

// === what is folded stays so on reload

const OPEN = "tallygate-open";
const opened = new Set(JSON.parse(sessionStorage.getItem(OPEN) || "[]"));

/** Something that can be folded; its content is made when it is first opened. */
function folded(key, summary, content) {
  const details = make("details", { open: opened.has(key) }, summary);
  let filled = false;
  const show = () => {
    if (details.open && !filled) {
      filled = true;
      details.append(...content());
    }
  };
  details.addEventListener("toggle", () => {
    if (details.open) opened.add(key);
    else opened.delete(key);
    sessionStorage.setItem(OPEN, JSON.stringify([...opened]));
    show();
  });
  show();
  return details;
}

// === groups

/** The path of a group, in base64 throughout: whatever the values are, it is a clean path. */
function pathOf(labels) {
  const encode = (text) => {
    const bytes = new TextEncoder().encode(text);
    const digits = btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
    return digits.replaceAll("+", "-").replaceAll("/", "_").replace(/=*$/, "=");
  };
  const escape = (name) => {
    if (/^[a-zA-Z_][a-zA-Z0-9_]*$/.test(name)) return name;
    const letter = (c) => (/[a-zA-Z0-9]/.test(c) ? c : c === "_" ? "__" : `_${c.codePointAt(0).toString(16)}_`);
    return "U__" + Array.from(name, letter).join("");
  };
  const { job, ...others } = labels;
  const pairs = Object.entries(others).map(([name, value]) => `/${escape(name)}@base64/${encode(value)}`);
  return `metrics/job@base64/${encode(job)}${pairs.join("")}`;
}

async function remove(question, method, path) {
  if (!window.confirm(question)) return;
  const response = await fetch(path, { method });
  if (!response.ok) window.alert(`Deleting failed: ${await response.text()}`);
  window.location.reload();
}

/** Job first, then by name. */
function sorted(labels) {
  const names = Object.keys(labels).sort((a, b) => (b === "job") - (a === "job") || (a < b ? -1 : 1));
  return names.map((name) => [name, labels[name]]);
}

const labelMarks = (labels) =>
  sorted(labels).map(([name, value]) => make("span", { className: "label" }, `${name}="${value}"`));

function groupElement(group) {
  const { labels, last_push_successful: good, ...families } = group;
  const key = JSON.stringify(sorted(labels));
  const mark = good ? [] : [make("span", { className: "label failed" }, "Last push failed!")];
  const button = make("button", { type: "button", className: "delete" }, "Delete Group");
  const name = sorted(labels).map(([name, value]) => `${name}="${value}"`).join(", ");
  button.addEventListener("click", (event) => {
    event.preventDefault();
    remove(`Delete all metrics of the group ${name}?`, "DELETE", pathOf(labels));
  });
  return folded(key, make("summary", {}, button, ...labelMarks(labels), ...mark), () =>
    Object.keys(families).sort().map((name) => familyElement(key, name, families[name])));
}

function familyElement(key, name, family) {
  const summary = make("summary", {}, make("strong", {}, name), ` ${family.type}`);
  return folded(`${key} ${name}`, summary, () => {
    const rows = family.metrics.map((metric) =>
      make("tr", {}, make("td", {}, ...labelMarks(metric.labels)), make("td", {}, valueElement(metric))));
    return [
      make("p", { className: "note" }, family.help || "(no help)"),
      make("p", { className: "note" }, `last pushed: ${family.time_stamp}`),
      make("table", {}, make("tr", {}, make("th", {}, "Labels"), make("th", {}, "Value")), ...rows),
    ];
  });
}

function valueElement(metric) {
  if (metric.value !== undefined) return metric.value;
  const row = (...cells) => make("tr", {}, ...cells.map((cell) => make("td", {}, cell)));
  const rows = [row("count", metric.count), row("sum", metric.sum)];
  const parts = metric.quantiles || metric.buckets;
  if (Array.isArray(parts)) {
    for (const [rule, lower, upper, count] of parts) {
      const open = rule === 1 || rule === 3 ? "[" : "(";
      const close = rule === 0 || rule === 3 ? "]" : ")";
      rows.push(row(`${open}${lower}, ${upper}${close}`, count));
    }
  } else {
    const kind = metric.quantiles ? "quantile" : "le";
    const numbers = Object.entries(parts).sort(([a], [b]) => number(a) - number(b));
    for (const [bound, value] of numbers) rows.push(row(`${kind}="${bound}"`, value));
  }
  return make("table", {}, ...rows);
}

const number = (text) => (text === "+Inf" ? Infinity : text === "-Inf" ? -Infinity : Number(text));

// === status

function statusElements(status) {
  const table = (title, object) => [
    make("h2", {}, title),
    make("table", {}, ...Object.entries(object).map(([name, value]) =>
      make("tr", {}, make("th", {}, name), make("td", {}, value)))),
  ];
  return [
    ...table("Runtime", { "Started": status.start_time }),
    ...table("Build Information", status.build_information),
    ...table("Flags", status.flags),
  ];
}

// === the page

function showTab(name) {
  for (const tab of ["metrics", "status"]) {
    byId(tab).hidden = tab !== name;
    byId(`show-${tab}`).classList.toggle("current", tab === name);
  }
}

async function data(path) {
  const response = await fetch(path);
  if (!response.ok) throw new Error(await response.text());
  return (await response.json()).data;
}

async function load() {
  byId("show-metrics").addEventListener("click", () => showTab("metrics"));
  byId("show-status").addEventListener("click", () => showTab("status"));
  try {
    const [groups, status] = await Promise.all([data("api/v1/metrics"), data("api/v1/status")]);
    byId("message").textContent = groups.length === 0 ? "Nothing has been pushed yet." : `${groups.length} groups`;
    if (status.flags["web.enable-admin-api"] === "true" && groups.length > 0) {
      const button = make("button", { type: "button" }, `Delete All ${groups.length} Groups`);
      button.addEventListener("click", () =>
        remove(`Delete all ${groups.length} groups?`, "PUT", "api/v1/admin/wipe"));
      byId("message").append(" ", button);
    }
    byId("groups").append(...groups.map(groupElement));
    byId("status").append(...statusElements(status));
  } catch (error) {
    byId("message").textContent = `The gateway does not tell: ${error.message}`;
  }
}

load();

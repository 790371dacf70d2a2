// What the assistant did on the way: workflows, tasks, sources.
import { h, icon } from "./dom.js";
import "./markdown.js";

const SIGNS = { web_search: "globe", thought: "lightbulb", file: "document", image: "sparkle" };
const TITLES = { web_search: "Searched the web", thought: "Thought", file: "Read files", image: "Made a picture" };

/** A workflow item: its tasks in a fold, open while it runs or when the server says so. */
export function workflow(item, { live, was }) {
  const { summary, tasks, expanded, type } = item.workflow;
  const ended = summary || !live;
  const title = summary?.title ?? (summary?.duration !== undefined ? `Thought for ${duration(summary.duration)}`
    : ended ? (type === "reasoning" ? "Thought" : "Worked through steps") : "Working ...");
  const open = was ? was.open : ended ? expanded : true;
  return h("details.workflow", { open }, h("summary", {}, ended ? icon(summary?.icon ?? "check-circle") : spinner(), title),
    h("ol.tasks", {}, tasks.map((one) => h("li", {}, taskRow(one, live && !summary)))));
}

/** A task of its own. */
export const task = (item) => h("div.task-item", {}, taskRow(item.task, false));

function taskRow(one, live) {
  const sign = one.status_indicator === "loading" && live ? spinner()
    : icon(one.status_indicator === "complete" ? "check" : one.icon ?? SIGNS[one.type] ?? "dot");
  const title = one.title ?? one.title_query ?? TITLES[one.type];
  const body = one.content ? markdown(one.content) : null;
  return h("div.task", {}, h("span.sign", {}, sign), h("div", {}, title && h("div.name", {}, title), body,
    one.queries?.length ? h("div.queries", {}, one.queries.map((query) => h("span.chip", {}, icon("search"), query))) : null,
    one.sources?.length ? sources(one.sources) : null));
}

/** Where a sentence comes from: links for pages, names for what is no page. `opening(source)` opens it, or is null. */
export function sources(all, opening = () => null) {
  return h("ul.sources", { "aria-label": "Sources" }, all.map((source) => h("li", {}, chip(source, opening(source)))));
}

function chip(source, open) {
  const name = source.title || source.filename || source.label || "Source";
  if (open) return h("button.chip", { type: "button", onclick: open }, icon("document"), name);
  if (source.type !== "url" || !/^https?:\/\//i.test(source.url)) {
    return h("span.chip", { title: source.description ?? source.filename ?? source.label }, icon(source.type === "file" ? "document" : source.icon ?? "info"), name);
  }
  return h("a.chip", { href: source.url, target: "_blank", rel: "noopener noreferrer nofollow", title: source.url }, icon("globe"), name);
}

export const spinner = () => h("span.spinner", { "aria-hidden": "true" });

export function markdown(text, ended = true) {
  const element = h("chat-markdown");
  element.show(text, ended);
  return element;
}

const duration = (s) => (s < 60 ? `${s} s` : `${Math.floor(s / 60)} min ${s % 60} s`);

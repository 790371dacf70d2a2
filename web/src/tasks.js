// What the assistant did on the way: workflows, tasks, sources.
import { h, icon } from "./dom.js";
import { targetBeside } from "./links.js";
import "./markdown.js";
import { duration, t } from "./texts.js";

const SIGNS = { web_search: "globe", thought: "lightbulb", file: "document", image: "sparkle" };
const TITLES = { web_search: "searched_web", thought: "thought", file: "read_files", image: "picture_made" };

/** A workflow item: its tasks in a fold, open while it runs or when the server says so. */
export function workflow(item, { live, was }) {
  const { summary, tasks, expanded, type } = item.workflow;
  const ended = Boolean(summary) || !live;
  const step = !ended && tasks.findLast((one) => one.status_indicator === "loading")?.title;
  const title = summary?.title ?? (summary?.duration !== undefined ? t("thought_for", { time: duration(summary.duration) })
    : step ? `${step} ...` : t(ended ? (type === "reasoning" ? "thought" : "steps_done") : "working"));
  const sign = ended ? icon(summary?.icon ?? "check-circle") : spinner();
  if (ended && tasks.length === 1 && tasks[0].title === title && !hasMore(tasks[0])) return h("p.workflow.step", {}, sign, title);
  const begun = !was || (ended && was.classList.contains("is-live")); // not yet opened or folded by the reader
  const open = begun ? !ended || expanded : was.open;
  const folded = item.id.startsWith("activity-"); // arguments and results of tools are long
  const row = (one, index) => h("li", {}, taskRow(one, !ended, { folded, was: was?.querySelectorAll("li")[index] }));
  return h(`details.workflow${ended ? "" : ".is-live"}`, { open }, h("summary.step", {}, sign, title), h("ol.tasks", {}, tasks.map(row)));
}

/** A task of its own. */
export const task = (item) => h("div.task-item", {}, taskRow(item.task, false));

const hasMore = (one) => one.content || one.queries?.length || one.sources?.length;

function taskRow(one, live, { folded = false, was = null } = {}) {
  const sign = one.status_indicator === "loading" && live ? spinner()
    : icon(one.status_indicator === "complete" ? "check" : one.icon ?? SIGNS[one.type] ?? "dot");
  const title = one.title ?? one.title_query ?? (TITLES[one.type] && t(TITLES[one.type]));
  const body = one.content ? markdown(one.content) : null;
  const head = folded && body ? h("details", { open: was?.querySelector("details")?.open }, h("summary.name", {}, title), body)
    : [title && h("div.name", {}, title), body];
  return h("div.task", {}, h("span.sign", {}, sign), h("div", {}, head,
    one.queries?.length ? h("div.queries", {}, one.queries.map((query) => h("span.chip", {}, icon("search"), h("span", {}, query)))) : null,
    one.sources?.length ? sources(one.sources) : null));
}

/** Where a sentence comes from: links for pages, names for what is no page. `opening(source)` opens it, or is null. */
export function sources(all, opening = () => null) {
  return h("ul.sources", { "aria-label": t("sources") }, all.map((source) => h("li", {}, chip(source, opening(source)))));
}

function chip(source, open) {
  const name = source.title || source.filename || source.label || t("source");
  const label = h("span", {}, name);
  if (open) return h("button.chip", { type: "button", onclick: open }, icon("document"), label);
  const url = source.type === "url" && URL.canParse(source.url) ? new URL(source.url) : null;
  if (!/^https?:$/.test(url?.protocol)) {
    return h("span.chip", { title: source.description ?? source.filename ?? source.label }, icon(source.type === "file" ? "document" : source.icon ?? "info"), label);
  }
  const beside = targetBeside(name, url);
  return h("a.chip", { href: url.href, target: "_blank", rel: "noopener noreferrer nofollow", title: url.href }, icon("globe"), label, beside && h("span.target", {}, ` (${beside})`));
}

export const spinner = () => h("span.spinner", { "aria-hidden": "true" });

export function markdown(text, ended = true) {
  const element = h("chat-markdown");
  element.show(text, ended);
  return element;
}

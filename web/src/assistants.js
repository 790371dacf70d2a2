// The assistants that the stage offers in the page (`page.assistants` in cdk.json), and the choice among them.
// The address keeps the choice as ?assistant=NAME. Without it, or with an unknown name, the first assistant answers.
import { h } from "./dom.js";
import { t } from "./texts.js";

const PARAMETER = "assistant";
const UNNAMED = [{ name: "" }];

/** The assistants of the page's configuration: the unnamed assistant alone if it lists none. */
export const assistantsOf = ({ page }) => (page.assistants?.length ? page.assistants : UNNAMED);

/** The assistant that the address names. */
export function chosenAssistant(config) {
  const name = new URLSearchParams(location.search).get(PARAMETER);
  const all = assistantsOf(config);
  return all.find((assistant) => assistant.name === name) ?? all[0];
}

/** Path and query of the page with this assistant. */
export function addressOf(assistant, config) {
  const query = new URLSearchParams(location.search);
  if (assistant === assistantsOf(config)[0]) query.delete(PARAMETER);
  else query.set(PARAMETER, assistant.name);
  return location.pathname + (query.size ? `?${query}` : "");
}

export const urlOf = ({ name }) => (name ? `chatkit/${name}` : "chatkit");

/** `brand` and `features` of one assistant: its own greeting, prompts, models or tools, and whether people answer there. */
export const brandFor = (brand, { greeting, prompts }) => ({ ...brand, greeting: greeting ?? brand.greeting, prompts: prompts ?? brand.prompts });
export const featuresFor = (features, { name, models, tools }) => ({ ...features, models: models ?? features.models, tools: tools ?? features.tools, people: features.people.includes(name) });

/** A select element for the choice; null if there is none. `choose` is called with the assistant. */
export function assistantPicker(config, choose) {
  const all = assistantsOf(config);
  if (all.length < 2) return null;
  const select = h("select.assistants", { "aria-label": t("assistant"), onchange: () => choose(all[select.selectedIndex]) },
    all.map(({ label }) => h("option", {}, label)));
  select.selectedIndex = all.indexOf(chosenAssistant(config));
  return select;
}

// Draws a formula as MathML. Loaded when the first formula is shown. Temml builds elements: no markup is parsed.
import temml from "temml";

const LIMITS = { maxSize: [30, 10], maxExpand: 200 }; // em, em, and macros: a formula cannot cover the page or hang it

/** Replace the source in `element` with the formula; what is no TeX stays as it was written. */
export function drawFormula(element, tex, display) {
  const source = [...element.childNodes];
  try {
    temml.render(tex, element, { displayMode: display, throwOnError: true, trust: false, ...LIMITS });
  } catch {
    element.replaceChildren(...source);
  }
}

// What accompanies percentages: the best cosine, the mark of unlike images, and words that the model never learned.

import { number } from "./dom.js";

export function evidence({ cosine, unlike_validation: unlike }) {
  const shown = cosine === undefined ? "" : `, best cosine ${number(cosine)}`;
  return unlike ? `${shown}. Unlike anything this model was checked on` : shown;
}

export function warningsOf(warnings = []) {
  return warnings.map(({ message, words }) => `. Warning: ${message}: ${words.join(", ")}`).join("");
}

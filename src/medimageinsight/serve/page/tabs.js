// The tabs pattern of WAI-ARIA: one stop for Tab, arrows move, the panel follows.

export function tabs(list, onSelect) {
  const all = [...list.querySelectorAll('[role="tab"]')];

  function select(tab, { focus = false } = {}) {
    for (const item of all) {
      item.setAttribute("aria-selected", String(item === tab));
      item.tabIndex = item === tab ? 0 : -1;
    }
    if (focus) tab.focus();
    // Only if focused, since scrolling also moves the point from which Tab continues.
    if (list.contains(document.activeElement)) tab.scrollIntoView({ block: "nearest", inline: "nearest" });
    onSelect(tab);
  }

  list.addEventListener("click", (event) => {
    const tab = event.target.closest('[role="tab"]');
    if (tab) select(tab);
  });
  list.addEventListener("keydown", (event) => {
    const index = all.indexOf(event.target);
    if (index < 0) return;
    const next = { ArrowRight: index + 1, ArrowLeft: index - 1, Home: 0, End: -1 }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    select(all.at(next % all.length), { focus: true });
  });
  return select;
}

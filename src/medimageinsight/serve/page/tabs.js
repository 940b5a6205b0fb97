// The tabs pattern of WAI-ARIA: one stop for Tab, arrows move, the panel follows.

export function tabs(list, onSelect) {
  const all = [...list.querySelectorAll('[role="tab"]')];

  function select(tab, { focus = false } = {}) {
    for (const one of all) {
      one.setAttribute("aria-selected", String(one === tab));
      one.tabIndex = one === tab ? 0 : -1;
    }
    if (focus) tab.focus();
    // Only then: it also moves the place from which Tab goes on.
    if (list.contains(document.activeElement)) tab.scrollIntoView({ block: "nearest", inline: "nearest" });
    onSelect(tab);
  }

  list.addEventListener("click", (event) => {
    const tab = event.target.closest('[role="tab"]');
    if (tab) select(tab);
  });
  list.addEventListener("keydown", (event) => {
    const at = all.indexOf(event.target);
    if (at < 0) return;
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: -1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    select(all.at(to % all.length), { focus: true });
  });
  return select;
}

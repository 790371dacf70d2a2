// Automatic scrolling: follows the end of a growing list until the reader scrolls up, and again when they return.

const NEAR_PX = 48; // this close counts as the end

/** Keep `view` at the end of what is in `content`. @returns {{ toEnd(): void, onLeave: (left: boolean) => void }} */
export function followEnd(view, content, onLeave) {
  let following = true;
  let top = 0;
  let unfolded = false; // the reader has just opened or folded something, which stays in its place
  const follow = (value) => {
    if (value !== following) onLeave(!value);
    following = value;
  };
  const isNear = () => view.scrollHeight - view.clientHeight - view.scrollTop < NEAR_PX;
  view.addEventListener("scroll", () => {
    if (isNear()) follow(true);
    else if (view.scrollTop < top - 1) follow(false); // only the reader scrolls up; growing content does not
    top = view.scrollTop;
  }, { passive: true });
  const toEnd = () => {
    view.scrollTop = view.scrollHeight;
    top = view.scrollTop;
  };
  content.addEventListener("click", ({ target }) => { unfolded = target.closest("summary, .widget .link") !== null; });
  const grown = new ResizeObserver(() => {
    if (unfolded) follow(isNear());
    else if (following) toEnd();
    unfolded = false;
  });
  grown.observe(content);
  grown.observe(view);
  return { toEnd() { follow(true); toEnd(); } };
}

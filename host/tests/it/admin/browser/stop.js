// The element that has the focus: which of all that can be operated, and whether it shows the focus; null for the page itself.
const element = document.activeElement;
if (!element || element === document.body) return null;
const look = (of) => {
    const style = getComputedStyle(of);
    const outline = style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 1;
    return [outline, style.boxShadow, style.borderColor, style.backgroundColor].join(' ');
};
const focused = look(element);
const index = window.operable.indexOf(element);
const name = element.outerHTML.slice(0, 200);
const visible = element.matches(':focus-visible');
// A ring, or anything that looks otherwise without the focus.
const shows = visible && (focused.startsWith('true') || (() => {
    element.blur();
    const without = look(element);
    element.focus({ preventScroll: true, focusVisible: true });
    return without !== focused;
})());
return { index, name, shows };

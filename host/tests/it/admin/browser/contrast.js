// Each text that is shown, with the contrast that it has to what lies behind it, as WCAG 2 reckons it; those of too little.
const channels = (color) => {
    const [r, g, b, a = 1] = color.match(/[\d.]+/g).map(Number);
    return color.startsWith('color(srgb') ? [r * 255, g * 255, b * 255, a] : [r, g, b, a];
};
const over = ([r, g, b, a], [R, G, B]) => [r * a + R * (1 - a), g * a + G * (1 - a), b * a + B * (1 - a)];
const luminance = (color) => {
    const [r, g, b] = color.map((c) => c / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const contrast = (one, other) => {
    const [dark, light] = [luminance(one), luminance(other)].sort((a, b) => a - b);
    return (light + 0.05) / (dark + 0.05);
};
// Of the elements that hold it; in a picture, of the shape that lies behind the text's middle too.
const behind = (element) => {
    const layers = [];
    for (let at = element; at; at = at.parentElement) layers.push(channels(getComputedStyle(at).backgroundColor));
    const base = layers.reverse().reduce((below, layer) => over(layer, below), [255, 255, 255]);
    const picture = element.closest('svg');
    if (!picture) return base;
    const { left, top, width, height } = element.getBoundingClientRect();
    const [x, y] = [left + width / 2, top + height / 2];
    return all('rect, circle, path, polygon', picture).reduce((below, shape) => {
        const style = getComputedStyle(shape);
        const box = shape.getBoundingClientRect();
        const covers = box.left <= x && x <= box.right && box.top <= y && y <= box.bottom;
        const before = shape.compareDocumentPosition(element) & Node.DOCUMENT_POSITION_FOLLOWING;
        if (!covers || !before || style.fill === 'none' || shape.closest('defs, clipPath, marker')) return below;
        const fill = channels(style.fill);
        return over([fill[0], fill[1], fill[2], fill[3] * style.fillOpacity * style.opacity], below);
    }, base);
};
const texts = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || !isShown(element) || element.closest('style, script, title')) continue;
    const style = getComputedStyle(element);
    const { width, height } = element.getBoundingClientRect();
    // What only a screen reader gets.
    if (width <= 1 || height <= 1) continue;
    const ground = behind(element);
    const ink = channels(element.closest('svg') ? style.fill : style.color);
    let opacity = 1;
    for (let at = element; at; at = at.parentElement) opacity *= getComputedStyle(at).opacity;
    const ratio = contrast(over([ink[0], ink[1], ink[2], ink[3] * opacity], ground), ground);
    texts.push({ text: walker.currentNode.textContent.trim().slice(0, 60), ratio });
}
return { texts: texts.length, poor: texts.filter(({ ratio }) => ratio < 4.5) };

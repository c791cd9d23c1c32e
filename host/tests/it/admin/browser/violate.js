// Does what an attacker would do with markup of his own, and tells what the page's policy said to each.
const [elsewhere] = arguments, done = arguments[arguments.length - 1];
const violated = new Set();
document.addEventListener('securitypolicyviolation', (event) => {
    violated.add(event.effectiveDirective);
    if (violated.size === 4) done([...violated].sort());
});
const script = document.createElement('script');
script.textContent = 'window.taken = "by a script"';
document.body.append(script);
const button = document.createElement('button');
button.setAttribute('onclick', 'window.taken = "by an attribute"');
document.body.append(button);
button.click();
const image = document.createElement('img');
image.src = elsewhere;
document.body.append(image);
fetch(elsewhere).then(() => { window.taken = 'by a request'; }, () => {});

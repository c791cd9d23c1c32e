// Does what an attacker would do who could change the page, and tells what its policy said to each.
const [elsewhere] = arguments, done = arguments[arguments.length - 1];
const violated = new Set();
document.addEventListener('securitypolicyviolation', (event) => {
    violated.add(event.effectiveDirective);
    if (violated.size === 3) done([...violated].sort());
});
const attempts = [
    () => { document.body.insertAdjacentHTML('beforeend', '<img src=x onerror="window.taken = 1">'); },
    () => {
        const script = document.createElement('script');
        script.textContent = 'window.taken = 2';
        document.body.append(script);
    },
    () => {
        const image = document.createElement('img');
        image.src = elsewhere;
        document.body.append(image);
    },
    () => { fetch(elsewhere).then(() => { window.taken = 3; }, () => {}); },
];
for (const attempt of attempts) {
    try {
        attempt();
    } catch {
        // It was stopped at once.
    }
}

// Looks until there is something to see, or time is up.
const [limit] = arguments, done = arguments[arguments.length - 1];
const end = performance.now() + limit;
(function look() {
    let seen, why = 'it is not';
    try {
        seen = (EXPRESSION);
    } catch (error) {
        why = `${error}`;
    }
    if (seen) done({ seen });
    else if (performance.now() > end) done({ why });
    else setTimeout(look, 20);
})();

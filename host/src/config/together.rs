//! What doesn't go together: which variables are given, and the URL, enter; one line for each contradiction leaves.
//! Never sees a secret.

use super::vars::{
    PLUGIN_MEMORY_MAX, REMOTE_WRITE_BEARER_TOKEN, REMOTE_WRITE_BEARER_TOKEN_FILE, REMOTE_WRITE_HEADERS,
    REMOTE_WRITE_HEADERS_FILE, REMOTE_WRITE_PASSWORD, REMOTE_WRITE_PASSWORD_FILE, REMOTE_WRITE_USERNAME, TLS_CERT_FILE,
    TLS_KEY_FILE,
};
use super::{TargetUrl, Var};

/// Every contradiction. `url` is none when it is wrong itself; `authorization`: whether a custom header sets it;
/// `isolated`: whether the plugin gets a process of its own.
pub(super) fn contradictions(
    given: impl Fn(&Var) -> bool,
    url: Option<&TargetUrl>,
    authorization: bool,
    isolated: bool,
) -> Vec<String> {
    let mut lines = Vec::new();
    let both_ways = [
        (&REMOTE_WRITE_PASSWORD, &REMOTE_WRITE_PASSWORD_FILE),
        (&REMOTE_WRITE_BEARER_TOKEN, &REMOTE_WRITE_BEARER_TOKEN_FILE),
        (&REMOTE_WRITE_HEADERS, &REMOTE_WRITE_HEADERS_FILE),
    ];
    for (direct, file) in both_ways {
        if given(direct) && given(file) {
            lines.push(format!("{} and {}: both are set; leave one of them out", direct.name, file.name));
        }
    }

    let first = |vars: &[&Var]| vars.iter().find(|var| given(var)).map(|var| var.name);
    let user = first(&[&REMOTE_WRITE_USERNAME]);
    let password = first(&[&REMOTE_WRITE_PASSWORD, &REMOTE_WRITE_PASSWORD_FILE]);
    let basic = user.or(password);
    let bearer = first(&[&REMOTE_WRITE_BEARER_TOKEN, &REMOTE_WRITE_BEARER_TOKEN_FILE]);
    let url_user = url.is_some_and(|url| !url.url().username().is_empty());
    let url_password = url.is_some_and(|url| url.url().password().is_some());
    let in_url = url_user || url_password;

    if let (Some(basic), Some(bearer)) = (basic, bearer) {
        lines.push(format!("{basic} and {bearer}: a request has one kind of credentials; leave one of them out"));
    }
    if let (true, Some(bearer)) = (in_url, bearer) {
        lines.push(format!("REMOTE_WRITE_URL holds credentials and {bearer} is set; leave one of them out"));
    }
    if in_url && user.is_some() {
        lines.push("REMOTE_WRITE_URL holds credentials and REMOTE_WRITE_USERNAME is set; leave one of them out".into());
    }
    if let (true, Some(password)) = (url_password, password) {
        lines.push(format!("REMOTE_WRITE_URL holds a password and {password} is set; leave one of them out"));
    }
    match (user, password) {
        (Some(user), None) => lines.push(format!(
            "{user} is set without a password; give REMOTE_WRITE_PASSWORD or REMOTE_WRITE_PASSWORD_FILE"
        )),
        // A URL that is wrong may have been meant to hold it.
        (None, Some(password)) if !url_user && url.is_some() => {
            lines.push(format!("{password} is set without a user; give REMOTE_WRITE_USERNAME"));
        }
        _ => {}
    }
    if let (true, Some(other)) = (authorization, basic.or(bearer).or(in_url.then_some("REMOTE_WRITE_URL"))) {
        lines.push(format!(
            "REMOTE_WRITE_HEADERS sets authorization and {other} gives credentials; leave one of them out"
        ));
    }
    match (given(&TLS_CERT_FILE), given(&TLS_KEY_FILE)) {
        (true, false) => lines.push("TLS_CERT_FILE is set without its key; give TLS_KEY_FILE".into()),
        (false, true) => lines.push("TLS_KEY_FILE is set without its certificate; give TLS_CERT_FILE".into()),
        _ => {}
    }
    if given(&PLUGIN_MEMORY_MAX) && !isolated {
        lines.push(
            "PLUGIN_MEMORY_MAX is set and PLUGIN_ISOLATION is off: only a process of its own can be bounded; give \
             PLUGIN_ISOLATION=process"
                .into(),
        );
    }
    lines
}

//! Against a socket that plays the manager's.

use std::collections::BTreeMap;

use super::*;

const PID: u32 = 7;

fn of(env: &[(&str, &str)]) -> Manager {
    let env: BTreeMap<&str, &str> = env.iter().copied().collect();
    Manager::of(|name| env.get(name).map(OsString::from), PID)
}

/// A socket at a path, and its name.
fn at_path(dir: &tempfile::TempDir) -> (UnixDatagram, String) {
    let path = dir.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    (socket, path.to_str().unwrap().to_owned())
}

fn heard(socket: &UnixDatagram) -> String {
    let mut words = vec![0; 4096];
    let length = socket.recv(&mut words).unwrap();
    String::from_utf8(words[..length].to_vec()).unwrap()
}

#[test]
fn each_word_is_a_datagram() {
    let dir = tempfile::tempdir().unwrap();
    let (socket, name) = at_path(&dir);
    let mut manager = of(&[(NOTIFY_SOCKET, &name)]);
    manager.ready();
    manager.alive("ready: the last delivery was 1.0 s ago");
    manager.not_alive("batching has not moved\nWATCHDOG=1");
    manager.stopping(Duration::from_secs(8));
    assert_eq!(heard(&socket), "READY=1\nSTATUS=running");
    assert_eq!(heard(&socket), "WATCHDOG=1\nSTATUS=ready: the last delivery was 1.0 s ago");
    assert_eq!(heard(&socket), "STATUS=batching has not moved WATCHDOG=1");
    assert_eq!(heard(&socket), "STOPPING=1\nEXTEND_TIMEOUT_USEC=13000000\nSTATUS=ending: what waits is delivered");
    manager.alive(&"ä".repeat(MAX_STATUS + 1));
    assert_eq!(heard(&socket).chars().count(), "WATCHDOG=1\nSTATUS=".len() + MAX_STATUS);
}

#[test]
fn an_abstract_socket_is_one_too() {
    let name = format!("monitor-host-test-{}", std::process::id());
    let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    of(&[(NOTIFY_SOCKET, &format!("@{name}"))]).ready();
    assert_eq!(heard(&socket), "READY=1\nSTATUS=running");
}

#[test]
fn without_a_manager_or_with_a_wrong_one_nothing_happens() {
    for env in [&[][..], &[(NOTIFY_SOCKET, "")], &[(NOTIFY_SOCKET, "notify")], &[(NOTIFY_SOCKET, "vsock:2:1234")]] {
        let mut manager = of(&[env, &[(WATCHDOG_USEC, "1000000")]].concat());
        assert!(manager.link.is_none() && manager.watchdog.is_none(), "{env:?}");
        manager.ready();
    }
    // One that has gone is told, and nothing else.
    let mut manager = of(&[(NOTIFY_SOCKET, "/nonexistent/notify")]);
    manager.ready();
    assert_eq!(manager.limit.allow(Instant::now()), None);
    let long = format!("/{}", "x".repeat(200));
    assert!(of(&[(NOTIFY_SOCKET, &long)]).link.is_none());
}

#[test]
fn the_watchdog_waits_for_this_process_or_for_none() {
    let watchdog = |of_watchdog: &[(&str, &str)]| of(&[of_watchdog, &[(NOTIFY_SOCKET, "/n")]].concat()).watchdog;
    let minute = Some(Duration::from_secs(60));
    assert_eq!(watchdog(&[]), None);
    assert_eq!(watchdog(&[(WATCHDOG_USEC, "60000000")]), minute);
    assert_eq!(watchdog(&[(WATCHDOG_USEC, "60000000"), (WATCHDOG_PID, "7")]), minute);
    assert_eq!(watchdog(&[(WATCHDOG_USEC, "60000000"), (WATCHDOG_PID, "8")]), None);
    for wrong in ["0", "x", "-1", "1.5", "18446744073709551615"] {
        assert_eq!(watchdog(&[(WATCHDOG_USEC, wrong)]), None, "{wrong}");
    }
    assert_eq!(watchdog(&[(WATCHDOG_USEC, "1"), (WATCHDOG_PID, "x")]), None);
}

#[test]
fn it_is_told_at_half_of_its_time() {
    let half = |watchdog_us: &str| of(&[(NOTIFY_SOCKET, "/n"), (WATCHDOG_USEC, watchdog_us)]).half();
    assert_eq!(half("60000000"), Duration::from_secs(30));
    assert_eq!(half("300000"), Duration::from_millis(150));
    assert_eq!(half("1"), SHORTEST, "and never in a busy loop");
    let nobodys = of(&[(NOTIFY_SOCKET, "/n")]);
    assert_eq!(nobodys.half(), Duration::MAX);
    assert!(nobodys.looks().try_recv().is_err(), "nobody waits for it");
}

#[test]
fn it_is_looked_at_half_of_the_time_and_never_without_a_watchdog() {
    let watched = |usec: &str| of(&[(NOTIFY_SOCKET, "/n"), (WATCHDOG_USEC, usec)]);
    assert_eq!(watched("60000000").half(), Duration::from_secs(30));
    assert_eq!(watched("1").half(), SHORTEST);
    assert!(watched("1").looks().recv_timeout(Duration::from_secs(20)).is_ok());
    assert!(of(&[(NOTIFY_SOCKET, "/n")]).looks().recv_timeout(Duration::from_millis(50)).is_err());
    assert!(Manager::default().looks().recv_timeout(Duration::from_millis(50)).is_err());
}

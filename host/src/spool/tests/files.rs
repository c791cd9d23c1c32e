//! What the spool makes in its directory, and what it opens there.

use std::os::unix::fs::{PermissionsExt, symlink};

use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::*;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn what_it_makes_is_for_its_own_user_alone() {
    let parent = TempDir::new().unwrap();
    let dir = parent.path().join("a/spool");
    drop(filled(&dir, ROOMY, 1..=1, 10));
    assert_eq!(mode(&dir), 0o700);
    let names: Vec<_> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(names.len(), 3, "{names:?}");
    assert!(names.iter().all(|path| mode(path) == 0o600), "{names:?}");
}

#[test]
fn a_directory_that_is_there_keeps_its_mode() {
    let dir = TempDir::new().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o750)).unwrap();
    drop(open(dir.path(), ROOMY));
    assert_eq!(mode(dir.path()), 0o750);
}

#[test]
fn no_link_leads_it_elsewhere_and_no_pipe_holds_it_up() {
    for name in ["lock", "cursor"] {
        let (dir, elsewhere) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let (path, victim) = (dir.path().join(name), elsewhere.path().join("victim"));
        fs::write(&victim, "precious").unwrap();
        symlink(&victim, &path).unwrap();
        let error = Spool::open(dir.path(), ROOMY, false).unwrap_err().to_string();
        assert!(error.starts_with(&format!("can't open {}: ", path.display())), "{error}");
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");

        fs::remove_file(&path).unwrap();
        mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let error = Spool::open(dir.path(), ROOMY, false).unwrap_err().to_string();
        assert!(error.ends_with("not a regular file"), "{error}");
    }
}

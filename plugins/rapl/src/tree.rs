//! A powercap tree in a temporary folder, for tests: a model of what a kernel shows.
//!
//! Counters are rewritten in place, as the kernel's are, so that a kept descriptor sees each value.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

pub(crate) struct Tree {
    dir: tempfile::TempDir,
    linked: bool,
}

pub(crate) const RANGE_UJ: u64 = 5_000_000;

impl Tree {
    /// All zones beside each other in class/powercap.
    pub(crate) fn new() -> Tree {
        let tree = Tree { dir: tempfile::tempdir().unwrap(), linked: false };
        fs::create_dir_all(tree.class()).unwrap();
        tree
    }

    /// As a real sysfs has it: folders within folders, and links to them in class/powercap.
    pub(crate) fn linked() -> Tree {
        Tree { linked: true, ..Tree::new() }
    }

    pub(crate) fn root(&self) -> &Path {
        self.dir.path()
    }

    fn class(&self) -> PathBuf {
        self.root().join("class/powercap")
    }

    pub(crate) fn zone(&self, id: &str, name: &str) -> &Tree {
        let mut dir = self.class().join(id);
        if self.linked {
            // intel-rapl:0:1 lies in devices/virtual/powercap/intel-rapl/intel-rapl:0/intel-rapl:0:1.
            let mut real = self.root().join("devices/virtual/powercap");
            let parts: Vec<_> = id.split(':').collect();
            for n in 1..=parts.len() {
                real.push(parts[..n].join(":"));
            }
            fs::create_dir_all(&real).unwrap();
            symlink(&real, &dir).unwrap();
            dir = real;
        }
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("name"), format!("{name}\n")).unwrap();
        fs::write(dir.join("max_energy_range_uj"), format!("{RANGE_UJ}\n")).unwrap();
        self.shows(id, 0)
    }

    pub(crate) fn file(&self, id: &str, name: &str) -> PathBuf {
        self.class().join(id).join(name)
    }

    /// From now on the counter of a zone shows this many microjoules.
    pub(crate) fn shows(&self, id: &str, uj: u64) -> &Tree {
        // Of one length, so that no reader ever sees a number cut short.
        self.shows_text(id, &format!("{uj:020}\n"))
    }

    /// From now on the counter of a zone shows this, over what it showed before.
    pub(crate) fn shows_text(&self, id: &str, text: &str) -> &Tree {
        use std::io::Write;
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(false).open(self.file(id, "energy_uj"));
        file.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
        self
    }

    /// As the kernel does with a package that is taken offline. Only for a tree without links.
    pub(crate) fn remove_zone(&self, id: &str) {
        fs::remove_dir_all(self.class().join(id)).unwrap();
    }

    pub(crate) fn remove(&self, id: &str, name: &str) {
        fs::remove_file(self.file(id, name)).unwrap();
    }
}

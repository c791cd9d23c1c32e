//! Which RAPL domains this machine has, by what powercap says of them.
//!
//! Enters: the root of a sysfs. Leaves: the domains, each with its files; what was found and can't be used, as lines for
//! people.
//!
//! Never: trusts a number in a directory's name: the same package can be `intel-rapl:0` today and `intel-rapl:1`
//! tomorrow. What a domain is follows from its `name` file and from the zone that it lies in.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What a domain is part of: only those of one kind may be summed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Family {
    /// A package, a die of one, or memory: they don't overlap.
    Disjoint,
    /// Cores and graphics: inside their package.
    Inside,
    /// The whole platform, the packages among others.
    Platform,
}

/// One domain.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Zone {
    /// What it is part of.
    pub(crate) family: Family,
    /// Unique on this machine: `package-0`, `package-0/core`, `package-1-die-0/dram`, `psys`.
    pub(crate) domain: String,
    /// `package`, `core`, `uncore`, `dram`, `psys`, or what the kernel calls it.
    pub(crate) component: String,
    /// The number of the socket, where the name has one.
    pub(crate) socket: String,
    /// The zone that it lies in; empty for those at the top.
    pub(crate) parent: String,
    /// `max_energy_range_uj`; none if that can't be read.
    pub(crate) range_uj: Option<u64>,
    /// The counter: `energy_uj`.
    pub(crate) counter: PathBuf,
}

impl Zone {
    /// The name that the original's records give it: `package_0`, `core_0`, `dram_0`, `package_1_die_0`. They have no platform: it
    /// would be summed with the packages in it.
    pub(crate) fn original_name(&self) -> Option<String> {
        match self.family {
            Family::Platform => None,
            _ if self.parent.is_empty() => Some(self.domain.replace('-', "_")),
            _ => {
                let within = self.parent.strip_prefix("package-").unwrap_or(&self.parent);
                Some(format!("{}_{}", self.component, within.replace('-', "_")))
            }
        }
    }

    /// More than it can ever draw, in watts: eight times the largest processor of today, and a platform of many.
    pub(crate) fn most_watts(&self) -> u64 {
        match self.family {
            Family::Disjoint | Family::Inside => 4000,
            Family::Platform => 20_000,
        }
    }
}

/// What a look around found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// The domains, in a fixed order.
    pub(crate) zones: Vec<Zone>,
    /// Directories that look like a zone and can't be used, each with the reason.
    pub(crate) unusable: Vec<String>,
}

/// Zones of the control type that each processor has; other types repeat its packages.
const MAIN_TYPE: &str = "intel-rapl";

/// Where powercap shows all its zones.
pub(crate) fn powercap(root: &Path) -> PathBuf {
    root.join("class/powercap")
}

/// Looks at all zones below `root` (`/sys`).
///
/// # Errors
/// The folder can't be read.
pub(crate) fn discover(root: &Path) -> std::io::Result<Found> {
    let mut found = Found::default();
    let mut by_id = BTreeMap::new();
    for entry in fs::read_dir(powercap(root))? {
        let path = entry?.path();
        let id = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // `intel-rapl` without a colon is a control type, the others are zones.
        if !id.split_once(':').is_some_and(|(kind, _)| kind.contains("rapl")) {
            continue;
        }
        match fs::read_to_string(path.join("name")) {
            Ok(name) => {
                by_id.insert(id, (name.trim().to_owned(), path));
            }
            Err(error) => found.unusable.push(format!("{}: {error}", path.join("name").display())),
        }
    }
    let mut taken: BTreeMap<String, String> = BTreeMap::new();
    // The main type first: what others show of the same domain is dropped.
    let mut ids: Vec<_> = by_id.keys().collect();
    ids.sort_by_key(|id| (kind_of(id) != MAIN_TYPE, (*id).clone()));
    for id in ids {
        let (name, path) = &by_id[id];
        let parent = parent_of(id, path).and_then(|parent| by_id.get(&parent)).map(|(name, _)| name.as_str());
        let mut zone = describe(name, parent.unwrap_or_default());
        match taken.get(&zone.domain) {
            Some(kind) if *kind != kind_of(id) => continue,
            // The same name twice in one type (a platform counter for each socket): told apart by their order.
            Some(_) => zone.domain = first_free(&zone.domain, &taken),
            None => {}
        }
        taken.insert(zone.domain.clone(), kind_of(id).to_owned());
        zone.counter = path.join("energy_uj");
        zone.range_uj = fs::read_to_string(path.join("max_energy_range_uj")).ok().and_then(|t| t.trim().parse().ok());
        found.zones.push(zone);
    }
    found.zones.sort();
    Ok(found)
}

fn kind_of(id: &str) -> &str {
    id.split(':').next().unwrap_or_default()
}

fn first_free(domain: &str, taken: &BTreeMap<String, String>) -> String {
    // `taken` is finite, so one of these numbers is free.
    (1..).map(|n| format!("{domain}-{n}")).find(|name| !taken.contains_key(name)).unwrap_or_default()
}

/// The id of the zone that this one lies in: the folder around it, behind the links of /sys/class. In a copy that has no links,
/// the id itself tells: `intel-rapl:0:1` lies in `intel-rapl:0`.
fn parent_of(id: &str, path: &Path) -> Option<String> {
    let real = fs::canonicalize(path).ok()?;
    let around = real.parent()?.file_name()?.to_string_lossy().into_owned();
    if around.contains(':') {
        return Some(around);
    }
    id.rsplit_once(':').map(|(parent, _)| parent.to_owned()).filter(|parent| parent.contains(':'))
}

fn describe(name: &str, parent: &str) -> Zone {
    let (component, family) = match name {
        _ if name.starts_with("package-") => ("package", Family::Disjoint),
        // Beside its package, not inside it, wherever the kernel shows it.
        "dram" => ("dram", Family::Disjoint),
        _ if name == "psys" || name.starts_with("psys-") => ("psys", Family::Platform),
        "platform" => (name, Family::Platform),
        _ if parent.is_empty() => (name, Family::Platform),
        _ => (name, Family::Inside),
    };
    let socket = [name, parent].iter().find_map(|name| name.strip_prefix("package-"));
    let digits = |text: &str| text.chars().take_while(char::is_ascii_digit).collect();
    Zone {
        family,
        domain: if parent.is_empty() { name.to_owned() } else { format!("{parent}/{name}") },
        component: component.to_owned(),
        socket: socket.map(digits).unwrap_or_default(),
        parent: parent.to_owned(),
        range_uj: None,
        counter: PathBuf::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Tree;

    fn names(tree: &Tree) -> Vec<(String, String)> {
        let zones = discover(tree.root()).unwrap().zones;
        zones.iter().map(|zone| (zone.domain.clone(), zone.original_name().unwrap_or_default())).collect()
    }

    fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
    }

    #[test]
    fn a_laptop_with_psys_and_a_twin() {
        let tree = Tree::new();
        tree.zone("intel-rapl:0", "package-0").zone("intel-rapl:0:0", "core").zone("intel-rapl:0:1", "uncore");
        tree.zone("intel-rapl:1", "psys").zone("intel-rapl-mmio:0", "package-0").zone("intel-rapl-mmio:0:0", "dram");
        let expected = [
            ("package-0", "package_0"),
            // Known to the twin alone.
            ("package-0/dram", "dram_0"),
            ("package-0/core", "core_0"),
            ("package-0/uncore", "uncore_0"),
            ("psys", ""),
        ];
        assert_eq!(names(&tree), pairs(&expected));
        let zones = discover(tree.root()).unwrap().zones;
        assert!(zones[0].counter.to_string_lossy().contains("intel-rapl:0/"), "{:?}", zones[0].counter);
        assert_eq!(zones.iter().map(|zone| zone.family).filter(|&f| f == Family::Platform).count(), 1);
        assert!(zones[..4].iter().all(|zone| zone.socket == "0") && zones[4].socket.is_empty());
    }

    #[test]
    fn sockets_dies_and_holes_in_the_numbering() {
        let tree = Tree::new();
        // The numbers say nothing: package-1 comes first, and there is no intel-rapl:1.
        tree.zone("intel-rapl:0", "package-1-die-0").zone("intel-rapl:0:0", "dram");
        tree.zone("intel-rapl:2", "package-0-die-0").zone("intel-rapl:2:3", "dram");
        tree.zone("intel-rapl:7", "package-0-die-1");
        let expected = [
            ("package-0-die-0", "package_0_die_0"),
            ("package-0-die-0/dram", "dram_0_die_0"),
            ("package-0-die-1", "package_0_die_1"),
            ("package-1-die-0", "package_1_die_0"),
            ("package-1-die-0/dram", "dram_1_die_0"),
        ];
        assert_eq!(names(&tree), pairs(&expected));
        let zones = discover(tree.root()).unwrap().zones;
        assert_eq!(zones.iter().map(|zone| zone.socket.as_str()).collect::<Vec<_>>(), ["0", "0", "0", "1", "1"]);
    }

    #[test]
    fn links_as_in_a_real_sysfs_are_followed() {
        let tree = Tree::linked();
        tree.zone("intel-rapl:0", "package-0").zone("intel-rapl:0:0", "core");
        tree.zone("intel-rapl:1", "psys").zone("intel-rapl:2", "psys");
        let expected = [("package-0", "package_0"), ("package-0/core", "core_0"), ("psys", ""), ("psys-1", "")];
        assert_eq!(names(&tree), pairs(&expected));
    }

    #[test]
    fn what_is_no_rapl_is_left_alone() {
        let tree = Tree::new();
        tree.zone("dtpm:0", "pkg").zone("intel-rapl", "control type");
        assert_eq!(names(&tree), pairs(&[]));
        assert!(discover(Path::new("/nonexistent")).is_err());
    }

    #[test]
    fn a_zone_without_range_or_name() {
        let tree = Tree::new();
        tree.zone("intel-rapl:0", "package-0").zone("intel-rapl:1", "package-1");
        tree.remove("intel-rapl:0", "max_energy_range_uj");
        tree.remove("intel-rapl:1", "name");
        let found = discover(tree.root()).unwrap();
        assert_eq!(found.zones[0].range_uj, None);
        assert_eq!((found.zones.len(), found.unusable.len()), (1, 1));
        assert!(found.unusable[0].contains("intel-rapl:1/name"), "{:?}", found.unusable);
    }
}

//! The energy that the processor used during a measurement, read from its own counters.

use std::fs;
use std::path::{Path, PathBuf};

/// Folder in which Linux exposes the processor's energy counters.
const COUNTERS: &str = "/sys/class/powercap";

/// The counters of all processor packages.
#[derive(Debug)]
pub(super) struct Energy {
    packages: Vec<Package>,
}

#[derive(Debug)]
struct Package {
    folder: PathBuf,
    /// Last value read, in microjoules.
    last: u64,
    /// Sum up to the last value, in microjoules.
    sum: u64,
    /// The counter wraps to 0 here.
    range: u64,
}

impl Energy {
    /// Starts counting; `None` if there are no counters, or they can't be read.
    #[must_use]
    pub(super) fn begin() -> Option<Self> {
        Self::begin_in(Path::new(COUNTERS))
    }

    fn begin_in(folder: &Path) -> Option<Self> {
        let folders = fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path());
        let packages: Vec<Package> = folders
            // Zones within a package are already part of its count.
            .filter(|zone| {
                fs::read_to_string(zone.join("name")).is_ok_and(|name| name.starts_with("package"))
            })
            .map(|folder| {
                let (last, range) = (read(&folder, "energy_uj")?, read(&folder, "max_energy_range_uj")?);
                Some(Package { folder, last, sum: 0, range })
            })
            .collect::<Option<_>>()?;
        (!packages.is_empty()).then_some(Self { packages })
    }

    /// Joules since the start. Call it every few minutes at least: a counter that wraps
    /// twice in between goes unnoticed.
    #[must_use]
    pub(super) fn joules(&mut self) -> Option<f64> {
        for package in &mut self.packages {
            let now = read(&package.folder, "energy_uj")?;
            let round = if now < package.last { package.range } else { 0 };
            package.sum += now + round - package.last;
            package.last = now;
        }
        Some(self.packages.iter().map(|package| package.sum).sum::<u64>() as f64 / 1e6)
    }
}

fn read(folder: &Path, name: &str) -> Option<u64> {
    fs::read_to_string(folder.join(name)).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_summed_and_a_counter_may_go_round() {
        let root = tempfile::tempdir().unwrap();
        let zone = |name: &str, kind: &str, energy: u64| {
            let folder = root.path().join(name);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("name"), kind).unwrap();
            fs::write(folder.join("energy_uj"), energy.to_string()).unwrap();
            fs::write(folder.join("max_energy_range_uj"), "10000000\n").unwrap();
        };
        assert!(Energy::begin_in(root.path()).is_none(), "no counters");
        zone("intel-rapl:0", "package-0\n", 1_000_000);
        zone("intel-rapl:0:0", "core\n", 900_000);
        zone("intel-rapl:1", "package-1\n", 9_000_000);
        let mut energy = Energy::begin_in(root.path()).unwrap();
        zone("intel-rapl:0", "package-0\n", 3_500_000);
        zone("intel-rapl:1", "package-1\n", 500_000);
        assert_eq!(energy.joules(), Some(2.5 + 1.5));
        zone("intel-rapl:1", "package-1\n", 400_000);
        assert_eq!(energy.joules(), Some(2.5 + 1.5 + 9.9));
        fs::remove_dir_all(root.path().join("intel-rapl:1")).unwrap();
        assert_eq!(energy.joules(), None, "a counter that can't be read is no zero");
        assert!(Energy::begin_in(Path::new("/nowhere")).is_none());
    }
}

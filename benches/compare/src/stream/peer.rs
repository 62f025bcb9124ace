//! The engines.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::figures::Contender;

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Peer {
    EdgeStream,
    DataFusion,
    DuckDb,
    Bytewax,
}

impl Peer {
    /// Ours first.
    pub(super) const ALL: [Peer; 4] =
        [Peer::EdgeStream, Peer::DataFusion, Peer::DuckDb, Peer::Bytewax];

    /// The program in Python that does the work, of those that are Python packages.
    pub(super) fn script(self) -> Option<&'static str> {
        match self {
            Peer::EdgeStream | Peer::DataFusion => None,
            Peer::DuckDb => Some(include_str!("peer/with_duckdb.py")),
            Peer::Bytewax => Some(include_str!("peer/with_bytewax.py")),
        }
    }

    /// The Python package of the others.
    fn package(self) -> Option<&'static str> {
        self.script().map(|_| self.id())
    }
}

impl Contender for Peer {
    const OURS: Peer = Peer::EdgeStream;

    fn id(self) -> &'static str {
        match self {
            Peer::EdgeStream => "edge-stream",
            Peer::DataFusion => "datafusion",
            Peer::DuckDb => "duckdb",
            Peer::Bytewax => "bytewax",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Peer::EdgeStream => "edge-stream",
            Peer::DataFusion => "DataFusion, batch",
            Peer::DuckDb => "DuckDB, batch",
            Peer::Bytewax => "bytewax",
        }
    }

    // Where a package is not there, the floors that need it do not hold: all can be had everywhere.
    fn is_here(self) -> bool {
        self.package().is_none_or(|package| packages().contains(&package))
    }
}

/// A Python that has the packages, if there is one.
pub(super) fn python() -> PathBuf {
    std::env::var_os("PYTHON").map_or_else(|| "python3".into(), Into::into)
}

/// Those of the packages that are installed.
fn packages() -> &'static [&'static str] {
    static FOUND: OnceLock<Vec<&str>> = OnceLock::new();
    FOUND.get_or_init(|| {
        let all = Peer::ALL.iter().filter_map(|peer| peer.package());
        all.filter(|package| imports(&python(), package)).collect()
    })
}

fn imports(python: &Path, package: &str) -> bool {
    let import = format!("import {package}");
    let output = Command::new(python).args(["-c", &import]).output();
    output.is_ok_and(|output| output.status.success())
}

/// Which packages are missing, and how to get them.
pub(super) fn about_packages() -> String {
    let missing = Peer::ALL.iter().filter(|peer| !peer.is_here());
    let missing: Vec<_> = missing.map(|peer| peer.id()).collect();
    if missing.is_empty() {
        return format!("Python packages: those of {}.", python().display());
    }
    format!(
        "Without {}, so that their floors do not hold: `python3 -m venv VENV`, \
         `VENV/bin/pip install {}`, and PYTHON=VENV/bin/python.",
        missing.join(", "),
        missing.join(" "),
    )
}

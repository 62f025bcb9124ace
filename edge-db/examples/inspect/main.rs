//! Shows what is in a database: names, sizes, first and last; or dumps a table or log as JSON
//! lines; or says whether it is whole, and makes a new one of what is left of one that is not.
//!
//! ```sh
//! cargo run -p edge-db --example inspect -- DIR            # everything, as a table
//! cargo run -p edge-db --example inspect -- DIR NAME       # rows or records of NAME
//! cargo run -p edge-db --example inspect -- DIR --dump NAME # the same, of any name
//! cargo run -p edge-db --example inspect -- DIR verify     # what is wrong; fails if anything is
//! cargo run -p edge-db --example inspect -- DIR repair [--into NEW] [--yes]
//! ```
//!
//! `repair` prints what it would drop and build anew. With `--yes` it does so, into NEW or else
//! DIR.repaired, and leaves DIR as it is.
//!
//! An encrypted one needs `--features encryption` and, in front of `DIR`, `--key FILE`, whatever is
//! asked. What is repaired of it is encrypted, too, and opens with that key.
//!
//! Nothing else may have the database open. Keys are decoded by the kind that is
//! stored with the table; values of tables are shown as text where they are, else in hex, for
//! bincode does not say what it holds.

mod check;
mod json;

use std::error::Error;
use std::io::{BufWriter, ErrorKind, Write};
use std::process::ExitCode;

use edge_db::{Db, DbBuilder, Log, NameKind};
use json::{bytes, key, string};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (key, arguments) = match arguments.as_slice() {
        ["--key", file, rest @ ..] => (Some(*file), rest),
        all => (None, all),
    };
    let done = |()| ExitCode::SUCCESS;
    let result = match arguments {
        ["--help", ..] | [] => usage(),
        [dir] => open(dir, key).and_then(|db| overview(&db)).map(done),
        [dir, "verify"] => builder(key).and_then(|builder| check::verify(builder, dir)),
        [dir, "repair", options @ ..] => repair(dir, key, options),
        [dir, name] | [dir, "--dump", name] => {
            open(dir, key).and_then(|db| dump(&db, name)).map(done)
        }
        _ => usage(),
    };
    match result {
        Ok(code) => code,
        // Whoever reads has seen enough.
        Err(error) if is_broken_pipe(&*error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("inspect: {}", chain(&*error));
            ExitCode::FAILURE
        }
    }
}

fn usage() -> Result<ExitCode, Box<dyn Error>> {
    println!(
        "usage: inspect [--key FILE] DIR [NAME | --dump NAME]\n       inspect [--key FILE] DIR verify\n       inspect [--key FILE] DIR repair [--into NEW] [--yes]"
    );
    Ok(ExitCode::from(2))
}

fn repair(dir: &str, key: Option<&str>, options: &[&str]) -> Result<ExitCode, Box<dyn Error>> {
    let usual = format!("{}.repaired", dir.trim_end_matches('/'));
    let (into, agreed) = match options {
        [] => (usual.as_str(), false),
        ["--yes"] => (usual.as_str(), true),
        ["--into", new] => (*new, false),
        ["--into", new, "--yes"] | ["--yes", "--into", new] => (*new, true),
        _ => return usage(),
    };
    check::repair(builder(key)?, dir, into, agreed)
}

fn open(dir: &str, key: Option<&str>) -> Result<Db, Box<dyn Error>> {
    // Opening would create one.
    if !std::path::Path::new(dir).join("data.pages").exists() {
        return Err(format!("{dir} is no database folder: it has no data.pages").into());
    }
    Ok(builder(key)?.open(dir)?)
}

fn builder(key: Option<&str>) -> Result<DbBuilder, Box<dyn Error>> {
    key.map_or_else(|| Ok(Db::builder()), with_key)
}

#[cfg(feature = "encryption")]
fn with_key(file: &str) -> Result<DbBuilder, Box<dyn Error>> {
    Ok(Db::builder().encryption_key(edge_db::EncryptionKey::from_file(file)?))
}

#[cfg(not(feature = "encryption"))]
fn with_key(_: &str) -> Result<DbBuilder, Box<dyn Error>> {
    Err("--key takes the cargo feature `encryption`".into())
}

fn overview(db: &Db) -> Result<(), Box<dyn Error>> {
    let mut out = BufWriter::new(std::io::stdout());
    let stats = db.stats();
    writeln!(
        out,
        "revision {}, data {} KB, journal {} KB, not settled {} KB",
        db.revision(),
        stats.file_bytes / 1024,
        stats.journal_bytes / 1024,
        stats.memory_bytes / 1024
    )?;
    writeln!(out, "\n{:<32} {:<24} {:>12} {:>14}  first .. last", "name", "kind", "rows", "bytes")?;
    for (name, kind) in db.names() {
        match kind {
            NameKind::Log => log_line(&mut out, &db.log(&name)?)?,
            NameKind::Index { table, key, is_unique } => {
                let unique = if is_unique { "unique index" } else { "index" };
                writeln!(out, "{name:<32} {unique} of {table} by {key}")?;
            }
            NameKind::Table { key } => rows_line(&mut out, db, &name, &key)?,
            _ => rows_line(&mut out, db, &name, "")?,
        }
    }
    Ok(out.flush()?)
}

fn rows_line(out: &mut impl Write, db: &Db, name: &str, kind: &str) -> Result<(), Box<dyn Error>> {
    let (mut rows, mut size) = (0u64, 0);
    let (mut first, mut last) = (None, None);
    for row in db.raw_rows(name)? {
        let row = row?;
        rows += 1;
        size += row.key().len() + row.value()?.len();
        first.get_or_insert_with(|| row.key().clone());
        last = Some(row.key().clone());
    }
    let show =
        |found: Option<_>| found.map_or(String::new(), |found: bytes::Bytes| key(kind, &found));
    let what = if kind.is_empty() { "keyspace".to_owned() } else { format!("table by {kind}") };
    let (first, last) = (show(first), show(last));
    Ok(writeln!(out, "{name:<32} {what:<24} {rows:>12} {size:>14}  {first} .. {last}")?)
}

fn log_line(out: &mut impl Write, log: &Log) -> Result<(), Box<dyn Error>> {
    let state = log.state()?;
    let rows = state.next.since(state.first);
    let (name, size, next) = (log.name(), state.bytes, state.next);
    writeln!(out, "{name:<32} {:<24} {rows:>12} {size:>14}  {} .. {next}", "log", state.first)?;
    for (cursor, at) in log.cursors()? {
        writeln!(out, "  cursor {cursor:<23} at {at}, {} behind", next.since(at))?;
    }
    Ok(())
}

fn dump(db: &Db, name: &str) -> Result<(), Box<dyn Error>> {
    let mut out = BufWriter::new(std::io::stdout());
    let kind = db.names().into_iter().find(|(found, _)| found == name).map(|(_, kind)| kind);
    match kind {
        Some(NameKind::Log) => dump_log(&mut out, &db.log(name)?)?,
        Some(NameKind::Table { key }) => dump_rows(&mut out, db, name, &key)?,
        Some(NameKind::Keyspace) => dump_rows(&mut out, db, name, "")?,
        _ => return Err(format!("there is no table, keyspace or log `{name}`").into()),
    }
    Ok(out.flush()?)
}

fn dump_rows(out: &mut impl Write, db: &Db, name: &str, kind: &str) -> Result<(), Box<dyn Error>> {
    for row in db.raw_rows(name)? {
        let row = row?;
        let (key, value, version) = (key(kind, row.key()), bytes(row.value()?), row.version()?);
        writeln!(out, r#"{{"key":{key},"version":{version},"value":{value}}}"#)?;
    }
    Ok(())
}

fn dump_log(out: &mut impl Write, log: &Log) -> Result<(), Box<dyn Error>> {
    let mut position = log.bounds()?.start;
    loop {
        let records = log.read(position, 1000)?;
        if records.is_empty() {
            return Ok(());
        }
        position = records.next();
        for record in records {
            let headers =
                record.headers().map(|(name, value)| format!("{}:{}", string(name), bytes(&value)));
            let headers = headers.collect::<Vec<_>>().join(",");
            let (seq, time) = (record.seq(), record.time().micros());
            let (key, value) = (bytes(record.key()), bytes(record.value()));
            writeln!(
                out,
                r#"{{"seq":{seq},"time_us":{time},"key":{key},"headers":{{{headers}}},"value":{value}}}"#
            )?;
        }
    }
}

fn is_broken_pipe(error: &(dyn Error + 'static)) -> bool {
    let error = error.downcast_ref::<std::io::Error>();
    error.is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

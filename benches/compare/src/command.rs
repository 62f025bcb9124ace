//! Which comparison the command line asks for.

use std::process::ExitCode;

use lexopt::Arg::{Long, Short, Value};

use crate::{Result, db, mq, stream};

/// Runs with the rest of the command line.
type Subcommand = fn(lexopt::Parser) -> ExitCode;

const HELP: &str = "\
edge-db, edge-mq and edge-stream side by side with their peers.

Usage: edge-compare db [OPTIONS]      edge-db against other embedded stores and the disk itself
       edge-compare mq [OPTIONS]      edge-mq against other MQTT brokers
       edge-compare stream [OPTIONS]  edge-stream against batch and streaming engines

Each has a --help of its own.";

/// Runs the subcommand that the command line names.
///
/// Ends with 0 when all went well, with 1 when a floor does not hold or the comparison
/// could not be made, with 2 when the command line is wrong.
#[must_use]
pub fn main() -> ExitCode {
    let mut parser = lexopt::Parser::from_env();
    match subcommand(&mut parser) {
        Ok(Some(run)) => run(parser),
        Ok(None) => {
            println!("{HELP}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("edge-compare: {error} (see --help)");
            ExitCode::from(2)
        }
    }
}

/// The subcommand; none when help is asked for.
fn subcommand(parser: &mut lexopt::Parser) -> Result<Option<Subcommand>> {
    match parser.next()? {
        Some(Value(name)) if name == "db" => Ok(Some(db::main)),
        Some(Value(name)) if name == "mq" => Ok(Some(mq::main)),
        Some(Value(name)) if name == "stream" => Ok(Some(stream::main)),
        // What the comparisons start themselves; not in the help.
        Some(Value(name)) if name == db::CHILD => Ok(Some(db::child)),
        Some(Value(name)) if name == mq::SERVE => Ok(Some(mq::serve)),
        Some(Value(name)) if name == stream::STREAM_CHILD => Ok(Some(stream::child)),
        Some(Long("help") | Short('h')) => Ok(None),
        Some(other) => Err(other.unexpected().into()),
        None => Err("which comparison? `db`, `mq` or `stream`".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_or_missing_subcommands_are_refused() {
        let asked = |arguments: &[&str]| {
            subcommand(&mut lexopt::Parser::from_args(arguments)).map(|found| found.is_some())
        };
        assert!(asked(&["db", "--quick"]).unwrap());
        assert!(asked(&["mq"]).unwrap());
        assert!(asked(&["stream", "--quick"]).unwrap());
        assert!(!asked(&["--help"]).unwrap());
        assert!(asked(&["store"]).is_err());
        assert!(asked(&[]).is_err());
    }
}

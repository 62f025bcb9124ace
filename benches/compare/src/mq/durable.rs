//! What a durable edge-mq keeps, and whether it has all that it acknowledged.

use std::path::Path;

use edge_db::{Db, Log, LogOptions, Seq};

use super::generator::packet::{Codec, Message};
use super::traffic::codec;
use crate::Result;

/// The topics whose messages are stored before they are acknowledged: those of all loads.
pub(super) const JOURNALED: &str = "load/#";
/// Where they are stored.
pub(super) const LOG: &str = "load";

/// More than any run publishes: a full Log would refuse messages.
const LOG_BYTES: u64 = 8 << 30;
/// Records that are read at once.
const READ_RECORDS: usize = 1_000;

/// Opens the database of a broker with this folder, and the Log of its messages.
pub(super) fn open_log(dir: &Path) -> Result<(Db, Log)> {
    let db = Db::open(dir.join("db"))?;
    let log = db.log_with(LOG, LogOptions::new().max_bytes(LOG_BYTES))?;
    Ok((db, log))
}

/// Looks for the messages of each publisher that were acknowledged, in what a killed broker left:
/// each must be there once, in order, and what was not acknowledged may be there behind them.
pub(super) fn check_log(dir: &Path, acknowledged: &[u64]) -> Result<()> {
    let (_db, log) = open_log(dir)?;
    let codec = codec();
    let mut next = vec![0; acknowledged.len()];
    let mut position = Seq::new(0);
    loop {
        let records = log.read(position, READ_RECORDS)?;
        if records.is_empty() {
            break;
        }
        position = records.next();
        for record in records.iter() {
            check_record(&codec, record.value(), &mut next)?;
        }
    }
    for (publisher, (acknowledged, next)) in acknowledged.iter().zip(&next).enumerate() {
        if next < acknowledged {
            let why = format!(
                "publisher {publisher}: {acknowledged} were acknowledged, {next} are in the Log"
            );
            return Err(why.into());
        }
    }
    Ok(())
}

fn check_record(codec: &Codec, payload: &[u8], next: &mut [u64]) -> Result<()> {
    let message = codec.message(payload).ok_or("a foreign message in the Log")?;
    let Message { publisher, number, .. } = message;
    let next = next.get_mut(publisher).ok_or("a message of a foreign publisher in the Log")?;
    if number != *next {
        return Err(format!("publisher {publisher}: {number} in the Log instead of {next}").into());
    }
    *next += 1;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use edge_db::Entry;

    use super::*;

    /// What is wrong with a Log of these messages; nothing if that is nothing.
    fn fault(stored: &[(usize, u64)], acknowledged: &[u64]) -> String {
        let dir = tempfile::tempdir().unwrap();
        let (db, log) = open_log(dir.path()).unwrap();
        for (publisher, number) in stored {
            let message = Message { publisher: *publisher, number: *number, time: 0 };
            log.append(Entry::new(codec().payload(message))).unwrap();
        }
        db.shutdown(Duration::from_secs(60)).unwrap();
        check_log(dir.path(), acknowledged).err().map_or_else(String::new, |why| why.to_string())
    }

    #[test]
    fn log_holds_what_was_acknowledged_once_and_in_order() {
        // The last one of each was on its way.
        assert_eq!(fault(&[(0, 0), (1, 0), (0, 1), (1, 1)], &[1, 1]), "");
        assert_eq!(fault(&[(0, 0), (0, 2)], &[1]), "publisher 0: 2 in the Log instead of 1");
        assert_eq!(fault(&[(0, 0), (0, 0)], &[1]), "publisher 0: 0 in the Log instead of 1");
        let lost = "publisher 1: 2 were acknowledged, 1 are in the Log";
        assert_eq!(fault(&[(0, 0), (1, 0)], &[1, 2]), lost);
        assert_eq!(fault(&[(1, 0)], &[0]), "a message of a foreign publisher in the Log");
    }
}

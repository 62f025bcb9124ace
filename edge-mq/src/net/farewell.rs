//! The last packets of a connection, and its end.

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::stream::Stream;
use crate::packet::{ConnAck, Packet, Properties, ReasonCode, Version};

/// How long a client may take to fetch the last packets of a connection that we close.
pub(super) const FAREWELL: Duration = Duration::from_secs(1);

/// What is read of a client that was sent away, and thrown away: what may be on its way, as far as the
/// system has usually room for it.
const MOST_UNREAD: usize = 512 * 1024;

/// Answers a CONNECT that is refused, without a word if that would be more than the client takes,
/// and closes.
pub(super) async fn refuse(
    mut stream: Stream,
    code: ReasonCode,
    version: Version,
    most_bytes: Option<usize>,
) {
    let ack = ConnAck { session_present: false, code, properties: Properties::new() };
    let mut bytes = BytesMut::new();
    Packet::ConnAck(ack).encode(version, &mut bytes);
    if most_bytes.is_some_and(|most| bytes.len() > most) {
        return;
    }
    let goodbye = timeout(FAREWELL, async move {
        stream.write_all(&bytes).await?;
        stream.flush().await?;
        close(&mut stream).await
    });
    // Whoever does not fetch it goes without.
    drop(goodbye.await);
}

/// Closes a connection so that what was written arrives: to close with unread bytes would make
/// the system throw away the other direction too. Of a client that goes on and on, it may.
pub(super) async fn close(stream: &mut Stream) -> io::Result<()> {
    stream.shutdown().await?;
    let mut unread = [0; 4096];
    for _ in 0..MOST_UNREAD / unread.len() {
        if stream.read(&mut unread).await? == 0 {
            break;
        }
    }
    Ok(())
}

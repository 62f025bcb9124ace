//! What a connection waits for: its socket, a part of its queue, a client that authenticates again.

use std::future::pending;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use tokio::io::AsyncReadExt;

use crate::access::{Denied, User};
use crate::net::input::Input;
use crate::net::login::Reauthentication;
use crate::net::stream::Stream;
use crate::net::writer::Writer;
use crate::packet::Packet;
use crate::store::{Page, PageFuture, Refused};

/// How a client fared that authenticates again: what it is told, and who it is once that is known.
pub(super) type Stepped = Result<(Packet, Option<User>), Denied>;

/// What a socket did.
pub(super) enum Moved {
    Written,
    Read(usize),
}

/// The end of a reading; never, while nothing is read.
pub(super) fn poll_page(
    reading: &mut Option<PageFuture>,
    context: &mut Context<'_>,
) -> Poll<Box<Result<Page, Refused>>> {
    match reading {
        // In a box, as an idle connection shall keep no room for it.
        Some(reading) => reading.as_mut().poll(context).map(Box::new),
        None => Poll::Pending,
    }
}

/// What a client that authenticates again has come to; never, for any other.
pub(super) async fn step(again: &mut Option<Box<Reauthentication>>) -> Box<Stepped> {
    match again {
        // In a box, as nearly no connection ever keeps room for it.
        Some(again) => Box::new(again.step().await),
        None => pending().await,
    }
}

/// Writes, or else reads: first what is owed, then what is new. Never ready if neither is wanted.
pub(super) fn poll_move(
    stream: &mut Stream,
    writer: &mut Writer,
    input: Option<&mut Input>,
    context: &mut Context<'_>,
) -> Poll<io::Result<Moved>> {
    if !writer.is_empty()
        && let Poll::Ready(written) = writer.poll_write(Pin::new(stream), context)
    {
        return Poll::Ready(written.map(|()| Moved::Written));
    }
    let Some(input) = input else { return Poll::Pending };
    if stream.poll_readable(context)?.is_pending() {
        // An idle connection keeps little.
        input.rest();
        writer.rest();
        return Poll::Pending;
    }
    pin!(stream.read_buf(input.room())).poll(context).map_ok(Moved::Read)
}

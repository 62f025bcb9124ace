//! Encoded packets on their way into one socket, many with one system call.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::AsyncWrite;

use crate::packet::Version;
use crate::session::{Outbound, OutboundPublish};

/// Up to here a payload is copied in among the other packets; beyond, it is handed to the system
/// from where it lies. A slice of its own costs about as much as copying this.
const COPY_BYTES: usize = 2048;

/// Slices of one system call. Linux takes up to 1024.
const SLICES: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Writer {
    /// In front of `tail`: large payloads, and what was encoded before them.
    chunks: VecDeque<Bytes>,
    tail: BytesMut,
    len: usize,
    /// Whether a layer below may hold on to what it took.
    is_flushing: bool,
}

impl Writer {
    /// Bytes that are not written yet.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Nothing is to be written: keeps no memory for what may.
    pub(super) fn rest(&mut self) {
        if self.is_empty() {
            (self.chunks, self.tail) = (VecDeque::new(), BytesMut::new());
        }
    }

    /// Whether all has left.
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0 && !self.is_flushing
    }

    pub(super) fn push(&mut self, outbound: &Outbound, version: Version) {
        let before = self.tail.len();
        match outbound {
            Outbound::Packet(packet) => packet.encode(version, &mut self.tail),
            Outbound::Publish(publish) => return self.push_publish(publish, version),
        }
        self.len += self.tail.len() - before;
    }

    fn push_publish(&mut self, publish: &OutboundPublish, version: Version) {
        let before = self.tail.len();
        let payload = publish.routed.message.payload();
        publish.head().encode(version, payload.len(), &mut self.tail);
        if payload.len() <= COPY_BYTES {
            self.tail.extend_from_slice(payload);
            self.len += self.tail.len() - before;
        } else {
            self.len += self.tail.len() - before + payload.len();
            self.chunks.push_back(self.tail.split().freeze());
            self.chunks.push_back(payload.clone());
        }
    }

    /// Writes what the socket takes; ready once it took something, or all has left.
    pub(super) fn poll_write(
        &mut self,
        mut socket: Pin<&mut impl AsyncWrite>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if self.len == 0 {
            ready!(socket.poll_flush(context))?;
            self.is_flushing = false;
            return Poll::Ready(Ok(()));
        }
        let mut slices = [IoSlice::new(&[]); SLICES];
        let mut used = 0;
        let chunks = self.chunks.iter().map(|chunk| &chunk[..]).take(SLICES - 1);
        // The tail comes last, so only when all chunks are in.
        let tail = (self.chunks.len() < SLICES).then_some(&self.tail[..]);
        for (slice, bytes) in slices.iter_mut().zip(chunks.chain(tail)) {
            *slice = IoSlice::new(bytes);
            used += 1;
        }
        match ready!(socket.as_mut().poll_write_vectored(context, &slices[..used]))? {
            0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            written => self.advance(written),
        }
        if self.len == 0 {
            // A plain socket has nothing to flush, so this is all for it.
            self.is_flushing = socket.poll_flush(context)?.is_pending();
        }
        Poll::Ready(Ok(()))
    }

    fn advance(&mut self, written: usize) {
        self.len -= written;
        let mut left = written;
        while let Some(chunk) = self.chunks.front_mut() {
            if left < chunk.len() {
                return chunk.advance(left);
            }
            left -= chunk.len();
            self.chunks.pop_front();
        }
        self.tail.advance(left);
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;
    use crate::packet::Packet;

    /// A layer that takes all at once, and lets go of it when it is flushed for the second time.
    #[derive(Default)]
    struct Layer {
        held: Vec<u8>,
        flushes: usize,
        left: Vec<u8>,
    }

    impl AsyncWrite for Layer {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.held.extend_from_slice(bytes);
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.flushes += 1;
            if self.flushes < 2 {
                return Poll::Pending;
            }
            let held = std::mem::take(&mut self.held);
            self.left.extend(held);
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn what_a_layer_holds_on_to_is_flushed_before_all_has_left() {
        let (mut writer, mut layer) = (Writer::default(), Layer::default());
        let mut context = Context::from_waker(Waker::noop());
        writer.push(&Outbound::Packet(Packet::PingResp), Version::V5);
        assert!(writer.poll_write(Pin::new(&mut layer), &mut context).is_ready());
        assert_eq!((writer.len(), writer.is_empty()), (0, false));
        assert!(layer.left.is_empty());
        assert!(writer.poll_write(Pin::new(&mut layer), &mut context).is_ready());
        assert!(writer.is_empty());
        assert_eq!(layer.left, [0xD0, 0]);
    }
}

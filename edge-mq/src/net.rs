//! The listeners: one task that accepts, keeps count of connections, and tells the hub the time.

#![allow(clippy::disallowed_methods, reason = "a shell: it brings the hub the time")]

mod connection;
mod input;
mod login;
mod writer;

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::shared::Shared;

/// How often delayed wills and the end of sessions are looked at; both count in whole seconds.
const TICK: Duration = Duration::from_secs(1);

/// How long accepting rests after it failed, most likely for want of file descriptors: trying at
/// once would only burn the processor until some connection ends.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// From one unanswered probe of TCP to the next; Linux gives up after nine.
const PROBE_INTERVAL: Duration = Duration::from_secs(20);

/// Serves what comes in through `listeners`, and these may still come, until `stop` says so, then
/// until the last connection and the last commit are through.
/// Dropping the future cuts all connections.
pub(crate) async fn serve(
    mut listeners: mpsc::Receiver<TcpListener>,
    shared: Arc<Shared>,
    mut stop: watch::Receiver<bool>,
) {
    let mut open = Vec::new();
    let mut tasks = JoinSet::new();
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !*stop.borrow_and_update() {
        tokio::select! {
            stream = accept(&open) => admit(stream, &shared, stop.clone(), &mut tasks),
            Some(listener) = listeners.recv() => open.push(listener),
            Some(_) = tasks.join_next(), if !tasks.is_empty() => {}
            _ = ticks.tick() => drop(shared.decide(|hub, now, fx| hub.tick(now, fx))),
            // The sender is gone when the broker was dropped, and then so is this task.
            _ = stop.changed() => {}
        }
    }
    drop((open, listeners));
    while tasks.join_next().await.is_some() {}
    let mut uncommitted = shared.uncommitted();
    // The sender is in `shared`, so there is no error to wait for.
    drop(uncommitted.wait_for(|count| *count == 0).await);
}

/// The next connection; never, without a listener.
async fn accept(listeners: &[TcpListener]) -> TcpStream {
    loop {
        match poll_fn(|context| poll_accept(listeners, context)).await {
            Ok(stream) => return stream,
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

fn poll_accept(
    listeners: &[TcpListener],
    context: &mut Context<'_>,
) -> Poll<std::io::Result<TcpStream>> {
    for listener in listeners {
        if let Poll::Ready(accepted) = listener.poll_accept(context) {
            return Poll::Ready(accepted.map(|(stream, _)| stream));
        }
    }
    Poll::Pending
}

fn admit(
    stream: TcpStream,
    shared: &Arc<Shared>,
    stop: watch::Receiver<bool>,
    tasks: &mut JoinSet<()>,
) {
    if tasks.len() >= shared.limits.connections {
        shared.hub(|hub| hub.stats_mut().refused_connections += 1);
        return;
    }
    // Acknowledgements are small and somebody waits for them. A socket that refuses is slower.
    drop(stream.set_nodelay(true));
    drop(probe(&stream, shared.limits.max_keep_alive));
    tasks.spawn(connection::run(stream, Arc::clone(shared), stop));
}

/// Has TCP ask whether the peer is still there when nothing has come for so long: a client of MQTT
/// 3.1.1 need not have a keep alive, and its machine may be gone without a word.
fn probe(stream: &TcpStream, after: Duration) -> std::io::Result<()> {
    let probes = TcpKeepalive::new().with_time(after).with_interval(PROBE_INTERVAL);
    SockRef::from(stream).set_tcp_keepalive(&probes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn peer_that_may_be_gone_is_probed() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        assert!(!SockRef::from(&stream).keepalive().unwrap());
        probe(&stream, Duration::from_secs(100)).unwrap();
        assert!(SockRef::from(&stream).keepalive().unwrap());
    }
}

//! The listeners: one task that accepts, keeps count of connections, and tells the hub the time.

#![allow(clippy::disallowed_methods, reason = "a shell: it brings the hub the time")]

mod bound;
mod connection;
mod end;
mod entry;
mod farewell;
mod guest;
mod input;
mod login;
mod opening;
mod proxy;
mod stream;
#[cfg(feature = "ws")]
mod websocket;
mod writer;

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

pub(crate) use bound::Bound;
use entry::Entry;
use socket2::{SockRef, TcpKeepalive};
use stream::Socket;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::access::{Guard, GuardId};
use crate::crowd::Refusal;
use crate::events;
use crate::limits::MAX_PACKET_BYTES;
use crate::listener::{Layers, Listener};
use crate::shared::Shared;

/// How often delayed wills and the end of sessions are looked at; both count in whole seconds.
const TICK: Duration = Duration::from_secs(1);

/// How long accepting rests after it failed, most likely for want of file descriptors: trying at
/// once would only burn the processor until some connection ends.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// After a connection that was closed without a word: so a storm at the door takes little time from
/// those who are in. Who comes meanwhile waits in the system for its turn.
const REFUSAL_PAUSE: Duration = Duration::from_millis(1);

/// From one unanswered probe of TCP to the next; Linux gives up after nine.
const PROBE_INTERVAL: Duration = Duration::from_secs(20);

/// What is asked of the task that accepts.
#[derive(Debug)]
pub(crate) enum Change {
    Open(Bound, Arc<Way>),
    /// Answered once the listener is closed.
    Close(Arc<Way>, oneshot::Sender<()>),
}

/// What holds for all who come in by one listener.
#[derive(Debug)]
pub(crate) struct Way {
    layers: Layers,
    packet_bytes: usize,
    connect_within: Duration,
    pub(crate) guard: Arc<Guard>,
    /// One for each connection that it takes.
    room: Arc<Semaphore>,
}

impl Way {
    /// The guard gets this name if it is the listener's own.
    pub(crate) fn new(listener: Listener, guard: GuardId, shared: &Shared) -> Way {
        let own = listener.auth.map(|auth| Arc::new(Guard::new(guard, Some(auth))));
        let packet_bytes = listener.packet_bytes.unwrap_or(shared.limits.packet_bytes);
        let connections = listener.connections.unwrap_or(shared.limits.connections);
        Way {
            layers: listener.layers,
            packet_bytes: packet_bytes.min(MAX_PACKET_BYTES),
            connect_within: listener.connect_within.unwrap_or(shared.limits.connect_within),
            guard: own.unwrap_or_else(|| Arc::clone(&shared.guard)),
            room: Arc::new(Semaphore::new(connections.min(Semaphore::MAX_PERMITS))),
        }
    }
}

/// A connection that was accepted, where it comes from if that has an address, and its listener.
type Accepted = (Socket, Option<SocketAddr>, Arc<Way>);

/// A connection that there is room for; nothing was read of it yet.
struct Arrival {
    socket: Socket,
    address: Option<SocketAddr>,
    way: Arc<Way>,
    room: OwnedSemaphorePermit,
    /// `None` if a proxy has to say first where it comes from.
    entry: Option<Result<Entry, Refusal>>,
}

/// Serves what comes in through listeners, and these may still come, until `stop` says so, then
/// until the last connection and the last commit are through. Dropping the future cuts all
/// connections.
pub(crate) async fn serve(
    mut changes: mpsc::Receiver<Change>,
    shared: Arc<Shared>,
    mut stop: watch::Receiver<bool>,
) {
    let mut open = Vec::new();
    let mut tasks = JoinSet::new();
    let mut ticks = interval(TICK);
    let mut pause = None;
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !*stop.borrow_and_update() {
        tokio::select! {
            accepted = accept(&mut open, pause) => {
                let is_admitted = admit(accepted, &shared, stop.clone(), &mut tasks);
                pause = (!is_admitted).then_some(REFUSAL_PAUSE);
            }
            Some(change) = changes.recv() => make(change, &mut open),
            Some(_) = tasks.join_next(), if !tasks.is_empty() => {}
            _ = ticks.tick() => drop(shared.decide(|hub, now, fx| hub.tick(now, fx))),
            // The sender is gone when the broker was dropped, and then so is this task.
            _ = stop.changed() => {}
        }
    }
    drop((open, changes));
    while tasks.join_next().await.is_some() {}
    let mut uncommitted = shared.uncommitted();
    // The sender is in `shared`, so there is no error to wait for.
    drop(uncommitted.wait_for(|count| *count == 0).await);
}

fn make(change: Change, open: &mut Vec<(Bound, Arc<Way>)>) {
    match change {
        Change::Open(bound, way) => open.push((bound, way)),
        Change::Close(way, done) => {
            open.retain(|(_, found)| !Arc::ptr_eq(found, &way));
            // Who does not wait for it needs no answer.
            done.send(()).ok();
        }
    }
}

/// The next connection, after a pause; never, without a listener.
async fn accept(open: &mut [(Bound, Arc<Way>)], pause: Option<Duration>) -> Accepted {
    if let Some(pause) = pause {
        tokio::time::sleep(pause).await;
    }
    loop {
        match poll_fn(|context| poll_accept(open, context)).await {
            Ok(accepted) => return accepted,
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

fn poll_accept(
    open: &mut [(Bound, Arc<Way>)],
    context: &mut Context<'_>,
) -> Poll<io::Result<Accepted>> {
    for at in 0..open.len() {
        let (bound, way) = &open[at];
        if let Poll::Ready(accepted) = bound.poll_accept(context) {
            let way = Arc::clone(way);
            // The others first next time, so that a flood at one listener closes no other.
            open.rotate_left(at + 1);
            return Poll::Ready(accepted.map(|(socket, address)| (socket, address, way)));
        }
    }
    Poll::Pending
}

/// Has a connection served, or closes it without a word. Returns whether it is served.
fn admit(
    (socket, address, way): Accepted,
    shared: &Arc<Shared>,
    stop: watch::Receiver<bool>,
    tasks: &mut JoinSet<()>,
) -> bool {
    let has_room = tasks.len() < shared.limits.connections;
    let room = has_room.then(|| Arc::clone(&way.room).try_acquire_owned());
    let Some(Ok(room)) = room else {
        shared.hub(|hub| hub.stats_mut().refused_connections += 1);
        events::refused(address, &"too many connections");
        return false;
    };
    // Who is refused without a word costs no task.
    let entry = (!way.layers.has_proxy).then(|| Entry::of(address, shared));
    if let Some(Err(Refusal { is_told: false, code })) = entry {
        events::refused(address, &code);
        if let Socket::Tcp(stream) = &socket {
            // By a reset: half the packets, and nothing that the system has to remember.
            drop(SockRef::from(stream).set_linger(Some(Duration::ZERO)));
        }
        return false;
    }
    match &socket {
        // A socket that refuses is noticed later to be dead.
        Socket::Tcp(stream) => drop(probe(stream, shared.limits.max_keep_alive)),
        #[cfg(unix)]
        Socket::Unix(_) => {}
    }
    let arrival = Arrival { socket, address, way, room, entry };
    tasks.spawn(connection::run(arrival, Arc::clone(shared), stop));
    true
}

/// Has TCP ask whether the peer is still there when nothing has come for so long: a client of MQTT
/// 3.1.1 need not have a keep alive, and its machine may be gone without a word.
fn probe(stream: &TcpStream, after: Duration) -> io::Result<()> {
    let probes = TcpKeepalive::new().with_time(after).with_interval(PROBE_INTERVAL);
    SockRef::from(stream).set_tcp_keepalive(&probes)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

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

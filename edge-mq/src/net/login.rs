//! Who a client is: [`Auth`](crate::access::Auth) says it, in one step, or in several for clients
//! that name a method (MQTT 5.0 section 4.12).

use std::future::pending;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use super::Way;
use super::input::{Input, Lost};
use super::stream::Stream;
use crate::access::{Denied, Exchange, Guard, Login, Step, StepFuture, User};
use crate::packet::{Connect, Disconnect, Packet, Properties, Property, ReasonCode, Text, Version};

/// Why a client does not get in.
pub(super) enum Failed {
    /// CONNACK says so.
    Refused(ReasonCode),
    /// It went.
    Gone,
}

impl From<Denied> for Failed {
    fn from(denied: Denied) -> Failed {
        Failed::Refused(denied.reason())
    }
}

/// Finds out who sent this CONNECT. What its CONNACK has to say about that is in its properties
/// then.
pub(super) async fn log_in(
    stream: &mut Stream,
    input: &mut Input,
    guard: &Guard,
    connect: &mut Connect,
    login: Login,
) -> Result<User, Failed> {
    let Some(method) = method_of(&connect.properties).cloned() else {
        let password = connect.password.take();
        return Ok(guard.authenticate(Login { password, ..login }).await?);
    };
    let exchange = guard.exchange(method.as_str(), &login);
    let mut exchange = exchange.ok_or(Failed::Refused(ReasonCode::BAD_AUTHENTICATION_METHOD))?;
    let mut heard = data_of(&connect.properties);
    loop {
        match exchange.step(heard).await? {
            Step::Challenge { data, next } => {
                exchange = next;
                let packet = auth(ReasonCode::CONTINUE_AUTHENTICATION, &method, Some(data));
                say(stream, connect, &packet).await?;
                heard = hear(stream, input, &method).await?;
            }
            Step::Done { user, data } => {
                let mut properties = std::mem::take(&mut connect.properties);
                properties.retain(|p| !matches!(p, Property::AuthenticationData(_)));
                let answer = data.map(Property::AuthenticationData);
                connect.properties = properties.iter().cloned().chain(answer).collect();
                return Ok(user);
            }
        }
    }
}

async fn say(stream: &mut Stream, connect: &Connect, packet: &Packet) -> Result<(), Failed> {
    let mut bytes = BytesMut::new();
    packet.encode(Version::V5, &mut bytes);
    if connect.most_bytes().is_some_and(|most| bytes.len() > most) {
        return Err(Failed::Refused(ReasonCode::PACKET_TOO_LARGE));
    }
    stream.write_all(&bytes).await.map_err(|_| Failed::Gone)?;
    stream.flush().await.map_err(|_| Failed::Gone)
}

/// The client's answer; until its CONNACK it may send nothing else (MQTT-3.1.2-30).
async fn hear(
    stream: &mut Stream,
    input: &mut Input,
    method: &Text,
) -> Result<Option<Bytes>, Failed> {
    match input.packet(stream).await {
        Ok(Packet::Auth(auth))
            if auth.code == ReasonCode::CONTINUE_AUTHENTICATION
                && method_of(&auth.properties) == Some(method) =>
        {
            Ok(data_of(&auth.properties))
        }
        Ok(Packet::Disconnect(_)) | Err(Lost::Gone) => Err(Failed::Gone),
        Ok(_) => Err(Failed::Refused(ReasonCode::PROTOCOL_ERROR)),
        Err(Lost::Decode(_)) => Err(Failed::Refused(ReasonCode::MALFORMED_PACKET)),
    }
}

fn method_of(properties: &Properties) -> Option<&Text> {
    properties.find(|property| match property {
        Property::AuthenticationMethod(method) => Some(method),
        _ => None,
    })
}

fn data_of(properties: &Properties) -> Option<Bytes> {
    properties.find(|property| match property {
        Property::AuthenticationData(data) => Some(data.clone()),
        _ => None,
    })
}

fn auth(code: ReasonCode, method: &Text, data: Option<Bytes>) -> Packet {
    let method = Property::AuthenticationMethod(method.clone());
    let properties = [Some(method), data.map(Property::AuthenticationData)];
    Packet::Auth(Disconnect { code, properties: properties.into_iter().flatten().collect() })
}

/// A client that named a method authenticates again, beside all else that it does.
pub(super) struct Reauthentication {
    method: Text,
    login: Login,
    /// By which it came in: the one who let it in is asked again.
    way: Arc<Way>,
    state: State,
}

enum State {
    Idle,
    /// For the client's answer.
    Waiting(Box<dyn Exchange>),
    Stepping(StepFuture),
}

impl Reauthentication {
    /// `None` for a client that named no method.
    pub(super) fn of(
        connect: &Connect,
        login: &Login,
        way: &Arc<Way>,
    ) -> Option<Box<Reauthentication>> {
        let method = method_of(&connect.properties)?.detached();
        let login = Login {
            client_id: login.client_id.detached(),
            username: login.username.as_ref().map(Text::detached),
            ..login.clone()
        };
        let way = Arc::clone(way);
        Some(Box::new(Reauthentication { method, login, way, state: State::Idle }))
    }

    /// The client sent AUTH.
    pub(super) fn hear(&mut self, auth: &Disconnect) -> Result<(), ReasonCode> {
        if method_of(&auth.properties) != Some(&self.method) {
            return Err(ReasonCode::PROTOCOL_ERROR);
        }
        let exchange = match std::mem::replace(&mut self.state, State::Idle) {
            State::Idle if auth.code == ReasonCode::REAUTHENTICATE => {
                let exchange = self.way.guard.exchange(self.method.as_str(), &self.login);
                exchange.ok_or(ReasonCode::NOT_AUTHORIZED)?
            }
            State::Waiting(exchange) if auth.code == ReasonCode::CONTINUE_AUTHENTICATION => {
                exchange
            }
            _ => return Err(ReasonCode::PROTOCOL_ERROR),
        };
        let data = data_of(&auth.properties).map(|data| Bytes::copy_from_slice(&data));
        let step = timeout(self.way.connect_within, exchange.step(data));
        self.state =
            State::Stepping(Box::pin(async { step.await.unwrap_or(Err(Denied::Unavailable)) }));
        Ok(())
    }

    /// What a step led to: an AUTH for the client, and who it is once that is known. Never, while
    /// there is nothing to wait for.
    ///
    /// # Cancel safety
    /// Nothing is lost when this is dropped and called again.
    pub(super) async fn step(&mut self) -> Result<(Packet, Option<User>), Denied> {
        let State::Stepping(step) = &mut self.state else { return pending().await };
        let stepped = step.await;
        self.state = State::Idle;
        match stepped? {
            Step::Challenge { data, next } => {
                self.state = State::Waiting(next);
                let packet = auth(ReasonCode::CONTINUE_AUTHENTICATION, &self.method, Some(data));
                Ok((packet, None))
            }
            Step::Done { user, .. } if !self.way.guard.may_stay(&user) => {
                Err(Denied::NotAuthorized)
            }
            Step::Done { user, data } => {
                Ok((auth(ReasonCode::SUCCESS, &self.method, data), Some(user)))
            }
        }
    }
}

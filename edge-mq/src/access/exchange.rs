//! Authentication in several steps: the enhanced authentication of MQTT 5.0 (section 4.12).

use std::fmt;
use std::pin::Pin;

use bytes::Bytes;

use super::{Denied, User};

/// What a step of an [`Exchange`] led to, later.
pub type StepFuture = Pin<Box<dyn Future<Output = Result<Step, Denied>> + Send>>;

/// One client on its way through an authentication of several steps, such as SCRAM or Kerberos.
///
/// [`Auth::exchange`](super::Auth::exchange) begins it. The client may begin another one later on
/// the same connection, to authenticate again; it has to turn out to be the same user.
///
/// ```
/// use edge_mq::access::{Denied, Exchange, Step, StepFuture, User};
///
/// /// Lets in who knows what 1 and 2 are together.
/// #[derive(Debug)]
/// enum Sum {
///     Ask,
///     Check,
/// }
///
/// impl Exchange for Sum {
///     fn step(self: Box<Sum>, data: Option<bytes::Bytes>) -> StepFuture {
///         Box::pin(async move {
///             match (*self, data.as_deref()) {
///                 (Sum::Ask, _) => {
///                     Ok(Step::Challenge { data: "1+2".into(), next: Box::new(Sum::Check) })
///                 }
///                 (Sum::Check, Some(b"3")) => {
///                     Ok(Step::Done { user: User::anonymous(), data: None })
///                 }
///                 _ => Err(Denied::Credentials),
///             }
///         })
///     }
/// }
/// # let runtime = tokio::runtime::Runtime::new()?;
/// # let asked = runtime.block_on(Box::new(Sum::Ask).step(None))?;
/// # let Step::Challenge { next, .. } = asked else { panic!("{asked:?}") };
/// # runtime.block_on(next.step(Some("3".into())))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Exchange: fmt::Debug + Send {
    /// Takes what the client says next, which may be nothing: first the authentication data of its
    /// CONNECT, then that of each AUTH.
    ///
    /// It may take its time, up to [`Limits::connect_within`](crate::Limits::connect_within), or
    /// [`Listener::connect_within`](crate::Listener::connect_within) of the client's listener: until
    /// the CONNACK for all steps together with the answers of the client, later for each step. What
    /// the client says is no longer than [`Limits::packet_bytes`](crate::Limits::packet_bytes), or
    /// [`Listener::packet_bytes`](crate::Listener::packet_bytes), allows a packet to be; a challenge
    /// that is larger than the client takes ends it with CONNACK 0x95. Until it is in, it counts in
    /// [`Limits::connections`](crate::Limits::connections) and
    /// [`Listener::connections`](crate::Listener::connections), as it does later.
    fn step(self: Box<Self>, data: Option<Bytes>) -> StepFuture;
}

/// Where an [`Exchange`] stands.
#[derive(Debug)]
pub enum Step {
    /// The client has to answer this: AUTH 0x18.
    Challenge {
        /// The authentication data for the client.
        data: Bytes,
        /// Takes the answer.
        next: Box<dyn Exchange>,
    },
    /// It is known who the client is: CONNACK, or AUTH 0x00 if it was connected before.
    Done {
        /// Who it is.
        user: User,
        /// The last authentication data for the client, if the method has some.
        data: Option<Bytes>,
    },
}

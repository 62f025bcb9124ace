//! What the broker tells `tracing`, collected for a whole test process: tests run beside each other in
//! it, so each asks for its own, by thread or by a field.

use std::collections::BTreeMap;
use std::fmt::{Debug, Write};
use std::sync::{Mutex, Once};
use std::thread::{self, ThreadId};
use std::time::Duration;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, Registry};

static HEARD: Mutex<Vec<Heard>> = Mutex::new(Vec::new());

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Heard {
    pub(crate) level: Level,
    pub(crate) message: String,
    pub(crate) fields: BTreeMap<&'static str, String>,
    /// Of all spans around it.
    pub(crate) around: BTreeMap<&'static str, String>,
    thread: ThreadId,
}

impl Heard {
    pub(crate) fn field(&self, name: &str) -> &str {
        self.fields.get(name).unwrap_or_else(|| panic!("no `{name}` in {self:?}"))
    }
}

/// From here on everything is collected.
pub(crate) fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let collecting = Registry::default().with(Collecting);
        tracing::subscriber::set_global_default(collecting).unwrap();
    });
}

/// All of it by now.
pub(crate) fn all() -> Vec<Heard> {
    HEARD.lock().unwrap().clone()
}

/// Those with this message that the current thread, which is the own one of a test, told.
pub(crate) fn all_of(message: &str) -> Vec<Heard> {
    let is_it = |heard: &Heard| heard.message == message && heard.thread == thread::current().id();
    all().into_iter().filter(is_it).collect()
}

/// Waits until so many are told that `pick` picks, and gives the last.
pub(crate) async fn wait_for(count: usize, pick: impl Fn(&Heard) -> bool) -> Heard {
    let waiting = async {
        loop {
            let picked: Vec<_> = all().into_iter().filter(|heard| pick(heard)).collect();
            if picked.len() >= count {
                return picked[picked.len() - 1].clone();
            }
            tokio::task::yield_now().await;
        }
    };
    let heard = tokio::time::timeout(Duration::from_secs(60), waiting).await;
    heard.unwrap_or_else(|_| panic!("not told in all of {:#?}", all()))
}

struct Collecting;

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Collecting {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        context.span(id).unwrap().extensions_mut().insert(fields);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let span = context.span(id).unwrap();
        values.record(span.extensions_mut().get_mut::<Fields>().unwrap());
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        if event.metadata().target() != "edge_mq" {
            return;
        }
        let mut fields = Fields::default();
        event.record(&mut fields);
        let mut around = BTreeMap::new();
        for span in context.event_scope(event).into_iter().flatten() {
            around.extend(span.extensions().get::<Fields>().unwrap().0.clone());
        }
        let message = fields.0.remove("message").unwrap();
        let (level, thread) = (*event.metadata().level(), thread::current().id());
        let heard = Heard { level, message, fields: fields.0, around, thread };
        HEARD.lock().unwrap().push(heard);
    }
}

#[derive(Default)]
struct Fields(BTreeMap<&'static str, String>);

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let mut text = String::new();
        write!(text, "{value:?}").unwrap();
        self.0.insert(field.name(), text);
    }
}

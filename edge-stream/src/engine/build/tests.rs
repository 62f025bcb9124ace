//! Which checkpoints a power cut may lose.

use edge_db::{Db, Time};

use super::*;
use crate::db::job::Job;

const STREAMS: &str = "
    CREATE TABLE limits (device VARCHAR, high DOUBLE, PRIMARY KEY (device));
    CREATE STREAM readings (device VARCHAR, ts TIMESTAMP, temp DOUBLE, WATERMARK FOR ts)
    WITH (log = 'raw', format = 'json');
    CREATE STREAM doors (device VARCHAR, ts TIMESTAMP, WATERMARK FOR ts)
    WITH (log = 'doors', format = 'json');
    CREATE STREAM metrics (name VARCHAR, value DOUBLE)
    WITH (topic = 'spBv1.0/#', format = 'sparkplug_b')";

/// Whether the job of this sink says the same again, under the same numbers.
async fn repeats_itself(engine: &Engine, options: &str, query: &str) -> bool {
    engine.execute(&format!("CREATE SINK s WITH ({options}) AS {query}")).await.unwrap();
    let (spec, query) = {
        let objects = engine.inner.objects.lock();
        let sink = &objects.by_name["s"];
        (sink.spec.clone(), sink.what.query().unwrap().clone())
    };
    let pipeline = engine.planner(query)().await.unwrap();
    let job = Job::open(engine.inner.catalog.clone(), spec, Some(pipeline), Time::now()).unwrap();
    let repeats = job.repeats_itself();
    engine.execute("DROP SINK s").await.unwrap();
    repeats
}

#[tokio::test]
async fn only_what_says_the_same_again_need_not_be_on_disk_before_it_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::builder().db(&Db::open(dir.path()).unwrap()).start().await.unwrap();
    engine.execute(STREAMS).await.unwrap();
    let (topic, filter) = ("topic = 'hot'", "SELECT device, temp FROM readings WHERE temp > 80");
    let table = [
        (topic, filter, true),
        ("topic = 'hot/{device}', format = 'csv'", filter, true),
        // How many rows are in a message depends on how many were read at a time.
        ("topic = 'hot', format = 'arrow_ipc'", filter, false),
        ("log = 'hot'", filter, false),
        ("channel = 'hot'", filter, false),
        (
            topic,
            "SELECT device, lag(temp) OVER (PARTITION BY device ORDER BY ts) AS t FROM readings",
            false,
        ),
        (
            topic,
            "SELECT window_start, count(*) AS n FROM TUMBLE(readings, ts, INTERVAL '1 minute') \
             GROUP BY window_start",
            false,
        ),
        // The other table may have changed meanwhile.
        (topic, "SELECT r.device FROM readings r JOIN limits l ON r.device = l.device", false),
        // Which of two Logs is read first depends on when.
        (topic, "SELECT device FROM readings UNION ALL SELECT device FROM doors", false),
        // Names come from births that were read before.
        (topic, "SELECT name, value FROM metrics", false),
    ];
    for (options, query, expected) in table {
        assert_eq!(repeats_itself(&engine, options, query).await, expected, "{options}: {query}");
    }
}

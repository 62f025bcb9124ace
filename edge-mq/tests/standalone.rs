//! The example `broker` as a process: settings of a file, signals, what systemd is told, and clients
//! that we did not write. Its unit tests run here, too.

#![cfg(all(unix, feature = "db", feature = "passwords", feature = "tls", feature = "ws"))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#[path = "standalone/access.rs"]
mod access;
#[path = "support/authority.rs"]
mod authority;
#[allow(dead_code, reason = "its `main` is not called here")]
#[path = "../examples/broker/main.rs"]
mod broker;
#[path = "support/device.rs"]
mod device;
#[path = "standalone/log.rs"]
mod log;
#[path = "support/program.rs"]
mod program;

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use authority::Authority;
use device::{Options, Route, Seen, VERSIONS, Version};
use program::{Program, WORDS, run};

/// Not a test by itself: what the child does. Without the variable it has nothing to show.
#[test]
fn child_is_the_broker() {
    let Ok(words) = std::env::var(WORDS) else { return };
    let words: Vec<String> = words.lines().map(str::to_owned).collect();
    println!();
    std::process::exit(broker::run::run(&words).into());
}

/// A folder with a file of settings.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new(settings: &str) -> Folder {
        let folder = Folder(tempfile::tempdir().unwrap());
        folder.write("broker.toml", settings);
        folder
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn settings(&self) -> PathBuf {
        self.path("broker.toml")
    }
}

/// Lines of a password file as mosquitto_passwd 2.0 has written them, with the passwords `one` and
/// `two`.
const ANN: &str = "ann:$7$101$rsIm0FWkrWBNJsf7$PiRMXFF9DN7x6a21cx6l1jYJvhP+WAd/iQv2dGmjvvnhFsoH9fCQzxne4kVrvWfM49FJEuWrj2mYWk5YfI7Gog==\n";
const BOB: &str = "bob:$7$101$vpmVkcwdrupZ1phk$9H2aWmu4ueO9TKhO0MRJD94GVnh3+0QeRa9i022upYDgUS/8frTtyOaT6hKI+aadY+lcqdZGqcL7DafgiUyb1g==\n";

fn client(version: Version, user: &'static str, password: &'static str) -> Options {
    Options::new(version, user).user(user, password)
}

#[tokio::test(flavor = "multi_thread")]
async fn reference_serves_clients_and_stops_in_peace() {
    for signal in ["-TERM", "-INT"] {
        let folder = Folder::new(include_str!("../examples/broker/broker.toml"));
        let text = fs::read_to_string(folder.settings()).unwrap();
        folder.write("broker.toml", &text.replace("#port = 1883", "port = 0"));
        let mut program = Program::start(&folder.settings());
        let address = program.address();
        for version in VERSIONS {
            let mut device = Options::new(version, "device").connect(address).await;
            device.is_served().await;
        }
        program.signal(signal);
        let ended = program.end();
        assert_eq!(ended.code, Some(0));
        let stopped = "broker stopped connections=0 uncommitted=0 undelivered=0";
        assert!(ended.errors.ends_with(stopped), "{}", ended.errors);
        assert!(!ended.errors.contains("ERROR"), "{}", ended.errors);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stays_behind_is_told() {
    let folder = Folder::new("[[listener]]\nport = 0");
    let mut program = Program::start(&folder.settings());
    let address = program.address();
    let mut away = Options::new(Version::V5, "away").kept().connect(address).await;
    away.subscribe("a", 1).await;
    away.disconnect().await;
    let mut device = Options::new(Version::V5, "device").connect(address).await;
    device.publish("a", 1, false, "x").await;
    assert_eq!(device.acknowledgement().await, Ok(()));
    program.signal("-TERM");
    let ended = program.end();
    assert_eq!(ended.code, Some(0));
    let stopped = "broker stopped connections=0 uncommitted=0 undelivered=1";
    assert!(ended.errors.ends_with(stopped), "{}", ended.errors);
}

#[test]
fn wrong_file_is_told_whole_and_starts_nothing() {
    let folder = Folder::new("[limits]\nconections = 1\n[[listener]]\nport = 'x'\n");
    let file = folder.settings();
    let file = file.to_str().unwrap();
    let (checked, started) = (run(&["--check", "--config", file]), run(&["--config", file]));
    let lines = format!(
        "{file}:2: unknown key `conections` in [limits]; did you mean `connections`?\n\
         {file}:4: `port` is a whole number up to 65535, not \"x\"\n2 mistakes"
    );
    assert_eq!((checked.code, checked.errors), (Some(1), format!("{lines}\n")));
    assert_eq!(started.code, Some(1));
    assert_eq!(started.errors, format!("{lines}; the broker does not start\n"));
    folder.write("broker.toml", "[limits]\nconnections = 1\n");
    let checked = run(&["--check", "--config", file]);
    assert_eq!((checked.code, &checked.errors[..]), (Some(0), ""));
    assert!(checked.output.contains("no mistakes"));
    let missing = run(&["--check", "--config", "/nowhere/broker.toml"]);
    assert_eq!(missing.code, Some(1));
    assert!(missing.errors.contains("/nowhere/broker.toml: cannot be read: No such file"));
    let unknown = run(&["--verbose"]);
    assert_eq!(unknown.code, Some(2));
    assert!(unknown.errors.contains("--verbose") && unknown.errors.contains("usage: broker"));
}

#[test]
fn what_was_imported_has_no_mistakes_and_what_was_not_is_told() {
    let folder = Folder::new("");
    folder.write(
        "mosquitto.conf",
        "listener 1883 127.0.0.1\nallow_anonymous true\nlog_dest syslog\nlog_type all\n",
    );
    let conf = folder.path("mosquitto.conf");
    let imported = run(&["--import", conf.to_str().unwrap()]);
    assert_eq!(imported.code, Some(0));
    let expected = format!("{}:3: `log_dest syslog` is left out: ", conf.display());
    assert!(imported.errors.starts_with(&expected), "{}", imported.errors);
    // In front of it stands what the test has to say.
    let toml = &imported.output[imported.output.find("# Made of").unwrap()..];
    folder.write("broker.toml", toml);
    let checked = run(&["--check", "--config", folder.settings().to_str().unwrap()]);
    assert_eq!((checked.code, &checked.errors[..]), (Some(0), ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn reload_sends_away_who_is_no_user_any_more_and_nobody_else() {
    let folder = Folder::new(
        "[access]\npassword_file = 'users'\nacl_file = 'rules'\n[[listener]]\nport = 0",
    );
    folder.write("users", &format!("{ANN}{BOB}"));
    folder.write("rules", "pattern readwrite #\n");
    let mut program = Program::start(&folder.settings());
    let address = program.address();
    for version in VERSIONS {
        folder.write("users", &format!("{ANN}{BOB}"));
        folder.write("rules", "pattern readwrite #\n");
        program.signal("-HUP");
        program.says("reloaded");
        assert!(client(version, "ann", "two").is_refused(address).await);
        let mut ann = client(version, "ann", "one").connect(address).await;
        let mut bob = client(version, "bob", "two").connect(address).await;
        ann.subscribe("#", 1).await;

        // Wrong lines change nothing, not even what is right beside them.
        folder.write("users", ANN);
        folder.write("rules", "pattern readwrite #\nnonsense\n");
        program.signal("-HUP");
        program.says("rules:2: `nonsense` is none of");
        program.says("1 mistake; nothing is changed");
        bob.publish("a", 1, false, "1").await;
        assert_eq!(bob.acknowledgement().await, Ok(()));
        assert_eq!(ann.message().await.payload, "1");

        folder.write("rules", "user ann\ntopic write a\ntopic read b\n");
        program.signal("-HUP");
        program.says("reloaded");
        while bob.next().await != Seen::Closed {}
        ann.publish("a", 1, false, "2").await;
        assert_eq!(ann.acknowledgement().await, Ok(()));
        // What she may not read does not come; what she may does.
        let mut other = client(version, "bob", "two");
        assert!(other.is_refused(address).await);
        other.name = "other".to_owned();
        other.user = Some(("ann", "one"));
        folder.write("rules", "user ann\ntopic write b\ntopic read b\n");
        program.signal("-HUP");
        program.says("reloaded");
        let other = other.connect(address).await;
        other.publish("b", 1, false, "3").await;
        assert_eq!(ann.message().await.payload, "3");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reload_shows_new_certificates_and_names_what_needs_a_restart() {
    let [old, new] = ["old", "new"].map(Authority::new);
    let settings = "[[listener]]\nport = 0\n[listener.tls]\ncertificate = 'gateway.pem'\n\
                    key = 'gateway.key'\n";
    let folder = Folder::new(settings);
    let issue = |authority: &Authority| {
        let issued = authority.server();
        folder.write("gateway.pem", &issued.certificate);
        folder.write("gateway.key", &issued.key);
    };
    issue(&old);
    let mut program = Program::start(&folder.settings());
    let address = program.address();
    let device = |name| Options::new(Version::V5, name);
    let mut first = device("first").connect(Route::tls(address, old.trusted(None))).await;
    issue(&new);
    let more = "sys_interval = '1 s'\n[limits]\nsessions = 5\n";
    folder.write("broker.toml", &format!("{more}{settings}[[listener]]\nport = 1\n"));
    program.signal("-HUP");
    let line = program.says("restart");
    let needed =
        "a restart is needed for `sys_interval`, [limits], the new listener at 127.0.0.1:1";
    assert!(line.ends_with(needed), "{line}");
    program.says("reloaded");
    assert!(device("second").is_refused(Route::tls(address, old.trusted(None))).await);
    let mut second = device("second").connect(Route::tls(address, new.trusted(None))).await;
    second.is_served().await;
    first.is_served().await;
    // A key that is no more the certificate's.
    folder.write("gateway.key", &old.server().key);
    program.signal("-HUP");
    program.says("gateway.key is not that of the certificate");
    second.is_served().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn journal_rules_are_those_of_the_file_from_reload_to_reload() {
    let settings = "data = 'data'\n[[listener]]\nport = 0\n";
    let rule = |filter: &str| format!("{settings}[[journal]]\nfilter = '{filter}'\nlog = 'kept'\n");
    let folder = Folder::new(&rule("a"));
    let mut program = Program::start(&folder.settings());
    program.says("journal: `a` into the Log `kept`");
    let address = program.address();
    let mut device = Options::new(Version::V5, "device").connect(address).await;
    for (filter, before) in [("b", "a"), ("c", "b")] {
        folder.write("broker.toml", &rule(filter));
        program.signal("-HUP");
        program.says(&format!("journal: `{filter}` into"));
        program.says(&format!("journal: no more `{before}` into"));
        program.says("reloaded");
        for topic in ["a", "b", "c"] {
            device.publish(topic, 1, false, topic).await;
            assert_eq!(device.acknowledgement().await, Ok(()));
        }
    }
    program.signal("-TERM");
    assert_eq!(program.end().code, Some(0));
    let db = edge_db::Db::open(folder.path("data")).unwrap();
    let records = db.log("kept").unwrap().read(edge_db::Seq::new(0), 10).unwrap();
    let payloads: Vec<_> = records.iter().map(|record| record.value().to_vec()).collect();
    assert_eq!(payloads, [b"b", b"c"]);
}

#[cfg(feature = "bridge")]
#[tokio::test(flavor = "multi_thread")]
async fn bridge_is_added_changed_and_removed_by_reload() {
    let cloud =
        edge_mq::Broker::builder().listen(([127, 0, 0, 1], 0).into()).start().await.unwrap();
    let mut arrived = cloud.local().subscribe("#", 10).await.unwrap();
    let settings = "data = 'data'\n[[listener]]\nport = 0\n";
    let bridge = |prefix: &str| {
        format!(
            "{settings}[[bridge]]\nname = 'cloud'\nremotes = ['{}']\n[[bridge.send]]\n\
             filter = 'a'\nremote_prefix = '{prefix}'\n",
            cloud.local_addr().unwrap()
        )
    };
    let folder = Folder::new(settings);
    let mut program = Program::start(&folder.settings());
    let address = program.address();
    let device = Options::new(Version::V5, "device").connect(address).await;
    for (prefix, expected) in [("one/", "bridge added"), ("two/", "bridge changed")] {
        folder.write("broker.toml", &bridge(prefix));
        program.signal("-HUP");
        assert!(program.says(expected).contains("bridge=\"cloud\""));
        program.says("reloaded");
        device.publish("a", 1, false, "x").await;
        assert_eq!(arrived.recv().await.unwrap().topic().as_str(), format!("{prefix}a"));
    }
    // What is as it was is left alone.
    program.signal("-HUP");
    let said = program.says_before("reloaded");
    let changes = ["added", "changed", "removed"].map(|what| format!("bridge {what}"));
    assert!(
        !said.iter().any(|line| changes.iter().any(|change| line.contains(change))),
        "{said:?}"
    );
    folder.write("broker.toml", settings);
    program.signal("-HUP");
    program.says("bridge removed");
}

/// What comes to a socket, each in a line.
fn datagram(socket: &UnixDatagram) -> String {
    let mut bytes = [0; 1024];
    let length = socket.recv(&mut bytes).unwrap();
    String::from_utf8(bytes[..length].to_vec()).unwrap().trim_end().to_owned()
}

/// The next that is not about the watchdog.
fn state(socket: &UnixDatagram) -> String {
    loop {
        let told = datagram(socket);
        if !told.starts_with("STATUS=") {
            return told;
        }
    }
}

fn told_to(path: &Path) -> UnixDatagram {
    let socket = UnixDatagram::bind(path).unwrap();
    socket.set_read_timeout(Some(device::FOR_EVER)).unwrap();
    socket
}

#[test]
fn systemd_is_told_how_the_broker_is() {
    let folder = Folder::new("[[listener]]\nport = 0");
    let path = folder.path("notify");
    let socket = told_to(&path);
    let variables = [("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "20000")];
    let mut program = Program::start_with(&folder.settings(), &variables);
    assert_eq!(state(&socket), "READY=1");
    // Whoever is told that it is ready can connect.
    program.address();
    for _ in 0..5 {
        let told = datagram(&socket);
        assert!(told.ends_with("sent\nWATCHDOG=1"), "{told}");
        assert!(told.starts_with("STATUS=0 clients connected, "), "{told}");
    }
    program.signal("-HUP");
    let told = state(&socket);
    let at = told.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect(&told);
    assert!(at.parse::<u64>().unwrap() > 0);
    assert_eq!(state(&socket), "READY=1");
    program.signal("-TERM");
    assert_eq!(state(&socket), "STOPPING=1");
    assert_eq!(program.end().code, Some(0));
}

#[test]
fn without_a_watchdog_only_the_status_is_told() {
    let folder = Folder::new("[[listener]]\nport = 0");
    let path = folder.path("notify");
    let socket = told_to(&path);
    let variables = [("NOTIFY_SOCKET", path.to_str().unwrap())];
    let _program = Program::start_with(&folder.settings(), &variables);
    assert_eq!(datagram(&socket), "READY=1");
    let told = datagram(&socket);
    assert!(
        told.starts_with("STATUS=0 clients connected, ") && !told.contains("WATCHDOG"),
        "{told}"
    );
}

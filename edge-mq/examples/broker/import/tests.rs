use std::fs;
use std::path::PathBuf;

use super::super::arguments::Overrides;
use super::super::settings::Settings;
use super::*;

fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["gateway".to_owned()]).unwrap();
    fs::write(dir.path().join("gateway.pem"), made.cert.pem()).unwrap();
    fs::write(dir.path().join("gateway.key"), made.signing_key.serialize_pem()).unwrap();
    fs::write(dir.path().join("users"), "").unwrap();
    fs::write(dir.path().join("rules"), "user ann\ntopic #\n").unwrap();
    dir
}

fn imported(dir: &Path, conf: &str) -> Imported {
    let file = dir.join("mosquitto.conf");
    fs::write(&file, conf).unwrap();
    import(&file).unwrap()
}

/// The settings without comments, empty lines, and what is there without them.
fn body(toml: &str) -> String {
    let lines = toml.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.collect::<Vec<_>>().join("\n")
}

/// What is said of users if nothing is, and the place of a listener.
const CLOSED: &str = "[access]\nallow_anonymous = false";
const LOCAL: &str = "[access]\nallow_anonymous = true\n[[listener]]";

#[test]
fn options_become_what_does_the_same() {
    let anywhere =
        |port: u16| format!("{CLOSED}\n[[listener]]\nport = {port}\nbind_address = \"0.0.0.0\"");
    let limits = |lines: &str| format!("{LOCAL}\n[limits]\n{lines}");
    let bridge = |lines: &str| format!("{LOCAL}\n[[bridge]]\nname = \"a\"\n{lines}");
    let table = [
        (
            "log_dest file broker.log\nlog_type error\nlog_type notice\nlog_type warning",
            format!("[log]\nfile = \"broker.log\"\nlevel = \"info\"\n{LOCAL}"),
        ),
        ("log_type all\nlog_timestamp false", format!("[log]\nlevel = \"debug\"\ntime = false\n{LOCAL}")),
        ("", LOCAL.to_owned()),
        ("listener 1884", anywhere(1884)),
        ("port 1885", anywhere(1885)),
        (
            "listener 1 ::1\nport 2\nbind_address ::1",
            format!(
                "{CLOSED}\n[[listener]]\nport = 2\nbind_address = \"::1\"\n[[listener]]\n\
                 port = 1\nbind_address = \"::1\""
            ),
        ),
        (
            "listener 1883 localhost\nlistener 0 /run/mqtt.sock",
            format!(
                "{CLOSED}\n[[listener]]\nport = 1883\nbind_address = \"127.0.0.1\"\n[[listener]]\n\
                 unix = \"/run/mqtt.sock\""
            ),
        ),
        (
            "listener 9001\nprotocol websockets\nmax_connections 5\nlistener 9002\nprotocol mqtt",
            format!(
                "{CLOSED}\n[[listener]]\nport = 9001\nwebsocket = true\nconnections = 5\n\
                 bind_address = \"0.0.0.0\"\n[[listener]]\nport = 9002\nbind_address = \"0.0.0.0\""
            ),
        ),
        (
            "listener 8883 ::1\ncertfile a\nkeyfile b\ncafile c",
            format!(
                "{CLOSED}\n[[listener]]\nport = 8883\nbind_address = \"::1\"\n[listener.tls]\n\
                 certificate = \"a\"\nkey = \"b\""
            ),
        ),
        (
            "listener 8883 ::1\ncafile c\nrequire_certificate true\ncrlfile d\n\
             use_identity_as_username true",
            format!(
                "{CLOSED}\n[[listener]]\nport = 8883\nbind_address = \"::1\"\n[listener.tls]\n\
                 revoked = \"d\"\nusers_by = \"common name\"\nclient_ca = \"c\""
            ),
        ),
        (
            "listener 1883 ::1\nallow_anonymous false\npassword_file /etc/a b\nacl_file c\"d",
            "[access]\nallow_anonymous = false\npassword_file = \"/etc/a b\"\nacl_file = \"c\\\"d\"\n\
             [[listener]]\nport = 1883\nbind_address = \"::1\""
                .to_owned(),
        ),
        (
            "per_listener_settings true\nlistener 1 ::1\nallow_anonymous true\nlistener 2 ::1\n\
             password_file p",
            "[[listener]]\nport = 1\nbind_address = \"::1\"\nallow_anonymous = true\n[[listener]]\n\
             port = 2\nbind_address = \"::1\"\npassword_file = \"p\""
                .to_owned(),
        ),
        ("persistence true\npersistence_location /var/lib/m/", format!("data = \"/var/lib/m/\"\n{LOCAL}")),
        ("persistence true", format!("data = \"data\"\n{LOCAL}")),
        ("persistence false\npersistence_location /x", LOCAL.to_owned()),
        ("sys_interval 60", format!("sys_interval = \"60 s\"\n{LOCAL}")),
        ("max_keepalive 100", limits("max_keep_alive = \"100 s\"")),
        ("max_keepalive 0", limits("max_keep_alive = \"65535 s\"")),
        ("max_packet_size 2000", limits("packet_bytes = 2000")),
        ("message_size_limit 1000", limits("packet_bytes = 66536")),
        ("max_inflight_messages 20", limits("inflight_messages = 20")),
        ("max_inflight_messages 0", limits("inflight_messages = 65535")),
        ("max_queued_messages 9", limits("queue_messages = 9\nstored_queue_messages = 9")),
        ("max_queued_bytes 8", limits("queue_bytes = 8\nstored_queue_bytes = 8")),
        ("persistent_client_expiration 2w", limits("session_expiry = \"14 days\"")),
        ("persistent_client_expiration 3h", limits("session_expiry = \"3 h\"")),
        ("retain_available false", limits("retained_messages = 0")),
        ("max_topic_alias 5", limits("topic_aliases = 5")),
        (
            "connection a\naddress b\ntopic x/# both 2 here/ \"\"",
            bridge(
                "version = \"3.1.1\"\nremotes = [\"b:1883\"]\n[[bridge.send]]\nfilter = \"x/#\"\n\
                 local_prefix = \"here/\"\nremote_prefix = \"\"\nat_most = 1\n[[bridge.receive]]\n\
                 filter = \"x/#\"\nlocal_prefix = \"here/\"\nremote_prefix = \"\"\nat_most = 1",
            ),
        ),
        (
            "connection a\naddresses b:1 c:2\nbridge_protocol_version mqttv50\nremote_clientid i\n\
             remote_username u\nremote_password p\nkeepalive_interval 30\nrestart_timeout 2 20\n\
             notification_topic n\nbridge_cafile f\nbridge_outgoing_retain false\ntopic x",
            bridge(
                "remotes = [\"b:1\", \"c:2\"]\nversion = \"5\"\nclient_id = \"i\"\nuser = \"u\"\n\
                 password = \"p\"\nkeep_alive = \"30 s\"\nretry_first = \"2 s\"\n\
                 retry_most = \"20 s\"\nstate_topic = \"n\"\n[bridge.tls]\ntrusted = \"f\"\n\
                 [[bridge.send]]\nfilter = \"x\"\nat_most = 0\nretain = false",
            ),
        ),
    ];
    let dir = tempfile::tempdir().unwrap();
    for (conf, expected) in table {
        let imported = imported(dir.path(), conf);
        assert_eq!(body(&imported.toml), expected, "{conf}");
        assert_eq!(imported.left_out, [], "{conf}");
    }
}

#[test]
fn what_has_no_equivalent_is_told_with_its_line_and_why() {
    let dir = tempfile::tempdir().unwrap();
    let table = [
        ("log_dest syslog", "1: `log_dest syslog` is left out: the log goes to a file"),
        ("log_type subscribe", "1: `log_type subscribe` is left out: the log is the same"),
        ("\n# x\nqueue_qos0_messages true", "3: `queue_qos0_messages true` is left out: QoS 0"),
        ("plugin /x.so", "1: `plugin /x.so` is left out: users are"),
        ("auth_opt_x y", "1: `auth_opt_x y` is left out: there are no plugins"),
        ("listener http", "1: `listener http` is left out: it has neither a port"),
        ("listener 0", "1: `listener 0` is left out: it has neither a port nor, with port 0,"),
        ("listener 1 example.org", "1: `listener 1 example.org` is left out: an address is"),
        ("bind_address example.org", "1: `bind_address example.org` is left out: an address is"),
        ("mount_point a/", "1: `mount_point a/` is left out: a listener has no"),
        ("ciphers X", "1: `ciphers X` is left out: TLS is as rustls does it"),
        ("max_keepalive x", "1: `max_keepalive x` is left out: the value is no number"),
        ("persistent_client_expiration 5", "is left out: the value is no number of h"),
        ("persistent_client_expiration \u{e4}", "is left out: the value is no number of h"),
        ("nonsense", "1: `nonsense` is left out: there is no such option here"),
        ("connection a\nstart_type lazy", "2: `start_type lazy` is left out: a bridge is always"),
        ("connection a\ntopic \"\" out 0 a b", "2: `topic \"\" out 0 a b` is left out: a rule has"),
        ("connection a\nbridge_insecure true", "2: `bridge_insecure true` is left out"),
        (
            "per_listener_settings true\nlistener 1\nacl_file a",
            "3: `acl_file a` is left out: rules are for all listeners",
        ),
    ];
    for (conf, expected) in table {
        let imported = imported(dir.path(), conf);
        let [left_out] = &imported.left_out[..] else { panic!("{conf}: {:?}", imported.left_out) };
        assert!(left_out.to_string().contains(expected), "{conf}: {left_out}");
        // It is also in the file.
        let option = conf.lines().last().unwrap();
        assert!(imported.toml.contains(&format!("#   {option}: ")), "{}", imported.toml);
    }
    // No address too many is listened on, and no secret is shown.
    let elsewhere =
        imported(dir.path(), "listener 1\nlistener 2 example.org\nlistener x\nprotocol websockets");
    let listeners = "port = 1\nbind_address = \"0.0.0.0\"\n[[listener]]\nport = 2\n\
                     bind_address = \"127.0.0.1\"";
    assert!(body(&elsewhere.toml).ends_with(listeners), "{}", elsewhere.toml);
    let secret = imported(dir.path(), "connection a\nlocal_password hidden");
    let said = format!("{}{}", secret.toml, secret.left_out[0]);
    assert!(said.contains("local_password") && !said.contains("hidden"), "{said}");
    let needless = imported(dir.path(), "autosave_interval 1\nset_tcp_nodelay true");
    assert_eq!(needless.left_out, []);
    assert!(needless.toml.contains("#   autosave_interval 1: what is acknowledged is on disk"));
}

#[test]
fn made_file_has_no_mistakes() {
    let dir = folder();
    let conf = "per_listener_settings false\nallow_anonymous false\npassword_file users\n\
                acl_file rules\npersistence true\npersistence_location data\n\
                max_queued_messages 0\nmax_packet_size 0\nmax_inflight_messages 0\n\
                persistent_client_expiration 1m\nlistener 1883\nlistener 8883\ncafile gateway.pem\n\
                certfile gateway.pem\nkeyfile gateway.key\nrequire_certificate true\n\
                use_identity_as_username true\nlistener 9001\nprotocol websockets\n";
    let bridge = "connection to the cloud\naddress broker.example\ntopic a/# both 1 \"\" b/\n\
                  bridge_cafile gateway.pem\n";
    let conf = if cfg!(feature = "bridge") { format!("{conf}{bridge}") } else { conf.to_owned() };
    let imported = imported(dir.path(), &conf);
    assert_eq!(imported.left_out, []);
    let file = dir.path().join("broker.toml");
    let settings = Settings::of(&file, &imported.toml, &Overrides::default());
    let settings = settings.unwrap_or_else(|wrong| panic!("{}\n{wrong:#?}", imported.toml));
    assert_eq!(settings.listeners.len(), 3);
    assert!(settings.rules.is_some());
}

#[test]
fn included_files_are_read_in_their_place_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("conf.d");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("b.conf"), "max_keepalive 20\nnonsense").unwrap();
    fs::write(folder.join("a.conf"), "max_keepalive 10").unwrap();
    fs::write(folder.join("c.txt"), "max_keepalive 30").unwrap();
    let imported =
        imported(dir.path(), &format!("max_keepalive 5\ninclude_dir {}", folder.display()));
    assert!(imported.toml.contains("max_keep_alive = \"20 s\""), "{}", imported.toml);
    let places: Vec<(PathBuf, _)> =
        imported.left_out.into_iter().map(|mistake| (mistake.file, mistake.line)).collect();
    assert_eq!(places, [(folder.join("b.conf"), Some(2))]);
    assert!(import(&dir.path().join("none.conf")).unwrap_err().to_string().contains("none.conf"));
}
